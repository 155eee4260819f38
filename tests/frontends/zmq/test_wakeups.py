"""The socket's descriptor tells edges only: nothing that the server does with its socket may swallow one."""

from __future__ import annotations

import threading
import time

from salon.frontends.wire.messages import Pong
from salon.frontends.zmq.router import Router

from .conftest import Connect, Serve


def send_late(router: Router, began: threading.Event) -> None:
    """Sending looks at what has arrived meanwhile, so that nobody is told of it again."""
    began.set()
    time.sleep(0.3)
    for session in router.sessions.values():
        router.reply(session, b"", Pong())


def test_a_message_that_comes_just_before_the_server_sends_is_read(serve: Serve, connect: Connect) -> None:
    server = serve()
    client = connect(server)
    assert server.server is not None
    assert server._loop is not None
    for _ in range(2):
        began = threading.Event()
        server._loop.call_soon_threadsafe(send_late, server.server.router, began)
        assert began.wait(60)
        assert client.answer(client.send({"type": "ping"}), timeout_s=30)[0] == {"type": "pong"}
    assert len(client.notices) == 2
