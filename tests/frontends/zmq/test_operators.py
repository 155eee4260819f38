"""What operators may do, and that one of them stays (faults.md 12 and 27)."""

from __future__ import annotations

from typing import Any

import pytest

from salon.frontends.wire.keys import KeyPair, make_pair
from salon.frontends.zmq.background import BackgroundServer
from salon.studio.store.rows import AccountRow
from salon.studio.store.store import Store
from salon.studio.store.writes import PutAccount

from ..wire.plain_client import PlainClient, Refused
from .conftest import TINY, Connect, Serve

LOSSES: list[dict[str, Any]] = [{"blocked": True}, {"role": "user"}]


def refused(client: PlainClient, type: str, **fields: Any) -> Refused:
    with pytest.raises(Refused) as info:
        client.ask(type, **fields)
    return info.value


@pytest.mark.parametrize("loss", LOSSES)
def test_nobody_locks_himself_out(serve: Serve, connect: Connect, loss: dict[str, Any]) -> None:
    """`salon ops accounts set local --block` took effect, and nobody could take it back."""
    server = serve()
    client = connect(server)
    error = refused(client, "ops.set_account", account="local", **loss)
    assert (error.code, error.kind) == ("invalid", "LastOperator")
    assert "the caller's own" in str(error)
    client.ask("ops.status")
    client.ask("ops.set_account", account="local", blocked=False, role="operator", name="me")  # what changes nothing


@pytest.mark.parametrize("loss", LOSSES)
def test_the_last_operator_stays_one(
    serve: Serve, connect: Connect, loss: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two takes the right from the other at once; whoever comes first keeps it. `local` does not count, with
    whom nobody can come in here."""
    ann, ben = make_pair(), make_pair()
    server = serve(curve=True, operators=(ann.public, ben.public))

    def as_(pair: KeyPair) -> PlainClient:
        return connect(server, public=pair.public, secret=pair.secret)

    a, b = as_(ann), as_(ben)
    a.ask("ops.pause"), b.ask("ops.pause")
    first = a.send({"type": "ops.set_account", "account": ben.public, **loss})
    assert a.answer(first)[0]["account"] == ben.public
    error = refused(a, "ops.set_account", account=ann.public, **loss)
    assert error.kind == "LastOperator"
    if "role" in loss:
        assert refused(b, "ops.set_account", account=ann.public, **loss).code == "forbidden"
    # without the rule about oneself: nobody is left who could come in
    assert server.server is not None
    accounts, row = server.server.service.accounts, server.context.accounts.rows[ann.public]
    with pytest.raises(Exception, match="the last operator"):
        accounts.want_another_operator(row, "somebody", "blocked", keyed=True)
    accounts.want_another_operator(server.context.accounts.rows["local"], "somebody", "blocked", keyed=True)


def lock_out(server: BackgroundServer, *accounts: str) -> None:
    """As an earlier version let it happen: everybody is blocked, or no operator."""
    server.stop()
    store = Store.open(None, server.options.data)
    try:
        for number, account in enumerate(accounts):
            fields: dict[str, Any] = {"blocked": True} if number % 2 else {"role": "user", "blocked": True}
            store.write([PutAccount(AccountRow(account=account, plan="unlimited", **fields))])
    finally:
        store.close()


def test_the_way_back_with_the_folder_in_hand(serve: Serve, connect: Connect) -> None:
    server = serve()
    connect(server)
    lock_out(server, "local")
    connect(serve()).ask("ops.status")


def test_the_way_back_for_a_key(serve: Serve, connect: Connect) -> None:
    ann, ben = make_pair(), make_pair()
    server = serve(curve=True, operators=(ann.public, ben.public))
    connect(server, public=ann.public, secret=ann.secret).ask("ops.status")
    lock_out(server, ann.public, ben.public)
    server = serve(curve=True, operators=(ben.public,))
    operator = connect(server, public=ben.public, secret=ben.secret)
    assert operator.ask("ops.set_account", account=ann.public, blocked=False).get("role", "user") == "user"


def test_operators_end_and_remove_what_is_private(serve: Serve, connect: Connect) -> None:
    boss, ann = make_pair(), make_pair()
    server = serve(curve=True, operators=(boss.public,), paused=True)
    operator = connect(server, public=boss.public, secret=boss.secret)
    operator.ask("ops.set_account", account=ann.public, plan="pro")
    a = connect(server, public=ann.public, secret=ann.secret)
    job = a.submit("k", "a secret cat", private=True, **TINY)["job"]
    assert refused(operator, "delete", job=job).kind == "NotEnded"
    assert operator.cancel(job) is True
    assert a.show(job)["state"] == "cancelled"
    operator.delete(job)
    for client in (a, operator):
        assert refused(client, "show", job=job).code == "not_found"


def test_to_delete_twice_changes_nothing(serve: Serve, connect: Connect) -> None:
    """docs/wire.md allows to repeat it; the second time was `not_found`."""
    ann = make_pair()
    boss = make_pair()
    server = serve(curve=True, operators=(boss.public,))
    operator = connect(server, public=boss.public, secret=boss.secret)
    operator.ask("ops.set_account", account=ann.public, plan="pro")
    a = connect(server, public=ann.public, secret=ann.secret)
    job = operator.submit("k", "cat", **TINY)["job"]
    assert list(operator.watch(job))
    assert operator.ask("delete", job=job).get("changed", True) is True
    assert operator.ask("delete", job=job).get("changed", True) is False
    assert operator.ask("delete", job=job).get("changed", True) is False
    assert refused(a, "delete", job=job).code == "not_found"  # somebody else's is not there, before and after
    assert refused(a, "delete", job="f" * 24).code == "not_found"
