"""Use the operating system for Salon, and explain its errors: flushes, space, descriptors, processes, homes.

An error of the system is reported by its own number, with the call and the path, never as another error. Standard
library only: every floor may use this module.
"""

from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from .errors import SalonError, complaint

_CANNOT: Final = ("a file system that can do this", "choose a folder on another one")
_GONE: Final = ("a file system that is there", "mount it again, or choose another folder")
_RIGHTS: Final = ("what this user may do", "change its rights, or choose another")
_NO_DESCRIPTOR: Final = ("a free file descriptor", "raise the limit (ulimit -n), or close what is open")
_ADVICE: Final[Mapping[int, tuple[str, str]]] = {  # what is allowed, and what to do
    errno.ENOSPC: ("space on that disk", "make room there, or choose another folder"),
    errno.EDQUOT: ("space within the quota", "make room, or choose another folder"),
    errno.EFBIG: ("files of that size", "raise the limit (ulimit -f), or choose another folder"),
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: ("a file system that can be written", "choose another folder, or mount it for writing"),
    errno.ENOENT: ("a path that exists", "look at its spelling, or choose another"),
    errno.ENOTDIR: ("folders before the name", "choose another path"),
    errno.EISDIR: ("a file", "choose another path"),
    errno.EEXIST: ("a new name", "choose another name"),
    errno.ENAMETOOLONG: ("a shorter name", "choose a shorter one"),
    errno.ELOOP: ("links that lead somewhere", "mend the links, or choose another path"),
    errno.EMFILE: _NO_DESCRIPTOR,
    errno.ENFILE: ("a free file descriptor in this system", "end some programs, or raise fs.file-max"),
    errno.ENOMEM: ("enough memory", "free some memory, and try again"),
    errno.EAGAIN: ("one more thread or process", "raise the limit (ulimit -u), or end some programs"),
    errno.EINVAL: _CANNOT,
    errno.EOPNOTSUPP: _CANNOT,
    errno.ENOSYS: _CANNOT,
    errno.ENOTTY: _CANNOT,
    errno.EXDEV: _CANNOT,
    errno.ENOLCK: ("a file system that keeps locks", "choose a folder on a local disk"),
    errno.EIO: ("a disk that works", "look at the system's log (dmesg), or choose another folder"),
    errno.ESTALE: _GONE,
    errno.ENOTCONN: _GONE,
    errno.EHOSTDOWN: _GONE,
    errno.ETIMEDOUT: _GONE,
    errno.ENODEV: _GONE,
    errno.ENXIO: _GONE,
    errno.EBUSY: ("what no other program uses", "end that program, or choose another path"),
    errno.ETXTBSY: ("what no other program uses", "end that program, or choose another path"),
    errno.EADDRINUSE: ("a free address", "choose another, or end the program that has it"),
    errno.EADDRNOTAVAIL: ("an address of this machine", "choose another"),
}
_OTHER: Final = ("what the system can do", "try again, or look at the system's log (dmesg)")
_NAMES: Final = ("a host that the system knows", "look at its spelling, or write its number")  # of getaddrinfo
_UNFLUSHED: Final = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FILES: Final = "/proc/self/fd"


class TooFewDescriptors(SalonError):
    """The process may not open as many files and sockets as it needs."""


class NoHome(SalonError):
    """A path begins in a home folder, and there is none."""


class Advice(NamedTuple):
    """The three parts of a `complaint` about an error of the system: what came, what is allowed, what to do."""

    got: str
    allowed: str
    remedy: str


def explain(error: Any) -> Advice:
    """Return what an OSError (or a ZMQError, which has the same numbers) means: its call, its text, its name."""
    number = error.errno or 0
    text = error.strerror or str(error)
    name = errno.errorcode.get(number)
    call = getattr(error, "call", "")
    got = f"{call}: {text}" if call else text
    advice = _NAMES if number < 0 else _ADVICE.get(number, _OTHER)
    return Advice(f"{got} ({name})" if name else got, *advice)


def is_full(error: OSError) -> bool:
    """Return whether space ran out: on the disk, in the quota, or below the limit on a file's size."""
    return error.errno in _FULL


@contextmanager
def calling(call: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Give an OSError of the block its call and its path, if it has none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        if not hasattr(error, "call"):
            error.call = call  # type: ignore[attr-defined]  # `explain` reads it
        raise


def flush_file(file: int, path: str | os.PathLike[str]) -> None:
    """Flush an open file, whose name is `path`, to disk. Raise OSError if it may not be there."""
    with calling("fsync", path):
        os.fsync(file)


def flush_folder(path: str | os.PathLike[str]) -> None:
    """Flush the names in a folder to disk, as far as its file system can.

    Some file systems (SMB, WSL's) cannot and answer EINVAL; the files are then as safe as they can be. Other errors
    raise OSError.
    """
    with calling("open", path):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flush_file(folder, path)
    except OSError as error:
        if error.errno not in _UNFLUSHED:
            raise
    finally:
        os.close(folder)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder, and those above it that are missing.

    Raise OSError if that fails (ENOTDIR: something else is there).
    """
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error


def appear(temporary: Path, path: Path) -> None:
    """Give a finished file its name. Raise FileExistsError if the name exists, and OSError for other errors."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, where checking and renaming are two steps
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(temporary), None, str(path)) from None
        os.rename(temporary, path)


def reserve(file: int, size: int, path: str | os.PathLike[str]) -> None:
    """Reserve `size` bytes for an open file, if its file system can; else check the free space.

    Raises:
        OSError: there is no space (ENOSPC, EDQUOT, EFBIG), or another error occurred.
    """
    with calling("posix_fallocate", path):
        try:
            os.posix_fallocate(file, 0, max(1, size))
        except OSError as error:
            if error.errno not in _UNFLUSHED:
                raise
            state = os.fstatvfs(file)
            if state.f_blocks and state.f_bavail * state.f_frsize < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


def python_command(module: str, *arguments: str, python: str = sys.executable) -> list[str]:
    """Return the command that runs a module of ours in a Python of its own.

    With `-P`, a file in the working folder, such as a `queue.py`, is never taken for a module.
    """
    return [python, "-P", "-m", module, *arguments]


def need_descriptors(count: int, what: str) -> None:
    """Make sure that `count` more files and sockets can be opened. Raise the soft limit if that takes it.

    libzmq aborts the whole process when it gets none.

    libzmq aborts the whole process where it gets none.

    Raises:
        TooFewDescriptors: the hard limit does not allow it. The message says that `what` needs them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    taken = _open_descriptors(soft)
    wanted = taken + count
    if wanted <= soft:
        return
    if hard == resource.RLIM_INFINITY or wanted <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return
    got = f"at most {hard} file descriptors, {taken} of them in use"
    raise TooFewDescriptors(
        complaint(what, got, f"at least {wanted}", f"raise the limit: ulimit -n {max(1024, wanted)}")
    )


def _open_descriptors(soft: int) -> int:
    """Return how many descriptors are open, also if there is none left to list /proc/self/fd with."""
    try:
        return len(os.listdir(_FILES)) - 1  # the listing itself has one
    except OSError:
        found = 0
        for number in range(min(soft, 1 << 16)):
            with suppress(OSError):
                os.fstat(number)
                found += 1
        return found


def home(remedy: str) -> Path:
    """Return the home folder of this user. Raise NoHome if there is none; `remedy` says how to do without."""
    try:
        return Path.home()
    except RuntimeError as error:
        got = f"no HOME, and no user {os.getuid()} in the system's list"
        raise NoHome(complaint("home folder", got, "one that is set", f"set HOME, or {remedy}")) from error


def expand_home(text: str, what: str) -> str:
    """Return a path in which `~` and `~NAME` at the start stand for homes.

    Raise NoHome if a home does not exist. The message says that `what` gave the text.
    """
    whole = os.path.expanduser(text)
    if text.startswith("~") and whole == text:
        first = text.split("/")[0]
        got = f"{text!r} (no home for {first})"
        remedy = f"write the whole path, or ./{first} for a file of that name"
        raise NoHome(complaint(what, got, "~ for your home, ~NAME for a user's", remedy))
    return whole


def in_memory(folder: str | os.PathLike[str], mounts: str = "/proc/self/mounts") -> bool:
    """Return whether files of a folder take memory (tmpfs). False if the system does not tell.

    Args:
        mounts: the system's own list of mounted filesystems, or one that imitates another machine's.
    """
    place, found = os.path.realpath(folder), ("", "")
    with suppress(OSError, ValueError), open(mounts, encoding="utf-8", errors="replace") as file:
        for line in file:
            _, point, kind, *_ = line.split(" ")
            point = point.replace("\\040", " ")
            if os.path.commonpath([place, point]) == point and len(point) >= len(found[0]):
                found = point, kind
    return found[1] in ("tmpfs", "ramfs")


def available_memory(meminfo: str = "/proc/meminfo") -> int | None:
    """Return the bytes of memory that can be had without swapping; None if the system does not tell.

    Args:
        meminfo: the system's own report, or one that imitates another machine.
    """
    with suppress(OSError, ValueError, IndexError), open(meminfo, encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None
