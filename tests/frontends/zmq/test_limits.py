"""What one account may ask for, and what one connection may hold."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import zmq

from salon.errors import SalonError
from salon.frontends.wire.keys import make_pair
from salon.frontends.wire.messages import Limits
from salon.frontends.zmq import router as routers
from salon.frontends.zmq.rates import Rates
from salon.frontends.zmq.router import Router
from salon.frontends.zmq.sessions import Holder, Session
from salon.scheduler.errors import UnknownAccount

from ..wire.plain_client import Refused, Silent
from .conftest import TINY, Connect, Serve, until


def test_the_rate_never_costs_a_fetch_its_credit(serve: Serve, connect: Connect) -> None:
    """Nothing answers a notice, so nobody would send it again: the fetch would wait for ever."""
    server = serve(rate=0.1, burst=5)
    assert server.server is not None
    router = server.server.router
    router.limits = msgspec.structs.replace(router.limits, chunk=50)
    client = connect(server)
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


def test_connections_of_one_account(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routers, "MAX_CONNECTIONS", 3)
    ann, ben = make_pair(), make_pair()
    server = serve(curve=True, open=True)
    clients = [connect(server, public=ann.public, secret=ann.secret) for _ in range(3)]
    with pytest.raises(Refused, match="3 of this account") as info:
        connect(server, public=ann.public, secret=ann.secret)
    assert info.value.code == "busy"
    connect(server, public=ben.public, secret=ben.secret).ping()
    clients[0].hello()  # again: it is the same connection
    clients[0].notify({"type": "bye"})
    assert server.server is not None
    sessions = server.server.router.sessions
    assert until(lambda: len(sessions) == 3)  # two of ann's, and ben's
    connect(server, public=ann.public, secret=ann.secret).ping()


def test_strangers_get_little_and_there_are_not_many(serve: Serve, connect: Connect) -> None:
    """faults.md 27 and house 4.14: `--open` gave whoever came the unlimited plan, and made accounts without end."""
    boss = make_pair()
    server = serve(curve=True, open=True, open_accounts=4, operators=(boss.public,))  # and `local`
    strangers = [make_pair() for _ in range(3)]
    for pair in strangers[:2]:
        client = connect(server, public=pair.public, secret=pair.secret)
        info = client.info()
        assert (info["plan"], info["fast_ms"]["monthly"]) == ("basic", 12_000_000)
    with pytest.raises(Silent):
        connect(server, public=strangers[2].public, secret=strangers[2].secret, timeout_s=0.7)
    operator = connect(server, public=boss.public, secret=boss.secret)
    assert operator.info()["plan"] == "unlimited"
    operator.ask("ops.set_account", account=strangers[2].public, plan="pro")  # who is let in by hand always is
    connect(server, public=strangers[2].public, secret=strangers[2].secret).ping()
    assert len(server.context.accounts.rows) == 5
    assert server.context.options.open_accounts == 4
    with pytest.raises(UnknownAccount, match="one that the operator has opened"):
        server.context.accounts.enter(make_pair().public)


def test_the_plan_of_strangers_can_be_chosen(serve: Serve, connect: Connect) -> None:
    with pytest.raises(SalonError, match="plan: got 'golden'"):
        serve("other", curve=True, open=True, open_plan="golden")
    server, pair = serve(curve=True, open=True, open_plan="pro"), make_pair()
    assert connect(server, public=pair.public, secret=pair.secret).info()["plan"] == "pro"


def test_rates_of_who_is_silent_are_forgotten() -> None:
    """A bucket of every account that ever came stayed."""
    now = [0.0]
    rates = Rates(2.0, 4, lambda: now[0])
    for i in range(100):
        rates.take(f"account {i}")
    for _ in range(3):
        rates.take("busy")
    now[0] = 0.75  # 1.5 tokens later
    rates.sweep()
    assert list(rates._buckets) == ["busy"]
    assert rates.take("busy") == rates.take("busy") == 0.0
    assert rates.take("busy") > 0
    now[0] = 10.0
    rates.sweep()
    assert not rates._buckets
    assert (Rates(0.0, 1, lambda: 0.0).take("free"), rates.take("busy")) == (0.0, 0.0)


def test_without_keys_everybody_is_one_account(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routers, "MAX_CONNECTIONS", 1)
    server = serve()
    for client in [connect(server) for _ in range(3)]:
        client.ping()


def test_unread_bytes_of_one_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections it has: the one that leaves most unread goes."""
    monkeypatch.setattr(routers, "MAX_HELD_BYTES", 1000)
    context: zmq.Context[Any] = zmq.Context()
    router = Router(context, Limits(), rate=0, burst=1, welcome=lambda *_: Limits(), handle=lambda *_: None)  # type: ignore[arg-type]
    try:
        monkeypatch.setattr(router, "_send", lambda *_: False)  # nobody reads
        ann, ben = Holder(), Holder()
        lazy, late, other = (
            Session(name, "x", False, 0.0, who) for name, who in ((b"1", ann), (b"2", ann), (b"3", ben))
        )
        for session in (lazy, late, other):
            session.holder.sessions.add(session)
        assert router.reply_frames(other, [bytes(900)])
        assert router.reply_frames(lazy, [bytes(600)])
        assert router.reply_frames(late, [bytes(300)])
        assert router.reply_frames(late, [bytes(200)])
        assert (lazy.gone, late.gone, other.gone) == (True, False, False)
        assert (ann.waiting_bytes, ben.waiting_bytes, router.dropped) == (500, 900, 1)
        late.took()
        assert ann.waiting_bytes == 200
        late.close()
        assert (ann.waiting_bytes, ann.sessions) == (0, set())
    finally:
        router.close()
        context.term()


def test_no_frame_is_much_larger_than_a_legal_one(serve: Serve, connect: Connect) -> None:
    server = serve()
    assert server.server is not None
    client = connect(server)
    with pytest.raises(Refused) as info:
        client.ask("ping", x="x" * 70_000)
    assert info.value.code == "too_large"
    assert server.server.router._socket.get(zmq.MAXMSGSIZE) < 80_000
