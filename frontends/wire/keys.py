"""Make CURVE key pairs, and keep them in files.

A public key, as 64 hex digits, is the name of an account. A secret never leaves its file and the socket's options: no
repr, error or log line shows it.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import zmq
from zmq.utils import z85

from ...errors import complaint
from ...system import appear, calling, expand_home, explain, flush_file, flush_folder, home, make_folder
from .errors import KeyFileError

MODE: Final = 0o600
MAX_BYTES: Final = 4_096  # of a key file
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_TEXT: Final = """\
# A key of Salon. The public one is the name of the account. Show the secret one to nobody: it proves who you are.
public = "{public}"
secret = "{secret}"
"""


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """A CURVE key pair. `public` and `secret` are 64 small hex digits."""

    public: str
    secret: str

    def __post_init__(self) -> None:
        assert _HEX.fullmatch(self.public), "64 small hex digits"
        assert _HEX.fullmatch(self.secret), "64 small hex digits"

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r}, secret=***)"

    @property
    def account(self) -> str:
        """Name of the account that the key opens."""
        return self.public


def make_pair() -> KeyPair:
    """Make a new key pair.

    Raises:
        KeyFileError: this libzmq was built without CURVE.
    """
    if not zmq.has("curve"):
        raise KeyFileError(complaint("libzmq", "one without CURVE", "one with libsodium", "install pyzmq's wheel"))
    public, secret = zmq.curve_keypair()
    return KeyPair(to_hex(public), to_hex(secret))


def to_z85(digits: str) -> bytes:
    """Return a key's 64 hex digits as 40 characters of Z85, as sockets take them."""
    return bytes(z85.encode(bytes.fromhex(digits)))


def to_hex(key: bytes) -> str:
    """Return a key's 40 characters of Z85 as 64 hex digits."""
    return bytes(z85.decode(key)).hex()


def secure_client(socket: zmq.Socket[Any], pair: KeyPair, server_key: str) -> None:
    """Encrypt a socket that will connect. Only the server with the key `server_key` (64 hex digits) can answer it."""
    socket.curve_secretkey = to_z85(pair.secret)
    socket.curve_publickey = to_z85(pair.public)
    socket.curve_serverkey = to_z85(server_key)


def secure_server(socket: zmq.Socket[Any], pair: KeyPair) -> None:
    """Encrypt a socket that will bind. The ZAP handler decides which clients may connect."""
    socket.curve_server = True
    socket.curve_secretkey = to_z85(pair.secret)


def client_key_path(env: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the user's key: `SALON_KEY`, or `salon/key` in `XDG_CONFIG_HOME` or `~/.config`.

    Raises:
        NoHome: the name begins with `~`, or none is given, and there is no home.
    """
    if named := env.get("SALON_KEY"):
        return Path(expand_home(named, "SALON_KEY"))
    base = Path(env.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():  # XDG says that relative paths are ignored
        base = home("set SALON_KEY to the name of the key's file") / ".config"
    return base / "salon" / "key"


def load_pair(path: Path) -> KeyPair:
    """Read a key file.

    Raises:
        KeyFileError: it does not exist, is no plain file of this user with mode 0600, or is damaged.
    """
    try:
        # A pipe of that name must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check_owner(path, os.fstat(descriptor))  # the owner of the opened file: the name may soon mean another
            with calling("read", path):
                data = os.read(descriptor, MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise _bad(path, "no file", "a key file", "make one with `salon keys`") from error
    except OSError as error:
        raise _bad(path, *explain(error)) from error
    try:
        fields = tomllib.loads(data.decode()) if len(data) <= MAX_BYTES else {}
    except ValueError:
        fields = {}  # and no cause, whose text may show a part of the secret
    public, secret = fields.get("public"), fields.get("secret")
    if not all(isinstance(key, str) and _HEX.fullmatch(key) for key in (public, secret)):
        raise _bad(path, "something else", "public and secret, 64 hex digits each", "restore it from a backup")
    assert isinstance(public, str)
    assert isinstance(secret, str)
    if to_hex(zmq.curve_public(to_z85(secret))) != public:
        raise _bad(path, "two keys that do not belong together", "a key pair", "restore it from a backup")
    return KeyPair(public, secret)


def save_pair(path: Path, pair: KeyPair, *, overwrite: bool = False) -> None:
    """Write a key file with mode 0600, whole or not at all. Its folder is made, with mode 0700.

    Raises:
        KeyFileError: the file exists already (without `overwrite`), or it cannot be written.
    """
    spare = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    made = [folder for folder in (path.parent, *path.parent.parents) if not os.path.lexists(folder)]
    try:
        make_folder(path.parent, 0o700)
        try:
            _write(spare, pair)
            if overwrite:
                os.replace(spare, path)
            else:
                appear(spare, path)  # unlike a rename, it never takes the place of a key that somebody lives by
        finally:
            spare.unlink(missing_ok=True)
        flush_folder(path.parent)
    except BaseException as error:
        for folder in made:
            with suppress(OSError):  # somebody else has put something there
                folder.rmdir()
        if isinstance(error, FileExistsError):
            raise _bad(path, "a file that is there already", "a new name", "keep it, or move it away first") from error
        if isinstance(error, OSError):
            raise _bad(path, *explain(error)) from error
        raise


def _write(spare: Path, pair: KeyPair) -> None:
    descriptor = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    with open(descriptor, "w", encoding="ascii") as file, calling("write", spare):
        with calling("fchmod", spare):
            os.fchmod(descriptor, MODE)
        file.write(_TEXT.format(public=pair.public, secret=pair.secret))
        file.flush()
        flush_file(descriptor, spare)


def load_or_make(path: Path) -> KeyPair:
    """Read a key file, or make it. If several processes make it at once, all get the same key.

    Raises:
        KeyFileError: as `load_pair` and `save_pair`.
    """
    try:
        there = path.exists()
    except OSError as error:
        raise _bad(path, *explain(error)) from error
    if not there:
        try:
            save_pair(path, make_pair())
        except KeyFileError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise
    return load_pair(path)


def _check_owner(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _bad(path, "no plain file", "a key file", "name another")
    if status.st_mode & 0o077:
        got = f"mode {stat.S_IMODE(status.st_mode):04o}, open to others"
        raise _bad(path, got, "mode 0600", f"chmod 600 {path}; if others may have read it, make a new one")
    if status.st_uid not in (os.geteuid(), 0):
        raise _bad(path, f"a file of user {status.st_uid}", f"one of yours ({os.geteuid()})", "name another")


def _bad(path: Path, got: str, allowed: str, remedy: str) -> KeyFileError:
    return KeyFileError(complaint(f"key file {path}", got, allowed, remedy))
