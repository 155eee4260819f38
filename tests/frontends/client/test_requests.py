"""Everything that a client can ask for, in both flavours."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from salon.engine import errors as engine_errors
from salon.frontends.client import errors
from salon.frontends.client.errors import (
    BY_CODE,
    Busy,
    Draining,
    Forbidden,
    Invalid,
    JobBlocked,
    JobCancelled,
    JobFailed,
    LimitError,
    NotFound,
    RequestFailed,
    TimedOut,
)
from salon.frontends.client.fake import FakeServer, make_png
from salon.frontends.wire import messages as m

from .helpers import DONE_S, Connect, hurry

ACCOUNT = "ab" * 32


def test_a_job_from_prompt_to_files(server: FakeServer, connect: Connect, tmp_path: Path) -> None:
    client = connect(server.address)
    job = client.imagine("a red apple", images=2, seed=7, steps=3, width=16, height=24, private=True)
    assert job.info.prompt == "a red apple"
    assert (job.info.images, job.info.seed, job.info.steps, job.info.width, job.info.height) == (2, 7, 3, 16, 24)
    assert job.info.private
    info = job.wait(timeout_s=DONE_S)
    assert (info.state, job.state, info.step) == ("done", "done", 3)
    assert [picture.index for picture in info.pictures] == [m.GRID, 0, 1]
    pictures = job.pictures()
    assert pictures == server.pictures[:2]
    assert job.picture() == pictures[0]
    assert job.picture(1) == pictures[1]
    assert job.grid() == server.pictures[0]
    assert [image.size for image in job.images()] == [(8, 8)] * 2
    assert all(isinstance(image, Image.Image) for image in job.images())
    paths = job.save(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["job-1.png", "job-1-1.png", "job-1-2.png"]
    assert [path.read_bytes() for path in paths] == [job.grid(), *pictures]
    assert job.save(tmp_path / "new" / "folder") == paths
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 3  # and no spare ones


def test_every_option_goes_into_the_request(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    client.imagine("p", images=1, aspect=(16, 9))
    assert server.requests[-1].parameters == {"images": 1, "aspect": [16.0, 9.0]}  # type: ignore[union-attr]
    client.imagine(
        "p",
        lane="relax",
        images=3,
        width=64,
        height=32,
        steps=5,
        seed=6,
        guidance_scale=2.5,
        negative_prompt="n",
        solver="heun",
        shift=1.5,
        private=True,
        previews=2,
        key="my-key",
    )
    assert server.requests[-1] == m.Submit(
        key="my-key",
        prompt="p",
        preview_every=2,
        language=True,
        parameters={
            "lane": "relax",
            "private": True,
            "images": 3,
            "width": 64,
            "height": 32,
            "steps": 5,
            "seed": 6,
            "guidance_scale": 2.5,
            "negative_prompt": "n",
            "solver": "heun",
            "shift": 1.5,
        },
    )


def test_events(server: FakeServer, connect: Connect) -> None:
    job = connect(server.address).imagine("a red apple", images=1, steps=2, previews=1)
    events = list(job.events(previews=True))
    kinds = [event.kind for event in events]
    kept = [kind for kind in kinds if kind not in ("step", "preview")]
    assert kept == ["queued", "started", "image", "image", "done"]
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))
    steps = [(event.step, event.steps) for event in events if event.kind == "step"]
    assert steps in ([(1, 2), (2, 2)], [(2, 2)])  # of these, only the latest is kept
    assert [event.preview is not None for event in events] == [kind == "preview" for kind in kinds]
    assert all(event.preview[:3] == b"\xff\xd8\xff" for event in events if event.preview is not None)
    assert [event.picture.index for event in events if event.picture] == [0, m.GRID]
    assert job.info.state == "done"
    assert [picture.index for picture in job.info.pictures] == [m.GRID, 0]
    assert "preview" not in [event.kind for event in job.events()]
    assert [event.number for event in job.events(after=numbers[-4])] == numbers[-3:]
    assert list(job.events(after=numbers[-1])) == []


def test_an_event_of_a_newer_server_is_passed_on(connect: Connect) -> None:
    with FakeServer(hold=True) as server:
        job = connect(server.address).imagine("a red apple")
        server.tell(job.id, "admired", reason="by somebody")
        server.say(b"\x81\xa4type\xa5hugel")  # and an unknown message is ignored
        server.release()
        events = list(job.events())
        assert [(event.kind, event.reason) for event in events][1] == ("admired", "by somebody")
        assert events[-1].kind == "done"


def test_jobs_end_in_other_ways(connect: Connect) -> None:
    with FakeServer(fail="out of memory") as server:
        job = connect(server.address).imagine("a red apple")
        with pytest.raises(JobFailed, match="job job-1 failed: FakeFailure: out of memory") as failed:
            job.wait(timeout_s=DONE_S)
        assert failed.value.reason == "FakeFailure: out of memory"
        assert failed.value.info.failure == "FakeFailure"
        assert [event.kind for event in job.events()][-1] == "failed"
        with pytest.raises(NotFound):
            job.picture()
        assert job.pictures() == []
    with FakeServer(block="not that") as server, pytest.raises(JobBlocked, match="was blocked: not that"):
        connect(server.address).imagine("a red apple").wait(timeout_s=DONE_S)


def test_cancel_and_delete(connect: Connect, tmp_path: Path) -> None:
    with FakeServer(hold=True) as server:
        client = connect(server.address)
        job = client.imagine("a red apple")
        with pytest.raises(Invalid, match="cancel it first"):
            job.delete()
        assert job.cancel() is True
        assert job.cancel() is False
        with pytest.raises(JobCancelled, match="was cancelled"):
            job.wait(timeout_s=DONE_S)
        server.release()
        done = client.imagine("a whale")
        done.wait(timeout_s=DONE_S)
        assert done.delete() is None
        assert done.delete() is None  # may be repeated
        for use in (done.refresh, done.pictures, lambda: done.save(tmp_path)):
            with pytest.raises(NotFound):
                use()
        assert [info.job for info in client.jobs().jobs] == [job.id]
        assert list(tmp_path.iterdir()) == []


def test_finding_jobs(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    made = [client.imagine(f"apple {n}").id for n in range(5)]
    again = client.job(made[2])
    assert (again.id, again.info.prompt) == (made[2], "apple 2")
    with pytest.raises(NotFound, match="'nothing'"):
        client.job("nothing")
    page = client.jobs(limit=2)
    assert [info.job for info in page.jobs] == [made[4], made[3]]
    page = client.jobs(limit=2, before=page.next)
    assert [info.job for info in page.jobs] == [made[2], made[1]]
    page = client.jobs(before=page.next)
    assert ([info.job for info in page.jobs], page.next) == ([made[0]], 0)
    again.wait(timeout_s=DONE_S)
    assert {info.state for info in client.jobs(states=["done"]).jobs} == {"done"}
    assert client.jobs(states=["failed"], account="*").jobs == ()


def test_the_same_key_is_the_same_job(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    assert client.imagine("a red apple", key="k").id == client.imagine("a red apple", key="k").id
    assert client.imagine("a red apple").id != client.imagine("a red apple").id
    keys = [request.key for request in server.requests if isinstance(request, m.Submit)]
    assert len(set(keys)) == 3


def test_account_and_server(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    assert (client.server.model, client.server.account, client.server.role) == ("fake", "local", "operator")
    assert 0 < client.ping() < DONE_S
    assert (client.info().account, client.info().plan) == ("local", "unlimited")
    with pytest.raises(NotFound):
        client.info(ACCOUNT)
    client.ops.set_account(ACCOUNT, plan="pro")
    assert client.info(ACCOUNT).account == ACCOUNT
    assert client.address == server.address


def test_operations(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    ops = client.ops
    assert ops.status().state == "running"
    assert (ops.pause(), ops.pause()) == (True, False)
    job = client.imagine("a red apple")
    assert ops.status().state == "paused"
    assert ops.resume() is True
    job.wait(timeout_s=DONE_S)
    assert [worker.name for worker in ops.workers().workers] == ["worker-1"]
    assert ops.set_account(ACCOUNT, name="Ann", plan="pro", role="operator", blocked=True).blocked
    assert ops.set_account(ACCOUNT, blocked=False).name == "Ann"
    before = ops.ledger(ACCOUNT).balance_ms
    assert ops.grant(ACCOUNT, 5000, key="g").fast_ms["bought"] == 5000
    assert ops.grant(ACCOUNT, 5000, key="g").fast_ms["bought"] == 5000
    given = ops.grant(ACCOUNT, 10, source="bonus").fast_ms
    assert (given["bought"], given["bonus"]) == (5000, 10)
    assert ACCOUNT in [info.account for info in ops.accounts().accounts]
    assert ops.accounts(after=ACCOUNT, limit=1).more is False
    entries = ops.ledger(ACCOUNT).entries
    assert [entry.amount_ms for entry in entries if entry.source in ("bought", "bonus")] == [5000, 10]
    page = ops.ledger(ACCOUNT, limit=1)
    assert (page.entries, page.balance_ms - before, page.more) == (entries[:1], 5010, True)
    assert ops.ledger(ACCOUNT, after=page.entries[-1].seq).entries == entries[1:]
    newest = ops.ledger(ACCOUNT, limit=2, newest=True)
    assert (newest.entries, newest.balance_ms) == (entries[::-1][:2], page.balance_ms)
    assert newest.more == (len(entries) > 2)
    assert ops.ledger(ACCOUNT, after=newest.entries[0].seq, newest=True).entries == entries[::-1][1:]
    assert ops.drain() is True
    with pytest.raises(Draining):
        client.imagine("a whale")


def test_a_failed_job_is_run_again(connect: Connect) -> None:
    with FakeServer(fail="no luck") as server:
        client = connect(server.address)
        job = client.imagine("a red apple")
        with pytest.raises(JobFailed):
            job.wait(timeout_s=DONE_S)
        server.fail = ""
        assert client.ops.retry(job.id).state == "queued"
        job.refresh()
        assert job.wait(timeout_s=DONE_S).state == "done"
        with pytest.raises(Invalid):
            client.ops.retry(job.id)


def test_operators_only(connect: Connect) -> None:
    with FakeServer(role="user") as server, pytest.raises(Forbidden, match="operator"):
        connect(server.address).ops.status()


@pytest.mark.parametrize("code", BY_CODE)
def test_every_failure_has_its_error(server: FakeServer, connect: Connect, code: str) -> None:
    client = connect(server.address)
    client.ping()
    hurry(client, 5.0)  # less than it is asked for
    server.refuse(code, times=20, retry_after_ms=10_000)
    with pytest.raises(BY_CODE[code], match=f"refused on demand: {code}") as failed:
        client.info()
    assert (failed.value.code, failed.value.kind, failed.value.retry_after_s) == (code, "OnDemand", 10.0)


def test_a_failure_that_is_not_known(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    server.refuse("too_lazy")
    with pytest.raises(RequestFailed) as failed:
        client.info()
    assert type(failed.value) is RequestFailed


@pytest.mark.parametrize("code", ["busy", "too_fast", "unavailable"])
def test_it_comes_again_when_told_to(server: FakeServer, connect: Connect, code: str) -> None:
    client = connect(server.address)
    server.refuse(code, times=3, kind="info", retry_after_ms=20)
    assert client.info().account == "local"
    assert sum(isinstance(request, m.Info) for request in server.requests) == 4


@pytest.mark.parametrize("kind", ["TimeoutError", "TooSlow"])
def test_what_may_be_under_way_still_is_not_sent_twice(server: FakeServer, connect: Connect, kind: str) -> None:
    """Two undos would take two answers back. The caller hears of it, and looks."""
    client = connect(server.address)
    server.answer("taste.undo", m.Failure(code="busy", kind=kind, text="it takes too long", retry_after_ms=20))
    with pytest.raises(Busy) as failed:
        client.taste.undo()
    assert failed.value.kind == kind
    assert sum(isinstance(request, m.TasteUndo) for request in server.requests) == 1
    server.answer("taste.undo", None)
    server.refuse("busy", times=2, kind="taste.undo", retry_after_ms=20)  # it was not begun
    with pytest.raises(RequestFailed, match="got none of your own"):
        client.taste.undo()
    assert sum(isinstance(request, m.TasteUndo) for request in server.requests) == 4


def test_unavailable_without_a_time_is_final(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    server.refuse("unavailable")
    with pytest.raises(RequestFailed):
        client.info()


def test_what_cannot_be_sent(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    with pytest.raises(Invalid, match="Unicode"):
        client.imagine("half a \ud800 character")
    with pytest.raises(Invalid):
        client.imagine("a red apple", seed=2**80)
    client.ping()  # now it knows the limits
    with pytest.raises(LimitError, match="up to 65,536"):
        client.imagine("long " * 20_000)
    with pytest.raises(Invalid, match="steps"):
        client.imagine("a red apple", steps=0)
    assert client.ping() < DONE_S
    assert not server.jobs


def test_large_pictures_come_whole(connect: Connect) -> None:
    noise = hashlib.shake_256(b"noise").digest(300_000)
    limits = m.Limits(chunk=4096, max_credit=3)
    with FakeServer(pictures=[noise, noise[:4096], noise[:4097], noise[:1]], limits=limits) as server:
        job = connect(server.address).imagine("a red apple")
        job.wait(timeout_s=DONE_S)
        assert job.pictures() == [noise, noise[:4096], noise[:4097], noise[:1]]


def test_more_at_a_time_than_the_server_takes(connect: Connect) -> None:
    with FakeServer(limits=m.Limits(max_fetches=1, max_watches=1), hold=True) as server:
        client = connect(server.address)
        jobs = [client.imagine(f"apple {n}", images=3) for n in range(3)]
        streams = [job.events() for job in jobs]
        assert [next(stream).kind for stream in streams[:1]] == ["queued"]
        server.release()
        assert [event.kind for event in streams[0]][-1] == "done"
        for stream in streams[1:]:
            assert [event.kind for event in stream][-1] == "done"
        assert [len(job.pictures()) for job in jobs] == [3, 3, 3]


def test_result_is_to_wait_and_the_pictures(server: FakeServer, connect: Connect) -> None:
    """faults.md 27: a `Studio`'s job had `result`, a client's had not."""
    job = connect(server.address).imagine("a red apple", images=2)
    assert job.result(timeout_s=DONE_S) == job.pictures() == server.pictures[:2]
    assert job.state == "done"
    server.fail = "no memory"
    with pytest.raises(JobFailed, match="no memory"):
        connect(server.address).imagine("a red apple").result()


def test_one_name_for_more_than_is_taken() -> None:
    """faults.md 27: it was TooLarge here, and LimitError in the engine."""
    assert BY_CODE["too_large"] is LimitError is errors.TooLarge
    assert LimitError.__name__ == engine_errors.LimitError.__name__


def test_waiting_has_an_end(connect: Connect) -> None:
    with FakeServer(hold=True) as server:
        client = connect(server.address)
        job = client.imagine("a red apple")
        with pytest.raises(TimedOut):
            job.wait(timeout_s=0.1)
        assert next(stream := job.events(timeout_s=3)).kind == "queued"
        with pytest.raises(TimedOut):
            next(stream)
        hurry(client, 0.3)
        server.silence(1000)
        with pytest.raises(TimedOut):
            client.info()


def test_leaving_a_watch_tells_the_server(connect: Connect) -> None:
    with FakeServer(hold=True) as server:
        client = connect(server.address)
        job = client.imagine("a red apple")
        stream: Any = job.events()
        assert next(stream).kind == "queued"
        stream.close()
        client.ping()
        for _ in range(100):
            if any(isinstance(request, m.Unwatch) for request in server.requests):
                break
            client.ping()
        assert any(isinstance(request, m.Unwatch) for request in server.requests)
        assert client.ping() < DONE_S


def test_the_png_of_the_fake_is_one() -> None:
    with Image.open(io.BytesIO(make_png(1, 2, 3, 5, 4))) as image:
        assert (image.size, image.getpixel((4, 3))) == ((5, 4), (1, 2, 3))
