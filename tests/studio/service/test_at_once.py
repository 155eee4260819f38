"""What is asked for at the same time: bounds hold, and nothing of one request undoes the other's."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from salon.frontends.fake.worker import Behaviour, FakeWorker
from salon.parameters.job_request import JobRequest
from salon.studio.errors import QuotaExceeded
from salon.studio.service import entries, files, presets
from salon.studio.service.chat import Say
from salon.studio.service.context import ServiceContext
from salon.studio.service.entries import LINK, SESSION, TOKEN
from salon.studio.service.errors import WrongValue
from salon.studio.service.options import ServiceOptions
from salon.studio.service.service import Service
from salon.studio.store.domains.organize import HiddenRow, InFolderRow
from salon.studio.studio import Studio

from ..conftest import TIMEOUT
from .conftest import ended

Run = Callable[..., Any]


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture
def run(tmp_path: Path, behaviour: Behaviour) -> Run:
    """Opens a service without a model, has something done with it, and closes it."""

    def go(work: Callable[[Service], Awaitable[Any]]) -> Any:
        def studio(options: ServiceOptions, billing: Any) -> Studio:
            return Studio.over([FakeWorker(behaviour)], accounts=billing)

        async def main() -> Any:
            service = Service(ServiceContext(ServiceOptions(data=tmp_path / "data"), studio))
            try:
                service.restore()
                service.context.studio.loop.release()
                return await asyncio.wait_for(work(service), 2 * TIMEOUT)
            finally:
                await service.leave(0.0)
                await service.close()

        return asyncio.run(main())

    return go


async def drawn(service: Service, key: str) -> str:
    done = await service.submit("local", JobRequest(key=key, prompt="cat", images=1))
    await ended(service, done.job.job)
    return done.job.job


def picture(colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (colour, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


async def outcomes(*asked: Awaitable[Any]) -> list[str]:
    """The names of the errors of what is asked at the same time; "" of what is done."""
    found = await asyncio.gather(*asked, return_exceptions=True)
    return sorted(type(each).__name__ if isinstance(each, BaseException) else "" for each in found)


def test_tokens_and_sessions_at_their_bounds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MOST", {LINK: 9, SESSION: 2, TOKEN: 2})

    async def work(service: Service) -> None:
        make, trade = service.entries.make, service.entries.trade
        asked = (make(TOKEN, "local", name) for name in "abcd")
        assert await outcomes(*asked) == ["", "", WrongValue.__name__, WrongValue.__name__]
        links = [await make(LINK, "local") for _ in range(4)]
        made = await asyncio.gather(*(trade(link.text) for link in (*links, *links)))
        assert sum(one is not None for one in made) == 4  # each link once; the sessions of the first two ended again
        kinds = [row.kind for row in await service.entries.kept("local")]
        assert sorted(kinds) == sorted([SESSION, SESSION, TOKEN, TOKEN])

    run(work)


def test_presets_and_files_at_their_bounds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "MAX_PRESETS", 2)
    monkeypatch.setattr(files, "MOST", 2)

    async def work(service: Service) -> None:
        put, add = service.organize.presets.put, service.files.add
        asked = (put("local", name, "--ar 2:1") for name in "abcd")
        assert await outcomes(*asked) == ["", "", WrongValue.__name__, WrongValue.__name__]
        assert len(await service.organize.presets.listed("local")) == 2
        brought = (add("local", picture(colour), "a.png", "vision") for colour in range(4))
        assert await outcomes(*brought) == ["", "", QuotaExceeded.__name__, QuotaExceeded.__name__]
        kept = await service.files.list("local")
        assert len(kept) == 2
        again = await service.files.content("local", kept[0].id)
        assert (await add("local", again, "b.png", "vision")).name == "b.png"  # the same file is no further one

    run(work)


def test_a_job_that_becomes_private_while_it_is_tried_again(
    run: Run, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(service: Service) -> None:
        behaviour.fail = "the device is on fire"
        job = await drawn(service, "k")
        behaviour.fail = ""
        behaviour.step_s = 0.02
        stored = service.waits.stored
        unpublished = asyncio.Event()

        async def late(writes: Any) -> None:
            await stored(writes)
            if not unpublished.is_set():  # the owner's change comes between the write and what follows it
                unpublished.set()
                assert (await service.organize.change("local", "unpublish", [job])).changed == 1

        monkeypatch.setattr(service.waits, "stored", late)
        assert (await service.retry(job)).private
        assert (await service.find(job, "local")).private
        assert (await ended(service, job)).private
        row = service.context.store.job(job)
        assert (row is not None and row.private, row and row.state) == (True, "done")
        assert not service.retried

    run(work)


def test_what_is_thought_of_a_deleted_job_goes(run: Run) -> None:
    async def work(service: Service) -> None:
        store, change = service.context.store, service.organize.change
        jobs = [await drawn(service, key) for key in "abc"]
        folder = (await service.organize.folders.new("local", "best")).folder
        await change("local", "hide", jobs)
        await change("local", "add", jobs, folder)
        await service.delete(jobs[0], "local")
        assert {row.job for row in store.rows(HiddenRow, account="local")} == set(jobs[1:])
        assert {row.job for row in store.rows(InFolderRow, account="local")} == set(jobs[1:])

    run(work)


def test_a_nul_in_a_conversation_is_the_users_fault(run: Run) -> None:
    async def work(service: Service) -> None:
        for said in (Say(key="a", text="a cat\0"), Say(key="b", text="a cat", prompt="a\0dog")):
            with pytest.raises(WrongValue, match="NUL"):
                await service.chat.say("local", said)
        assert (await service.chat.page("local"))[0] == ()

    run(work)


def test_tabs_that_do_opposite_things(run: Run) -> None:
    """Each change is whole: what the store says in the end is what everybody is told."""

    async def work(service: Service) -> None:
        job = await drawn(service, "k")
        change, store = service.organize.change, service.context.store
        folder = (await service.organize.folders.new("local", "best")).folder
        for one, other, place in (("publish", "unpublish", ""), ("hide", "unhide", ""), ("add", "remove", folder)):
            assert await outcomes(*(change("local", act, [job], place) for act in (one, other) * 4)) == [""] * 8
            row = store.job(job)
            assert row is not None
            assert (await service.find(job, "local")).private == row.private
            marks = await service.organize.marks("local", [job])
            assert marks.hidden == tuple(row.job for row in store.rows(HiddenRow, account="local"))
            inside = tuple(row.folder for row in store.rows(InFolderRow, account="local"))
            assert marks.folders == ({job: inside} if inside else {})
        done = await outcomes(change("local", "publish", [job]), change("local", "delete", [job]),
                              change("local", "add", [job], folder), service.delete(job, "local"))  # fmt: skip
        assert set(done) <= {"", "UnknownJob"}
        row = store.job(job)
        assert row is not None
        assert row.deleted
        assert await outcomes(service.find(job, "local")) == ["UnknownJob"]

    run(work)
