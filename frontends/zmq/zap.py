"""Authenticate connections by the ZAP protocol (ZeroMQ RFC 27). An account is the public key that its owner proves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

import zmq

from ...studio.threads import start_thread

LOG = logging.getLogger("salon.server")
ENDPOINT: Final = "inproc://zeromq.zap.01"


class ZapAuthenticator:
    """Answers libzmq's question for every connection, on a thread of its own.

    Args:
        context: the context of the sockets that it guards. It must be started before they are bound.
        admits: returns whether an account (64 hex digits) may connect; called on the thread of ZAP.
    """

    def __init__(self, context: zmq.Context[Any], admits: Callable[[str], bool]) -> None:
        self._admits = admits
        self._socket = context.socket(zmq.REP)
        self._socket.set(zmq.LINGER, 0)
        self._socket.bind(ENDPOINT)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to answer. Raise ThreadUnavailable if the system gives no thread for it."""
        self._thread = start_thread(self._work, name="salon-zap")

    def close(self) -> None:
        """Stop answering."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(2)
        self._socket.close()

    def _work(self) -> None:
        while not self._closed.is_set():
            if self._socket.poll(100):
                self._socket.send_multipart(self.answer(self._socket.recv_multipart()))

    def answer(self, question: list[bytes]) -> list[bytes]:
        """Return the reply to a ZAP request: status 200 with the account as user id, or 400."""
        version, number, _domain, _peer, _route, mechanism, key = [*question, *[b""] * 7][:7]
        status, user = b"400", b""
        if mechanism == b"CURVE" and len(key) == 32:
            account = key.hex()
            try:
                if self._admits(account):
                    status, user = b"200", account.encode()
            except Exception:
                LOG.exception("the zap cannot look up an account")
        if status != b"200":
            LOG.info("connection turned away", extra={"account": key.hex()[:64]})
        text = b"OK" if status == b"200" else b"unknown or blocked key"
        return [version, number, status, text, user, b""]
