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
        """Return the reply to a ZAP request: status 200 with the account as user id; 400: its key may not connect; 500:
        that could not be looked up, which is no fault of the key's."""
        version, number, _domain, _peer, _route, mechanism, key = [*question, *[b""] * 7][:7]
        status, user, text = b"400", b"", b"unknown or blocked key"
        if mechanism == b"CURVE" and len(key) == 32:
            account = key.hex()
            try:
                if self._admits(account):
                    status, user, text = b"200", account.encode(), b"OK"
            except Exception:
                status, text = b"500", b"internal error"
                LOG.exception("the zap cannot look up an account")
        if status != b"200":
            LOG.info("connection turned away", extra={"account": key.hex()[:64]})
        return [version, number, status, text, user, b""]
