"""Parse the address of a server.

It is `tcp://host:5599`, `tcp://[::1]:5599`, `ipc://path` or `inproc://name`. If the connection is encrypted, `#` and
the 64 hex digits of the server's public key follow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from ...errors import complaint
from .errors import AddressError

PORT: Final = 5599
MAX_PATH: Final = 107  # bytes that the path of a Unix socket may have
KEY_DIGITS: Final = 64

_TCP: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%A-Za-z]+)\]|(?P<host>[A-Za-z0-9._-]+|\*)):(?P<port>[0-9]{1,5})")
_KEY: Final = re.compile(r"[0-9A-Fa-f]{64}")
_ODD: Final = re.compile(r"[\x00-\x20\x7f#]")
_FORMS: Final = f"tcp://HOST:{PORT}, tcp://[IPV6]:{PORT}, ipc://PATH or inproc://NAME, each with #KEY or without"


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of an address.

    Attributes:
        transport: "tcp", "ipc" or "inproc".
        host: name or number, without brackets (tcp); path (ipc) or name (inproc).
        port: port of tcp; 0: for a server, any free one.
        server_key: 64 small hex digits; "": no encryption.
    """

    transport: str
    host: str
    port: int = 0
    server_key: str = ""

    @property
    def is_ipv6(self) -> bool:
        """Whether the socket needs its option IPV6."""
        return self.transport == "tcp" and ":" in self.host

    @property
    def endpoint(self) -> str:
        """The address without the key, as ZeroMQ takes it."""
        if self.transport != "tcp":
            return f"{self.transport}://{self.host}"
        return f"tcp://[{self.host}]:{self.port}" if self.is_ipv6 else f"tcp://{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.endpoint}#{self.server_key}" if self.server_key else self.endpoint


def parse_address(text: str, *, bind: bool = False) -> Address:
    """Parse an address.

    Args:
        bind: whether the address is a server's own, for which host `*` (all interfaces) and port 0 (any free one) are
            allowed.

    Raises:
        AddressError: it cannot be read; the message says why.
    """
    if not isinstance(text, str):
        raise _bad(text, _FORMS, "write it as text")
    place, mark, key = text.strip().partition("#")
    if mark and not _KEY.fullmatch(key):
        raise _bad(text, f"{KEY_DIGITS} hex digits of the server's public key after #", "copy them from the server")
    transport, separator, rest = place.partition("://")
    if not separator or transport not in ("tcp", "ipc", "inproc") or not rest or _ODD.search(rest):
        raise _bad(text, _FORMS, f"write it like tcp://localhost:{PORT}")
    if transport != "tcp":
        return Address(transport, _name(text, transport, rest), 0, key.lower())
    match = _TCP.fullmatch(rest)
    if match is None:
        raise _bad(text, f"tcp://HOST:{PORT} or tcp://[IPV6]:{PORT}", "give a host and a port")
    port = int(match["port"])
    if not (0 if bind else 1) <= port <= 65535:
        raise _bad(text, f"a port from {0 if bind else 1} to 65535", f"the usual one is {PORT}")
    host = match["host"]
    if match["six"]:
        try:
            host = str(IPv6Address(match["six"]))
        except ValueError as error:
            raise _bad(text, "an IPv6 address in the brackets", "correct it") from error
    elif host == "*" and not bind:
        raise _bad(text, "one host", "name the machine that the server runs on")
    return Address("tcp", host, port, key.lower())


def is_loopback(address: Address) -> bool:
    """Return whether no other machine can be at the other end. Names other than `localhost` are not looked up."""
    if address.transport != "tcp" or address.host.lower() == "localhost":
        return True
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return False


def _name(text: str, transport: str, rest: str) -> str:
    if transport == "ipc" and (len(rest.encode(errors="replace")) > MAX_PATH or rest[0] in "@*"):
        raise _bad(text, f"a path of up to {MAX_PATH} bytes, in a folder of yours", "choose a shorter one")
    if len(rest) > 255:
        raise _bad(text, "a name of up to 255 characters", "choose a shorter one")
    return rest


def _bad(got: object, allowed: str, remedy: str) -> AddressError:
    shown = repr(got)
    return AddressError(complaint("address", shown if len(shown) <= 160 else f"{shown[:160]}...", allowed, remedy))
