"""Ask a service of the operator's by HTTP: JSON is posted, and a bounded answer comes back within a deadline."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from ..errors import complaint
from ..system import explain
from .errors import EndpointError

MAX_URL: Final = 2_000  # characters
PART: Final = 64 * 1024


class Endpoint:
    """An address that JSON is posted to. Redirects are not followed, and no proxy is asked. Any thread may use it.

    Args:
        url: http:// or https://.
        headers: that every request has besides.

    Raises:
        EndpointError: the address cannot be read.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        allowed = "http:// or https://, a host and a path, without a password"
        try:
            if len(url) > MAX_URL or re.search(r"[\x00-\x20\x7f\\]", url):
                raise ValueError
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
            if parts.scheme not in ("http", "https") or not host or parts.username is not None or port == 0:
                raise ValueError
            self._host = host.encode("idna").decode()
        except ValueError as error:
            raise EndpointError(complaint("address", repr(url[:100]), allowed, "correct it")) from error
        self.name = f"{parts.scheme}://{parts.netloc}"
        self._secure, self._port = parts.scheme == "https", port
        self._path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (f"?{parts.query}" if parts.query else "")
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "Salon"}
        self._headers |= headers or {}

    def post(self, body: bytes, *, timeout_s: float, max_bytes: int) -> bytes:
        """Post a body, and return the body of the answer.

        Args:
            body: JSON.
            timeout_s: seconds for the whole of it.
            max_bytes: of the answer.

        Raises:
            EndpointError: there is no answer in time, it is not 200, or it is too long.
        """
        until = time.monotonic() + timeout_s
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=timeout_s)
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(connection.close)
                connection.connect()
                # A timeout of the socket begins anew with every byte that comes; this timer ends the whole request.
                watch = threading.Timer(max(0.0, until - time.monotonic()), _shut, (connection.sock,))
                watch.daemon = True
                watch.start()
                stack.callback(watch.cancel)
                connection.request("POST", self._path, body, self._headers)
                response = connection.getresponse()
                stack.callback(response.close)
                data = bytearray()
                while part := response.read1(PART):
                    data += part
                    if len(data) > max_bytes:
                        raise self._error(f"more than {max_bytes:,} bytes", "shorter answers")
                if time.monotonic() >= until:
                    raise TimeoutError
                if response.status != 200:
                    raise self._error(f"the status {response.status}", "200")
                return bytes(data)
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = isinstance(error, TimeoutError) or time.monotonic() >= until - 0.01
            told = f"no answer within {timeout_s:g} s" if late else _told(error)
            raise self._error(told, "an answer") from error

    def _error(self, got: str, allowed: str) -> EndpointError:
        return EndpointError(complaint(self.name, got, allowed, "look after that service"))


def _shut(connection: socket.socket | None) -> None:
    if connection is not None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)  # of the connection itself, without a word of TLS


def _told(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or type(error).__name__}"
    return explain(error).got if isinstance(error, OSError) and error.errno else type(error).__name__
