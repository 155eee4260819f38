"""What others may see: nothing of a private job, by any road, before and after a restart; and only owners end jobs."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from salon.bench.faulty.hostile import Peer
from salon.bench.faulty.process import ServerProcess
from salon.frontends.wire import messages as m
from salon.frontends.wire.codec import encode
from salon.frontends.wire.keys import KeyPair, load_or_make, make_pair

from ...wire.plain_client import PlainClient, Refused, Silent
from ..conftest import TINY
from .conftest import Processes, Reach

SECRET = "a big secret dog"
PUBLIC = "a small cat"


def answer(client: PlainClient, job: str, **record: Any) -> tuple[str, str, str]:
    """(code, kind, words without the job's name) of a refusal."""
    with pytest.raises(Refused) as info:
        client.ask(**record, job=job)
    error = info.value
    assert set(error.record) <= {"type", "code", "kind", "text", "retry_after_ms"}
    return error.code, error.kind, str(error).replace(job, "JOB")


def requests() -> list[dict[str, Any]]:
    """Everything that names a job."""
    return [
        {"type": "show"}, {"type": "cancel"}, {"type": "delete"},
        {"type": "watch"}, {"type": "watch", "after": 1 << 24},
        {"type": "watch", "previews": True}, *({"type": "fetch", "index": i} for i in (-1, 0, 1, 99)),
        {"type": "fetch", "offset": 10**12},
    ]  # fmt: skip


def check_unseen(client: PlainClient, hidden: str) -> None:
    """Every request answers for a hidden job as for one that never was, also next to it."""
    never = hidden[:-1] + ("0" if hidden[-1] != "0" else "1")
    for record in requests():
        assert answer(client, hidden, **record) == answer(client, never, **record), record
        assert answer(client, hidden, **record)[0] == "not_found"
    for record in ({"type": "ops.retry"}, {"type": "ops.ledger", "account": ""}):
        with pytest.raises(Refused) as info:
            client.ask(**(record | ({"job": hidden} if record["type"] == "ops.retry" else {})))
        assert info.value.code == "forbidden"


def test_a_private_job(process: Processes, reach: Reach) -> None:
    ann, ben = make_pair(), make_pair()
    server = process("--curve", "--paused")

    def as_(pair: KeyPair) -> PlainClient:
        return reach(server.address, public=pair.public, secret=pair.secret)

    boss_pair = load_or_make(server.folder / "config" / "salon" / "key")
    boss = as_(boss_pair)
    for pair in (ann, ben):
        boss.ask("ops.set_account", account=pair.public, plan="pro")
    a, b = as_(ann), as_(ben)
    fields = TINY | {"steps": 8, "preview_every": 1}
    hidden = a.submit("key", SECRET, private=True, **fields)["job"]
    shown = a.submit("shown", PUBLIC, **fields)["job"]
    own = b.submit("key", PUBLIC, **fields)["job"]  # the same key is another's business
    assert len({hidden, shown, own}) == 3
    check_unseen(b, hidden)  # while it waits
    watch = a.send({"type": "watch", "job": hidden, "previews": True})
    boss.ask("ops.resume")
    check_unseen(b, hidden)  # while it runs
    while a.answer(watch)[0]["type"] != "watched":
        pass
    b_sees = [event["kind"] for event, _ in b.watch(shown, previews=True)]
    assert b_sees[-1] == "done"
    for _ in b.watch(own):
        pass
    check_unseen(b, hidden)  # when it has ended
    check_others(a, b, boss, ann, ben, hidden, shown, own)

    server.kill()
    server.start()
    a, b, boss = as_(ann), as_(ben), as_(boss_pair)
    check_unseen(b, hidden)  # when only the store knows it
    check_others(a, b, boss, ann, ben, hidden, shown, own)
    a.delete(shown)
    check_unseen(b, shown)
    assert answer(a, hidden, type="fetch", index=99)[0] == "not_found"
    assert len(a.fetch(hidden)) > 100
    log = server.log.read_text()
    for word in ("secret", PUBLIC, ann.secret, boss_pair.secret):
        assert word not in log


def check_others(
    a: PlainClient, b: PlainClient, boss: PlainClient, ann: KeyPair, ben: KeyPair, hidden: str, shown: str, own: str
) -> None:
    """What is public can be seen, and not touched; lists and books are one's own; operators see no words."""
    assert b.show(shown)["prompt"] == PUBLIC
    assert len(b.fetch(shown)) > 100
    for type_ in ("cancel", "delete"):
        assert answer(b, shown, type=type_)[:2] == ("not_found", "UnknownJob")
    assert [job["job"] for job in b.jobs()] == [own]
    assert sorted(job["job"] for job in a.jobs()) == sorted([hidden, shown])
    for record in (
        {"type": "list", "account": ann.public}, {"type": "list", "account": "*"},
        {"type": "info", "account": ann.public},
        {"type": "ops.ledger", "account": ann.public}, {"type": "ops.ledger", "account": ben.public},
        {"type": "ops.status"}, {"type": "ops.workers"}, {"type": "ops.accounts"}, {"type": "ops.drain", "stop": True},
        {"type": "ops.pause"}, {"type": "ops.set_account", "account": ben.public, "role": "operator"},
        {"type": "ops.grant", "account": ben.public, "amount_ms": 10**9, "key": "g"},
    ):  # fmt: skip
        with pytest.raises(Refused) as info:
            b.ask(**record)
        assert info.value.code == "forbidden", record
    assert b.info()["account"] == ben.public
    for record in (boss.show(hidden), next(job for job in boss.jobs(account="*") if job["job"] == hidden)):
        text = repr({key: value for key, value in record.items() if key != "account"})
        assert not any(word in text for word in ("secret", "digest"))
    assert "seed" not in boss.show(hidden)
    for record in ({"type": "fetch"}, {"type": "watch"}):
        assert answer(boss, hidden, **record)[0] == "not_found"


def test_streams_belong_to_their_connection(process: Processes) -> None:
    """Ids of requests of another connection are nothing here, not even of the same account."""
    server = process("--paused")
    with Peer(server.address) as one, Peer(server.address) as two:
        one.hello()
        two.hello()
        job = one.ask(m.Submit(key="k", prompt="cat", **TINY), b"s").job.job
        one.put([b"watch", encode(m.Watch(job=job))])
        assert one.answer(b"watch").kind == "queued"
        assert two.ask(m.Unwatch(watch=b"watch"), b"u") == m.Done(changed=False)
        two.put([b"", encode(m.Credit(fetch=b"watch", chunks=16))])
        assert isinstance(two.ask(m.Ping(), b"p"), m.Pong)
        one.ask(m.OpsResume(), b"r")
        while not isinstance(told := one.answer(b"watch"), m.Watched):
            assert isinstance(told, m.Event)
        assert two.get(100) is None


def test_who_is_let_in(process: Processes, reach: Reach) -> None:
    ann, stranger = make_pair(), make_pair()
    server = process("--curve", "--paused")
    boss_pair = load_or_make(server.folder / "config" / "salon" / "key")
    boss = reach(server.address, public=boss_pair.public, secret=boss_pair.secret)
    boss.ask("ops.set_account", account=ann.public, plan="pro")
    a = reach(server.address, public=ann.public, secret=ann.secret)
    job = a.submit("k", "cat", **TINY)["job"]
    watch = a.send({"type": "watch", "job": job})
    assert a.answer(watch)[0]["kind"] == "queued"
    boss.ask("ops.set_account", account=ann.public, blocked=True)
    end = a.socket.recv_multipart() if a.socket.poll(60_000) else None
    assert end is not None
    assert msgpack.unpackb(end[1])["retry_after_ms"] == -1
    boss.ask("ops.resume")
    for _ in boss.watch(job):
        pass  # it was accepted, so it ends
    assert cut_off(a)
    for pair in (ann, stranger):
        assert turned_away(server, pair)
    wrong = server.address.partition("#")[0] + "#" + make_pair().public
    assert turned_away(server, boss_pair, wrong)
    assert turned_away(server, boss_pair, server.address.partition("#")[0])  # without encryption
    boss.ask("ops.set_account", account=ann.public, blocked=False)
    again = reach(server.address, public=ann.public, secret=ann.secret)
    assert again.show(job)["state"] == "done"


def cut_off(client: PlainClient) -> bool:
    """Nothing of its watch comes any more, and nothing is done for it."""
    while client.socket.poll(300):
        record = msgpack.unpackb(client.socket.recv_multipart()[1])
        assert record["type"] in ("pong", "closing"), record
    client.timeout_s = 1.0
    with pytest.raises((Refused, Silent)):
        client.ask("info")
    return True


def turned_away(server: ServerProcess, pair: KeyPair, address: str = "") -> bool:
    where = address or server.address
    with Peer(where, pair if "#" in where else None) as peer:
        peer.put([b"h", encode(m.Hello())])
        return peer.get(700) is None
