"""Say where HTTP listens, by which addresses people may call it, and what that takes."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ...errors import SalonError, complaint
from ...system import explain
from ...values import shown
from ..wire.address import is_loopback, parse_address

if TYPE_CHECKING:
    from ..zmq.options import ServeOptions

COOKIE: Final = "salon_session"
HOST: Final = "__Host-"  # before a cookie's name: browsers send it over HTTPS alone, to this host and no other
PROXY: Final = "or listen on 127.0.0.1 behind a proxy with a certificate, and name its address with --http-url"
_URL: Final = re.compile(r"https?://[A-Za-z0-9.\-]+(:[0-9]{1,5})?/?|https?://\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?/?")


class HttpError(SalonError):
    """HTTP cannot be served there."""


@dataclass(frozen=True)
class Place:
    """Where HTTP listens.

    Attributes:
        host, port: of the listening socket, the host without brackets; port 0 until it is bound.
        beyond: whether other machines reach it by itself.
        url: the address of a proxy before it, without a slash at its end; None: there is none.
        tls: its certificate and key, as paths; None: it is not encrypted.
    """

    host: str
    port: int
    beyond: bool = False
    url: str | None = None
    tls: tuple[str, str] | None = None

    @property
    def names(self) -> str:
        """The hosts by which it may be called, in words."""
        local = "localhost, 127.0.0.1 or [::1]"
        return local if self.url is None else f"{urlsplit(self.url).netloc}, {local}"

    @property
    def address(self) -> str:
        """The address that people use, without a slash at its end."""
        if self.url is not None:
            return self.url
        host = gethostname() if self.host in ("0.0.0.0", "::", "*") else self.host
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def scheme(self) -> str:
        """That of what it listens for."""
        return "http" if self.tls is None else "https"

    @property
    def cookie(self) -> str:
        """The name of the sessions' cookie. Cookies know no ports, so that those of two servers differ by name."""
        secure = self.tls is not None if self.url is None else self.url.startswith("https:")
        return f"{HOST if secure else ''}{COOKIE}_{self.port}"

    def is_called(self, host: str) -> bool:
        """Return whether requests may name this host: with a certificate any, since browsers compare it with that."""
        return self.beyond or (self.url is not None and host == urlsplit(self.url).netloc.lower()) or _is_here(host)

    def is_origin(self, origin: str, host: str) -> bool:
        """Return whether a page of that origin is this server's own."""
        return urlsplit(origin).netloc.lower() == host or (self.url is not None and origin.lower() == self.url.lower())

    def base(self, scheme: str, host: str) -> str:
        """Return the address by which a client that asked by this host can ask again."""
        return f"{scheme}://{host}" if self.url is None else self.url


def is_beyond(place: str) -> bool:
    """Return whether other machines reach `HOST:PORT`."""
    return not is_loopback(parse_address(f"tcp://{place}", bind=True))


def for_strangers(options: ServeOptions) -> bool:
    """Return whether strangers reach HTTP, so that accounts need keys."""
    return options.http is not None and (options.http_url is not None or is_beyond(options.http))


def place_of(options: ServeOptions, *, keyed: bool) -> Place:
    """Return where HTTP is to listen.

    Raises:
        HttpError: strangers could ask as anybody, or read what others say; or a file of the certificate is missing.
    """
    assert options.http is not None
    where = f"--http {options.http}"
    if (options.tls_cert is None) != (options.tls_key is None):
        missing, there = ("--tls-key", "--tls-cert") if options.tls_key is None else ("--tls-cert", "--tls-key")
        raise HttpError(complaint(missing, f"none with {there}", "both or neither", "name both files"))
    tls = None if options.tls_cert is None or options.tls_key is None else (options.tls_cert, options.tls_key)
    url = options.http_url
    if url is not None and not _URL.fullmatch(url):
        text = complaint("--http-url", shown(url), "https://HOST or https://HOST:PORT", "leave out what follows")
        raise HttpError(text)
    beyond = is_beyond(options.http)
    if beyond:
        if tls is None:
            got = "a place beyond loopback without a certificate, where others could read along"
            remedy = f"add --tls-cert and --tls-key, {PROXY}"
            raise HttpError(complaint(where, got, "127.0.0.1:PORT, or one with a certificate", remedy))
        if not keyed:
            got = "a place beyond loopback without keys, where anybody could ask"
            raise HttpError(complaint(where, got, "127.0.0.1:PORT, or one with keys", "leave --no-curve out"))
    if url is not None and not keyed:
        got = "it without keys, where anybody could ask"
        raise HttpError(complaint("--http-url", got, "it with keys", "leave --no-curve out"))
    host, _, port = options.http.rpartition(":")
    return Place(host.strip("[]"), int(port), beyond, url.rstrip("/") if url is not None else None, tls)


def tls_of(tls: tuple[str, str]) -> ssl.SSLContext:
    """Return how to encrypt with a certificate and its key, as paths. HttpError: they cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        for path in tls:
            Path(path).read_bytes()
        context.load_cert_chain(*tls)
        return context
    except ssl.SSLError as error:
        got = f"{tls[0]} and {tls[1]}, which are no such pair ({error.reason or error})"
        text = complaint("--tls-cert, --tls-key", got, "PEM files of a certificate and its key", "correct them")
        raise HttpError(text) from error
    except OSError as error:
        got, allowed, remedy = explain(error)
        raise HttpError(complaint(f"--tls {error.filename}", got, allowed, remedy)) from error


def _is_here(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
