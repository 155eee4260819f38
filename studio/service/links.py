"""Fetch pictures by their links, where the operator allows it: from public addresses only, bounded in size and time.

A name is looked up once, every address that it has must be public, and the connection goes to one of these addresses
itself, so that a name which changes its address meanwhile leads nowhere else. Redirects begin anew. Nothing is decoded
here, and no proxy is asked.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from ...bounds import MAX_LINK, MAX_REFERENCE_BYTES
from ...errors import complaint
from ...system import explain
from .errors import LinkRefused

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
PORTS: Final = {"http": 80, "https": 443}
MOVED: Final = (301, 302, 303, 307, 308)
PART: Final = 64 * 1024
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # addresses of IPv4 as IPv6 sees them through a gateway
HEADERS: Final = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "Salon", "Connection": "close"}
REMEDY: Final = "download the picture, and give its file"


def is_public(address: Address) -> bool:
    """Return whether an address is of the public internet: not private, loopback, link-local, multicast or reserved,
    also where it stands for one of IPv4 that is."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.is_site_local:  # of old, and inside of networks still
            return False
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if any(each is not None and not is_public(each) for each in inner):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


@dataclass(frozen=True)
class LinkPolicy:
    """Bounds of what is fetched.

    Attributes:
        allows: whether an address may be connected to.
        max_bytes: of a file.
        seconds: for the whole of it, redirects too.
        redirects: that are followed.
    """

    allows: Callable[[Address], bool] = is_public
    max_bytes: int = MAX_REFERENCE_BYTES
    seconds: float = 15.0
    redirects: int = 3


POLICY: Final = LinkPolicy()


def off(link: str, remedy: str) -> LinkRefused:
    """Return the error for a link where links are not followed."""
    return LinkRefused(complaint("link", _short(link), "none, because links of pictures are off", remedy))


def fetch(link: str, policy: LinkPolicy = POLICY) -> bytes:
    """Return the file behind a link.

    Raises:
        LinkRefused: the link cannot be read, leads to an address that is not public, does not answer in time or with a
            file, or the file is too large or not whole.
    """
    until = time.monotonic() + policy.seconds
    for _ in range(policy.redirects + 1):
        answer = _get(_parts(link), link, policy, until)
        if isinstance(answer, bytes):
            return answer
        link = urljoin(link, answer)
    got, allowed = f"{_short(link)} after more redirects", f"up to {policy.redirects}"
    raise LinkRefused(complaint("link", got, allowed, REMEDY))


def _parts(link: str) -> SplitResult:
    """Return the parts of a link that can be fetched."""
    allowed = "http:// or https://, a host and a path, without a password"
    try:
        if len(link) > MAX_LINK or re.search(r"[\x00-\x20\x7f\\]", link):
            raise ValueError
        parts = urlsplit(link)
        host, port = parts.hostname or "", parts.port
        if parts.scheme not in PORTS or not host or parts.username is not None or port == 0:
            raise ValueError
        host.encode("idna")
    except ValueError as error:
        raise LinkRefused(complaint("link", _short(link), allowed, REMEDY)) from error
    return parts


def _get(parts: SplitResult, link: str, policy: LinkPolicy, until: float) -> bytes | str:
    """Return the file behind a link, or where a redirect leads."""
    what = f"link {_short(link)}"
    host = (parts.hostname or "").encode("idna").decode()
    try:
        with contextlib.ExitStack() as stack:
            plain = stack.enter_context(_connected(host, parts.port or PORTS[parts.scheme], what, policy, until))
            secure = parts.scheme == "https"
            used = _secured(plain, host) if secure else plain
            stack.callback(used.close)
            # A timeout of the socket begins anew with every byte that comes; this timer ends the whole fetch.
            watch = threading.Timer(max(0.0, until - time.monotonic()), _shut, (used,))
            watch.daemon = True
            watch.start()
            stack.callback(watch.cancel)
            if isinstance(used, ssl.SSLSocket):
                used.do_handshake()
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            connection = kind(host, parts.port or PORTS[parts.scheme])
            connection.sock, connection.auto_open = used, 0
            path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
            query = quote(parts.query, safe="/?%:@!$&'()*+,;=~-._")
            connection.request("GET", f"{path}?{query}" if query else path, headers=HEADERS)
            response = connection.getresponse()
            stack.callback(response.close)
            if response.status in MOVED and (place := response.getheader("Location")):
                return place
            return _body(response, what, policy, until)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if _over(until):
            raise _late(what, policy) from error
        told = _told(error)
        raise LinkRefused(
            complaint(what, f"no answer that can be read ({told})", "a picture's file", REMEDY)
        ) from error


def _body(response: http.client.HTTPResponse, what: str, policy: LinkPolicy, until: float) -> bytes:
    """Return the whole of an answer."""
    if response.status != 200:
        raise LinkRefused(complaint(what, f"the answer {response.status}", "200, with a picture's file", REMEDY))
    if (encoding := response.getheader("Content-Encoding", "identity").lower()) != "identity":
        raise LinkRefused(complaint(what, f"a file encoded as {encoding[:20]!r}", "a plain one", REMEDY))
    too_large = LinkRefused(
        complaint(what, f"more than {policy.max_bytes:,} bytes", f"up to {policy.max_bytes:,}", "give a smaller one")
    )
    if response.length is not None and response.length > policy.max_bytes:
        raise too_large
    data = bytearray()
    while part := response.read1(PART):
        data += part
        if len(data) > policy.max_bytes:
            raise too_large
        if _over(until):
            raise _late(what, policy)
    if _over(until):  # an end that the watch has made
        raise _late(what, policy)
    if response.length:  # bytes that were announced, and did not come
        raise LinkRefused(complaint(what, f"{len(data):,} bytes, and no end", "a whole file", "try again"))
    return bytes(data)


def _connected(host: str, port: int, what: str, policy: LinkPolicy, until: float) -> socket.socket:
    """Return a socket that is connected to an address of a host, all of which are allowed."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, place in found:
        _want_allowed(str(place[0]), what, policy)
    trouble: OSError | None = None
    for family, kind, protocol, _, place in found:
        left = until - time.monotonic()
        if left <= 0:
            raise _late(what, policy)
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(left)
            made.connect(place)
            _want_allowed(str(made.getpeername()[0]), what, policy)
        except OSError as error:
            made.close()
            trouble = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise trouble or OSError("no address")


def _want_allowed(text: str, what: str, policy: LinkPolicy) -> None:
    """Raise LinkRefused unless an address may be connected to."""
    if not policy.allows(ipaddress.ip_address(text.partition("%")[0])):
        raise LinkRefused(complaint(what, "an address that is not public", "hosts of the public internet", REMEDY))


def _secured(plain: socket.socket, host: str) -> ssl.SSLSocket:
    """Return a socket that will speak TLS with a host, whose certificate has to be for its name."""
    context = ssl.create_default_context()
    return context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # of the connection itself, without a word of TLS


def _told(error: Exception) -> str:
    """Return what went wrong, in words."""
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or type(error).__name__}"
    return explain(error).got if isinstance(error, OSError) and error.errno else type(error).__name__


def _over(until: float) -> bool:
    return time.monotonic() > until - 0.01  # clocks of timers are not exact


def _late(what: str, policy: LinkPolicy) -> LinkRefused:
    got = f"no whole file within {policy.seconds:g} s"
    return LinkRefused(complaint(what, got, "one that comes in time", REMEDY))


def _short(link: str) -> str:
    return repr(link if len(link) <= 100 else f"{link[:100]}...")
