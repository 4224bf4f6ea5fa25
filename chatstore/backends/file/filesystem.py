"""Files as a store needs them: locked, private, replaced whole, and never through a symbolic link.

This module knows the operating system; it refuses to know what is in a file. What it raises are plain
`OSError`s, except where a wait ends; `explain` turns them into the library's error, which says what to do.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import time
from collections import OrderedDict
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar
from weakref import WeakSet

from chatstore.deadlines import DEFAULT, left, passed
from chatstore.errors import NotSupported, StorageUnavailable
from chatstore.forks import renewed_in_child, this_thread

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterable

S = TypeVar("S")
V = TypeVar("V")

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
_PAUSE: Final = 0.0003, 0.003
#: A FIFO must not stop us while it is opened.
_FLAGS: Final[int] = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"))

_ADVICE: Final = {
    errno.EACCES: "give this user access, or choose another place",
    errno.EPERM: "give this user access, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.ENOSPC: "make room and repeat the call",
    errno.EDQUOT: "make room and repeat the call",
    errno.EFBIG: "raise the limit on file sizes, or begin a new session",
    errno.EISDIR: "a file belongs there: move the directory away",
    errno.EEXIST: "a directory belongs there: move the file away, or choose another place",
    errno.ENOTDIR: "a directory belongs there: move the file away, or choose another place",
    errno.ELOOP: "symbolic links are not followed: name the file itself",
    errno.ENOENT: "create the directory first",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EINVAL: "only regular files and local file systems will do: choose another place",
    errno.EIO: "look after the disk, then repeat the call",
}


def require_locks() -> None:
    """Raise `NotSupported` where there are no POSIX file locks."""
    if fcntl is None:
        msg = "JSON files need POSIX file locks, which this system lacks: use sqlite:///chat.db"
        raise NotSupported(msg)


def explain(error: OSError, path: str) -> StorageUnavailable:
    """Return the library's error for *error*: it names the file, or else *path*, and says what to do."""
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else path
    reason = error.strerror or type(error).__name__
    advice = _ADVICE.get(error.errno or 0, "look at the file and the disk, then repeat the call")
    name = name.partition("/.locks")[0]  # which is ours to know
    return StorageUnavailable(f"{name} cannot be used ({reason}): {advice}; nothing of this call was stored")


# -------------------------------------------------------------------------------- opening, reading, remembering


class Stamp(NamedTuple):
    """What tells one state of a file from another."""

    device: int
    inode: int
    size: int
    mtime: int  # nanoseconds


_state: Final = attrgetter("st_dev", "st_ino", "st_size", "st_mtime_ns")


def stamp(path: str) -> Stamp | None:
    """Return the stamp of the file *path*; None where there is none."""
    try:
        return Stamp(*_state(os.lstat(path)))
    except FileNotFoundError:
        return None


class OpenFile:
    """A regular file that is open, with the *stamp* it had then; it is closed when nobody has it any more."""

    descriptor = -1

    def __init__(self, path: str, flags: int) -> None:
        """Open the file at *path*. Anything else there raises `OSError`."""
        self.descriptor = os.open(path, flags | _FLAGS, FILE_MODE)
        found = os.fstat(self.descriptor)
        self.stamp = Stamp(*_state(found))
        if not stat.S_ISREG(found.st_mode):
            code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
            raise OSError(code, "is no regular file", path)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            with suppress(OSError):
                os.close(self.descriptor)

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from *start* to *end*, or to the end of the file."""
        parts = []
        while start < end and (part := os.pread(self.descriptor, end - start, start)):
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, data: bytes, start: int) -> None:
        """Write all of *data* at *start*."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self.descriptor, view, start)
            view, start = view[written:], start + written


def read_file(path: str) -> bytes | None:
    """Return what is in the small file *path*; None where there is none."""
    try:
        file = OpenFile(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    return file.read(0, file.stamp.size)


class StampCache(Generic[S, V]):
    """What was read from the *size* files used last, each with the stamp it had then."""

    def __init__(self, size: int) -> None:
        """Know nothing yet."""
        self._size = size
        self._known: OrderedDict[str, tuple[S, V]] = OrderedDict()
        self._renew()
        renewed_in_child(self)

    def _renew(self) -> None:
        self._lock = Lock()

    def get(self, path: str) -> tuple[S, V] | None:
        """Return what was read last, and the stamp it was read at: whether that is the file's, the caller sees."""
        with self._lock:
            known = self._known.get(path)
            if known is not None:
                self._known.move_to_end(path)
            return known

    def put(self, path: str, stamp: S, value: V) -> None:
        """Remember *value*, which was read at *stamp*."""
        with self._lock:
            self._known[path] = stamp, value
            self._known.move_to_end(path)
            if len(self._known) > self._size:
                self._known.popitem(last=False)


# -------------------------------------------------------------------------------- writing whole files


def make_directory(path: str) -> None:
    """Make the directory *path* and those above it, for this user only; one that exists stays as it is."""
    if not Path(path).is_dir():
        Path(path).mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
        _hand_over(path, path)


def _hand_over(path: str, target: str | int) -> None:
    """Give what root made to the owner of the directory it is in, who could not work on with it otherwise."""
    if os.geteuid() == 0:
        owner = Path(path).parent.stat()
        os.chown(target, owner.st_uid, owner.st_gid)


def replace_file(path: str, parts: Iterable[bytes], *, mtime: int | None = None) -> None:
    """Put *parts* in the place of the file *path*, all or nothing, and on the disk when this returns.

    The mode and owner of a file that was there stay; a new one is for this user only. *mtime* is in
    nanoseconds.
    """
    draft = f"{path}.tmp"
    remove(draft)
    file = OpenFile(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        _keep_access(path, file.descriptor)
        start = 0
        for part in parts:
            file.write(part, start)
            start += len(part)
        if mtime is not None:
            os.utime(file.descriptor, ns=(mtime, mtime))
        os.fsync(file.descriptor)
        Path(draft).replace(path)
    except BaseException:
        with suppress(OSError):
            remove(draft)
        raise
    sync_directory(str(Path(path).parent))


def _keep_access(path: str, descriptor: int) -> None:
    try:
        before = os.lstat(path)
    except FileNotFoundError:
        _hand_over(path, descriptor)
        return
    if not stat.S_ISREG(before.st_mode):
        raise OSError(
            errno.ELOOP if stat.S_ISLNK(before.st_mode) else errno.EISDIR, "is no regular file", path
        )
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
    with suppress(PermissionError):
        os.fchown(descriptor, before.st_uid, before.st_gid)


def append_aside(path: str, data: bytes) -> None:
    """Add *data* and a line break to the file *path*, made where it is missing, and wait for the disk."""
    file = OpenFile(path, os.O_RDWR | os.O_CREAT)
    _hand_over(path, file.descriptor)
    file.write(data + b"\n", file.stamp.size)
    os.fsync(file.descriptor)


def remove(*paths: str) -> None:
    """Remove those of *paths* that exist."""
    for path in paths:
        Path(path).unlink(missing_ok=True)


def sync_directory(path: str) -> None:
    """Wait until what was renamed, made or removed in the directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -------------------------------------------------------------------------------- locks


class FileLock:
    """A lock that is held through a *descriptor*, until `release`, or until nobody has this object any more.

    An interrupt may come before whoever asked for it can see to its release.
    """

    def __init__(self, descriptor: int) -> None:
        """Own *descriptor*."""
        self.descriptor = descriptor
        _held.locks.add(self)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            release(self)


class _Held:
    """The locks of this process; a forked child closes its copies, which would keep the lock for it."""

    def __init__(self) -> None:
        self.locks: WeakSet[FileLock] = WeakSet()
        renewed_in_child(self)

    def _renew(self) -> None:
        for lock in list(self.locks):
            descriptor, lock.descriptor = lock.descriptor, -1
            with suppress(OSError):
                os.close(descriptor)


_held: Final = _Held()


def acquire(path: str, flags: int, *, write: bool) -> FileLock | None:
    """Lock what is at *path* against writers, with *write* against readers too.

    None where nothing is there. Threads exclude each other like processes, because each has a descriptor of
    its own. Raises `StorageUnavailable` when others held it until the deadline.
    """
    began = time.monotonic()
    while True:
        try:
            with this_thread.undivided:  # a child that did not know of its copy would keep the lock
                lock = FileLock(os.open(path, flags | _FLAGS, FILE_MODE))
        except FileNotFoundError:
            return None
        try:
            if flags & os.O_CREAT:
                _hand_over(path, lock.descriptor)
            _wait(lock.descriptor, path, began, write=write)
            if _still_at(path, lock.descriptor):
                return lock
        except BaseException:
            release(lock)
            raise
        release(lock)


def release(lock: FileLock) -> None:
    """Give a lock back; a second time does nothing."""
    if lock.descriptor >= 0:
        fcntl.flock(lock.descriptor, fcntl.LOCK_UN)  # at once, also where a forked child has a copy
        descriptor, lock.descriptor = lock.descriptor, -1
        os.close(descriptor)


def _wait(descriptor: int, path: str, began: float, *, write: bool) -> None:
    kind = (fcntl.LOCK_EX if write else fcntl.LOCK_SH) | fcntl.LOCK_NB
    while True:
        try:
            fcntl.flock(descriptor, kind)
            return
        except BlockingIOError:
            if left(began + DEFAULT - time.monotonic()) <= 0:
                name = path.partition("/.locks")[0]
                raise passed(f"another process, or thread, kept {name} locked") from None
        time.sleep(random.uniform(*_PAUSE))  # noqa: S311 - so that those who wait do not march in step


def _still_at(path: str, descriptor: int) -> bool:
    """Tell whether what was locked is still what *path* names, and was not replaced while we waited."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
