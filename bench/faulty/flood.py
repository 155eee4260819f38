"""Ping from four clients as fast as they can: `python -m salon.bench.faulty.flood ADDRESS SECONDS`.

The command prints how many pings were sent.
"""

from __future__ import annotations

import sys
import time

from ...frontends.wire import messages as m
from ...frontends.wire.codec import encode
from .hostile import Peer

CLIENTS = 4


def main(address: str, seconds: float) -> int:
    """Run the clients, and return the number of pings."""
    peers = [Peer(address) for _ in range(CLIENTS)]
    for peer in peers:
        peer.hello()
    ping, sent, end = encode(m.Ping()), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for peer in peers:
            for _ in range(64):
                sent += peer.put([b"p", ping])
            while peer.socket.poll(0):
                peer.socket.recv_multipart()
    for peer in peers:
        peer.__exit__(None, None, None)
    return sent


if __name__ == "__main__":
    print(main(sys.argv[1], float(sys.argv[2])))
