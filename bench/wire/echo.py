"""The floor: what ZeroMQ itself costs in Python. A ROUTER socket that answers the same frames without looking at them.

`python -m salon.bench.wire.echo`; commands as in `fleet.Child`.
"""

from __future__ import annotations

import threading
from typing import Any

import zmq

from ..answers import serve

CHUNK = b"chunk"


class Echo:
    """An echo server on a thread.

    It answers a record that it was taught by the record that it was taught with it, and any other by itself; one that
    is `CHUNK` by all of the picture, in chunks, as fast as the socket takes them.
    """

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.answers: dict[bytes, bytes] = {}
        self.chunks: list[memoryview] = []

    def listen(self, picture_bytes: int = 0, chunk: int = 1 << 18) -> dict[str, Any]:
        """Begin to listen, and return the address."""
        data = memoryview(bytes(picture_bytes))
        self.chunks = [data[start : start + chunk] for start in range(0, len(data), chunk)]
        socket = self.context.socket(zmq.ROUTER)
        socket.set(zmq.SNDHWM, 0)
        socket.set(zmq.BACKLOG, 1024)
        socket.bind("tcp://127.0.0.1:*")
        address = socket.get_string(zmq.LAST_ENDPOINT)
        threading.Thread(target=self._work, args=(socket,), daemon=True).start()
        return {"address": address}

    def teach(self, answers: dict[str, str]) -> dict[str, Any]:
        """Teach answers by requests, in hex."""
        self.answers = {bytes.fromhex(asked): bytes.fromhex(told) for asked, told in answers.items()}
        return {}

    def _work(self, socket: zmq.Socket[bytes]) -> None:
        while True:
            route, id, record = socket.recv_multipart()
            if record == CHUNK:
                for part in self.chunks:
                    socket.send_multipart([route, id, CHUNK, part], copy=False)
            else:
                socket.send_multipart([route, id, self.answers.get(record, record)])


if __name__ == "__main__":
    serve(Echo())
