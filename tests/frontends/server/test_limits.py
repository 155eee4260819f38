"""What one account may ask for, and what one connection may hold."""

from __future__ import annotations

import msgspec

from ..wire.plain_client import Refused
from .conftest import TINY, Connect, Serve


def test_the_rate_never_costs_a_fetch_its_credit(serve: Serve, connect: Connect) -> None:
    """Nothing answers a notice, so nobody would send it again: the fetch would wait for ever."""
    server = serve(rate=0.1, burst=5)
    assert server.server is not None
    router = server.server.router
    router.limits = msgspec.structs.replace(router.limits, chunk=50)
    client = connect(server, timeout_s=5)
    job = client.submit("k", "cat", **TINY)["job"]
    assert list(client.watch(job))
    assert len(client.fetch(job, credit=1)) > 50 * 6  # more credits than the burst
    codes = []
    for _ in range(5):
        try:
            client.ping()
        except Refused as error:
            codes.append(error.code)
    assert set(codes) == {"too_fast"}
