"""What stands behind the ? of a database's URL: translated for its driver, or refused by name.

Knows what people and hosters write there, and what the drivers of PostgreSQL, MySQL and SQLite take. Refuses to know
engines; a driver that is not in `NATIVE` gets what was written.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from chatstore.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy import URL

    Read = Callable[[str], Any]

_SWITCH: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
#: The modes of TLS by PostgreSQL's names, MySQL's, and what they are here: whether, and what is checked.
_MODES: Final = {
    "disable": "disable", "disabled": "disable", "allow": "allow", "prefer": "prefer", "preferred": "prefer",
    "require": "require", "required": "require", "verify-ca": "verify-ca", "verify_ca": "verify-ca",
    "verify-full": "verify-full", "verify_identity": "verify-full",
}  # fmt: skip
#: Modes in which no connection is better than one without TLS.
ENFORCED: Final = frozenset({"require", "verify-ca", "verify-full"})


def _switch(value: str) -> bool:
    return _SWITCH[value.lower()]


def _mode(value: str) -> str:
    return _MODES[value.lower()]


def _typed(read: Read, names: str) -> dict[str, Read]:
    return dict.fromkeys(names.split(), read)


_LIBPQ: Final[Mapping[str, Read]] = {
    **_typed(
        str,
        "host hostaddr user password dbname service passfile client_encoding options application_name "
        "fallback_application_name channel_binding sslcert sslkey sslpassword sslrootcert sslcrl sslcrldir sslsni "
        "sslcertmode sslnegotiation sslcompression requirepeer require_auth ssl_min_protocol_version "
        "ssl_max_protocol_version min_protocol_version max_protocol_version gssencmode krbsrvname gsslib gssdelegation "
        "target_session_attrs load_balance_hosts sslkeylogfile port",
    ),
    **_typed(
        int,
        "connect_timeout keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout",
    ),
    "sslmode": _mode,
}
_MYSQL: Final[Mapping[str, Read]] = {
    **_typed(
        str,
        "charset unix_socket init_command sql_mode read_default_file read_default_group ssl_ca ssl_cert ssl_key",
    ),
    **_typed(int, "connect_timeout client_flag"),
    **_typed(
        _switch,
        "use_unicode local_infile ssl_check_hostname ssl_verify_cert ssl_verify_identity ssl_disabled ssl",
    ),
    **_typed(_mode, "sslmode ssl-mode ssl_mode"),
}
_MORE_SQLITE: Final[Mapping[str, Read]] = {
    **_typed(str, "synchronous isolation_level mode cache immutable vfs nolock psow modeof"),
    **_typed(int, "detect_types cached_statements"),
    **_typed(_switch, "uri check_same_thread"),
    "timeout": float,
}
#: By SQLAlchemy's name for a driver: the options that may be written for it, and how each is read.
NATIVE: Final[Mapping[str, Mapping[str, Read]]] = {
    "psycopg": {**_LIBPQ, "prepare_threshold": int},
    "psycopg2": _LIBPQ,
    "asyncpg": {
        **_typed(
            str,
            "host port client_encoding application_name options passfile sslcert sslkey sslpassword sslrootcert sslcrl "
            "ssl_min_protocol_version ssl_max_protocol_version target_session_attrs krbsrvname gsslib",
        ),
        **_typed(float, "connect_timeout timeout command_timeout max_cached_statement_lifetime"),
        **_typed(int, "statement_cache_size max_cacheable_statement_size prepared_statement_cache_size"),
        **_typed(_mode, "sslmode ssl"),
        "direct_tls": _switch,
    },
    "pg8000": {
        **_typed(
            str,
            "host port client_encoding application_name options unix_sock sslcert sslkey sslpassword sslrootcert",
        ),
        **_typed(float, "connect_timeout timeout"),
        "sslmode": _mode,
        "tcp_keepalive": _switch,
    },
    "pymysql": {
        **_MYSQL,
        **_typed(int, "read_timeout write_timeout max_allowed_packet"),
        **_typed(str, "collation bind_address program_name ssl_key_password"),
    },
    "aiomysql": {**_MYSQL, **_typed(str, "auth_plugin program_name"), "echo": _switch},
    "asyncmy": {**_MYSQL, **_typed(int, "read_timeout max_allowed_packet"), "program_name": str},
    "mysqldb": {
        **_MYSQL,
        **_typed(int, "read_timeout write_timeout"),
        **_typed(str, "ssl_capath ssl_cipher auth_plugin collation"),
        "compress": _switch,
    },
    "mysqlconnector": {
        **_MYSQL,
        **_typed(int, "read_timeout write_timeout connection_timeout"),
        **_typed(str, "auth_plugin collation time_zone ssl_cipher tls_versions"),
        **_typed(_switch, "compress use_pure force_ipv6 allow_local_infile"),
    },
    "pysqlite": _MORE_SQLITE,
    "aiosqlite": _MORE_SQLITE,
    "pysqlcipher": {
        **_MORE_SQLITE,
        **_typed(str, "cipher cipher_use_hmac"),
        **_typed(int, "kdf_iter cipher_page_size"),
    },
}  # fmt: skip
#: What asyncpg reads from a connection string only, where it has libpq's meaning.
_IN_DSN: Final = (
    "passfile", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "ssl_min_protocol_version",
    "ssl_max_protocol_version", "target_session_attrs", "krbsrvname", "gsslib", "application_name", "options",
)  # fmt: skip

_ASYNCPG: Final = (
    "timeout", "command_timeout", "max_cached_statement_lifetime", "statement_cache_size",
    "max_cacheable_statement_size", "prepared_statement_cache_size", "direct_tls", "ssl",
)  # fmt: skip


def read(url: URL, ours: Iterable[str] = ()) -> dict[str, Any]:
    """Return the options of *url* as values. Raises `Invalid` for one that its driver has not, or a wrong value.

    *ours* are options of this package's, which no driver needs to know.
    """
    known = NATIVE.get(url.get_driver_name())
    if known is None:
        return dict(url.query)
    found: dict[str, Any] = {}
    for name, written in url.query.items():
        if name in ours:
            continue
        if name == "schema":
            msg = (
                "the URL's option 'schema' is not one of the driver's: take it out, and pass schema= or set "
                "CHATSTORE_SCHEMA"
            )
            raise Invalid(msg)
        if name not in known:
            msg = (
                f"the URL has an option {name!r} that the driver {url.get_driver_name()} does not know: take it out, "
                f"or write one of {', '.join(sorted(known))}"
            )
            raise Invalid(msg)
        try:
            found[name] = (
                [known[name](one) for one in written] if isinstance(written, tuple) else known[name](written)
            )
        except (ValueError, KeyError):
            msg = f"the URL's option {name!r} has a value that is none of its own: {_wanted(known[name])}"
            raise Invalid(msg) from None
    return found


def _wanted(reader: Read) -> str:
    if reader is _mode:
        return f"write one of {', '.join(dict.fromkeys(_MODES.values()))}"
    return "write true or false" if reader is _switch else "write a number"


# ------------------------------------------------------------------------------------------------ PostgreSQL


def for_postgresql(url: URL) -> tuple[URL, dict[str, Any]]:
    """Return *url* without the options that its driver is told in its own way, and what it is told."""
    given, told, driver = read(url, ours=("pgbouncer",)), dict[str, Any](), url.get_driver_name()
    dropped = ["pgbouncer"]  # Prisma's: prepare nothing by name, as engines of ours never do behind a pooler
    if driver in {"psycopg", "psycopg2"}:
        told["client_encoding"] = "utf8"
        told.update((name, given[name]) for name in ("prepare_threshold",) if name in given)
        dropped += ["client_encoding", *told]
        if "sslmode" in given:
            told["sslmode"] = given["sslmode"]
    elif driver == "asyncpg":
        told = _for_asyncpg(given)
        dropped += [name for name in url.query if name not in {"host", "port"}]
    elif driver == "pg8000":
        told = _for_pg8000(given, url)
        dropped += list(url.query)
        if "unix_sock" in told:
            url = url.set(host=None, port=None)
    return url.difference_update_query(dropped), told


def _for_asyncpg(given: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: given[name] for name in _ASYNCPG if name in given}
    if "connect_timeout" in given:
        told["timeout"] = given["connect_timeout"]
    text = {name: given[name] for name in (*_IN_DSN, "sslmode") if name in given}
    if text:
        told["dsn"] = "postgresql:///?" + urlencode(text)
    return told


def _for_pg8000(given: Mapping[str, Any], url: URL) -> dict[str, Any]:
    told = {
        name: given[name]
        for name in ("timeout", "application_name", "tcp_keepalive", "unix_sock")
        if name in given
    }
    told["startup_params"] = {"client_encoding": "UTF8"}
    if "options" in given:
        told["startup_params"]["options"] = given["options"]
    if "connect_timeout" in given:
        told["timeout"] = given["connect_timeout"]
    if str(given.get("host", "")).startswith("/"):
        told["unix_sock"] = f"{given['host']}/.s.PGSQL.{given.get('port') or url.port or 5432}"
    elif "host" in given:
        told["host"] = given["host"]
    if "port" in given and "unix_sock" not in told:
        told["port"] = int(given["port"])
    mode = given.get("sslmode", "prefer")
    if mode == "disable":
        told["ssl_context"] = False
    if mode in ENFORCED:
        told["ssl_context"] = _context(
            mode,
            given.get("sslrootcert"),
            given.get("sslcert"),
            given.get("sslkey"),
            given.get("sslpassword"),
        )
    return told


# ------------------------------------------------------------------------------------------------ MySQL


def tls_mode(url: URL) -> str | None:
    """Return the mode of TLS that the URL of a MySQL database asks for; None where it asks for none."""
    given = read(url)
    for name in ("sslmode", "ssl-mode", "ssl_mode"):
        if name in given:
            return str(given[name])
    if given.get("ssl_disabled") or given.get("ssl") is False:
        return "disable"
    if given.get("ssl_check_hostname") or given.get("ssl_verify_identity"):
        return "verify-full"
    if "ssl_ca" in given:
        return "verify-ca"
    return "require" if {"ssl", "ssl_cert", "ssl_verify_cert"} & given.keys() else None


def for_mysql(url: URL) -> tuple[URL, dict[str, Any]]:
    """Return *url* without the options that its driver is told in its own way, and what it is told."""
    driver = url.get_driver_name()
    if driver not in NATIVE:
        return url, {}
    given, mode = read(url), tls_mode(url)
    dropped = ["charset", *(name for name in url.query if name.startswith("ssl"))]
    told: dict[str, Any] = {"charset": "utf8mb4"}
    files = [given.get(f"ssl_{name}") for name in ("ca", "cert", "key")]
    if driver == "mysqlconnector":
        told |= {"collation": given.get("collation", "utf8mb4_bin")}  # its own default is unknown to MariaDB
        told |= {
            name: given[name] for name in ("ssl_ca", "ssl_cert", "ssl_key", "ssl_cipher") if name in given
        }
        told |= {
            "ssl_verify_cert": mode in {"verify-ca", "verify-full"},
            "ssl_verify_identity": mode == "verify-full",
        }
        told |= {"ssl_disabled": mode == "disable"}
    elif driver == "mysqldb":
        if mode in ENFORCED:
            named = zip(
                ("ca", "cert", "key", "capath", "cipher"),
                (*files, given.get("ssl_capath"), given.get("ssl_cipher")),
                strict=True,
            )
            told["ssl"] = {name: value for name, value in named if value} or {"cipher": None}
            told["ssl_mode"] = {
                "require": "REQUIRED",
                "verify-ca": "VERIFY_CA",
                "verify-full": "VERIFY_IDENTITY",
            }[mode or ""]
        elif mode == "disable":
            told["ssl_mode"] = "DISABLED"
    elif mode in ENFORCED or mode == "prefer":
        told["ssl"] = _context(str(mode), files[0], files[1], files[2], given.get("ssl_key_password"))
    elif mode == "disable" and driver == "pymysql":
        told["ssl_disabled"] = True
    return url.difference_update_query(dropped), told


def _context(
    mode: str, ca: str | None, cert: str | None, key: str | None, password: str | None = None
) -> ssl.SSLContext:
    """Return what is checked of the server's certificate under *mode*, and which one is shown to it."""
    try:
        context = ssl.create_default_context(cafile=ca)
        context.check_hostname = mode == "verify-full"
        if mode in {"require", "prefer"} and ca is None:
            context.verify_mode = ssl.CERT_NONE
        if cert is not None:
            context.load_cert_chain(cert, key, password)
    except OSError as error:  # ssl's own are such too
        msg = f"a certificate or key that the URL names cannot be read ({error.strerror}): check its path"
        raise Invalid(msg) from None
    return context
