"""What a Redis URL says: which server, and the options of the repository."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from chatstore import deadlines
from chatstore.backends.redis.layout import DEFAULT_PREFIX
from chatstore.errors import Invalid

#: The options of redis-py that a URL may set.
_PASSED_ON: Final = frozenset(
    {
        "socket_timeout",
        "socket_connect_timeout",
        "socket_keepalive",
        "health_check_interval",
        "max_connections",
        "client_name",
        "protocol",
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_check_hostname",
    }
)
_OURS: Final = frozenset({"cluster", "deadline", "key_prefix", "ttl", "strict"})
#: The longest ttl, in seconds: a thousand years.
_LONGEST: Final = 1000 * 365 * 86_400
_SWITCH: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Target(NamedTuple):
    """A server's *url*, as redis-py takes it, whether it is a *cluster*, and the repository's own options."""

    url: str
    cluster: bool
    key_prefix: str
    ttl: int | None
    strict: bool


def parse_url(url: str) -> Target:
    """Return what *url* says. Raises `Invalid`, without repeating the URL, which may hold a password."""
    try:
        parts = urlsplit(deadlines.split(url)[0])
        _ = parts.port
    except ValueError:
        msg = "the Redis URL has no proper host and port: write redis://HOST:6379/0"
        raise Invalid(msg) from None
    number = parts.path.strip("/")
    if not parts.netloc or (number and not number.isdecimal()):
        msg = "the Redis URL names no server and database number: write redis://HOST:6379/0"
        raise Invalid(msg)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(given.keys() - _OURS - _PASSED_ON)
    if unknown:
        msg = (
            f"the Redis URL has an unknown option {unknown[0]!r}: use {', '.join(sorted(_OURS | _PASSED_ON))}"
        )
        raise Invalid(msg)
    passed = urlencode({name: value for name, value in given.items() if name in _PASSED_ON})
    cluster = _switch(given, "cluster")
    if cluster and number.strip("0"):
        msg = "a Redis Cluster has one database, number 0: take the number out of the URL"
        raise Invalid(msg)
    return Target(
        parts._replace(query=passed, fragment="").geturl(),
        cluster,
        given.get("key_prefix", DEFAULT_PREFIX),
        _seconds(given.get("ttl")),
        _switch(given, "strict"),
    )


def _switch(given: dict[str, str], name: str) -> bool:
    value = given.get(name, "false").lower()
    if value not in _SWITCH:
        msg = f"{name} in the Redis URL is neither true nor false: write {name}=true"
        raise Invalid(msg)
    return _SWITCH[value]


def _seconds(value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isdecimal():
        msg = "ttl in the Redis URL is no number of seconds: write ttl=3600"
        raise Invalid(msg)
    return check_ttl(int(value))


def check_ttl(ttl: int | None) -> int | None:
    """Return *ttl* if it is a number of seconds up to a thousand years, or None; else raise `Invalid`."""
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int) or not 0 < ttl < _LONGEST):
        msg = "ttl is not a number of seconds above 0: pass an int, or None for sessions that stay"
        raise Invalid(msg)
    return ttl
