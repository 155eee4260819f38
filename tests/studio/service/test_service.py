"""The service without any wire: what is accepted is on disk, is told as it goes, and goes on after a restart."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Sequence
from typing import Any

import msgspec
import pytest
from PIL import Image

from salon.engine.errors import SpecError
from salon.scheduler.errors import Refused, UnknownAccount, UnknownLane
from salon.scheduler.plans import lane_of
from salon.scheduler.prices import Kind, Work
from salon.studio.errors import StoreLost
from salon.studio.jobs import imagine
from salon.studio.kinds import Asked
from salon.studio.pricing import cost_ms
from salon.studio.references import digest_of, read_picture
from salon.studio.service import entries as entries_module
from salon.studio.service import references
from salon.studio.service import service as service_module
from salon.studio.service.entries import SESSION, TOKEN
from salon.studio.service.errors import Draining, KeyReused, NotEnded, NotFailed, UnknownJob, WrongValue
from salon.studio.service.organized import NamesQuery
from salon.studio.service.recipe_files import read_png
from salon.studio.service.repeats import Repeat
from salon.studio.service.service import Service
from salon.studio.store.domains.entry import EntryRow
from salon.studio.store.names import Wanted

from ..conftest import TIMEOUT
from .conftest import Serve, ended, request


def test_it_needs_no_frontend() -> None:
    code = (
        "import sys, salon.studio.service.embedded\n"
        "found = [name for name in sys.modules if name.startswith('salon.frontends')]\n"
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_job_from_its_request_to_its_pictures(serve: Serve) -> None:
    async def work(service: Service) -> None:
        job, existing = await service.submit("local", request("k", "a red apple", preview_every=1))
        assert (existing, job.state in ("queued", "running"), job.images) == (False, True, 2)
        row = service.context.store.job(job.job)
        assert row is not None
        log = await service.log(job.job, "local")
        record = await ended(service, job.job)
        assert (record.state, record.step, record.prompt, record.solver) == ("done", 2, "a red apple", "euler")
        assert [picture.index for picture in record.pictures] == [-1, 0, 1]
        data = service.context.blobs.get(record.pictures[1].digest)
        pixels, recipe = read_png(io.BytesIO(data))
        assert (pixels.shape, recipe.spec.prompt, recipe.image) == ((16, 16, 3), "a red apple", 0)
        events = list(log.since(0))
        numbers = [event.number for event in events]
        assert numbers == sorted(set(numbers))
        assert [event.kind for event in events] == ["queued", "started", "step", "image", "image", "image", "done"]
        assert events[-1].number == record.last_event

    serve(work)


def test_a_watcher_is_told_of_every_event(serve: Serve) -> None:
    class Counter:
        def __init__(self) -> None:
            self.kinds: list[str] = []

        def touched(self) -> None:
            self.kinds.append(log.events[-1].kind)

    log: Any = None

    async def work(service: Service) -> list[str]:
        nonlocal log
        job, _ = await service.submit("local", request("k"))
        log = await service.log(job.job, "local")
        counter = Counter()
        log.watchers.add(counter)
        service.context.studio.loop.release()
        await ended(service, job.job)
        return counter.kinds

    told = serve(work, paused=True)
    assert (told[0], told[-1], told.count("done")) == ("started", "done", 1)


def test_a_key_is_one_job(serve: Serve) -> None:
    async def work(service: Service) -> str:
        both = await asyncio.gather(*(service.submit("local", request("k")) for _ in range(2)))
        assert both[0].job.job == both[1].job.job
        assert [one.existing for one in both] == [False, True]
        with pytest.raises(KeyReused, match="'k' again, with another request"):
            await service.submit("local", request("k", "dog"))
        assert service.accepted == 1
        return str(both[0].job.job)

    job = serve(work)

    async def again(service: Service) -> None:
        found, existing = await service.submit("local", request("k"))
        assert (found.job, existing) == (job, True)
        assert (await ended(service, job)).state == "done"

    serve(again)


def test_what_was_accepted_goes_on_after_a_restart(serve: Serve) -> None:
    async def accept(service: Service) -> tuple[str, int]:
        job, _ = await service.submit("local", request("k", private=True))
        return job.job, job.last_event

    job, last = serve(accept, paused=True)

    async def finish(service: Service) -> None:
        record = await ended(service, job)
        assert (record.state, record.private, len(record.pictures)) == ("done", True, 3)
        log = await service.log(job, "local")
        finals = [event for event in log.since(last) if event.kind == "done"]
        assert [event.number for event in finals] == [record.last_event]
        assert service.context.ledger.open_jobs() == ()

    serve(finish)


def test_nobody_else_sees_what_is_private(serve: Serve) -> None:
    async def work(service: Service) -> None:
        accounts = service.context.accounts
        for name in ("ann", "ben"):
            accounts.enter(name)
        mine, _ = await service.submit("ann", request("k", "a secret", private=True))
        shared, _ = await service.submit("ann", request("k2", "a red apple"))
        await ended(service, mine.job, "ann"), await ended(service, shared.job, "ann")
        with pytest.raises(UnknownJob):
            await service.find(mine.job, "ben")
        assert (await service.find(shared.job, "ben")).prompt == "a red apple"
        for refused in (service.delete(shared.job, "ben"), service.cancel(shared.job, "ben")):
            with pytest.raises(UnknownJob):
                await refused
        seen = await service.show(mine.job, "ben", operator=True)
        assert (seen.state, seen.prompt, seen.seed, seen.pictures) == ("done", "", 0, ())
        page = await service.page(None, viewer="ben")
        assert [job.prompt for job in page.jobs] == ["a red apple", ""]
        assert [job.prompt for job in (await service.page("ann")).jobs] == ["a red apple", "a secret"]
        with pytest.raises(UnknownAccount):
            accounts.enter("eve")

    serve(work, open=True, open_accounts=3, open_plan="pro")


def test_private_stays_private_on_a_plan_without_it(serve: Serve) -> None:
    async def work(service: Service) -> None:
        for name in ("ann", "ben"):
            service.context.accounts.enter(name)
        one, _ = await service.submit("ann", request("k", "a secret", private=True))
        (picture, *_) = (await ended(service, one.job, "ann")).pictures
        await service.accounts.set("ann", "local", keyed=False, plan="basic")
        for refused in (
            service.find(one.job, "ben"),
            service.log(one.job, "ben"),
            service.again("ben", Repeat("r", one.job)),
        ):
            with pytest.raises(UnknownJob):
                await refused
        for whose in ("public", "all"):
            assert (await service.organize.names("ben", NamesQuery(whose=whose, search="secret"))).jobs == ()
        assert (await service.page(None, viewer="ben", public=True)).jobs == ()
        assert not service.jobs.references.may_use("ben", picture.digest)
        attempts: tuple[Awaitable[Any], ...] = (
            service.again("ann", Repeat("r", one.job)), service.submit("ann", request("k2", "more", private=True)),
            service.organize.change("ann", "unpublish", [one.job]),
        )  # fmt: skip
        for attempt in attempts:
            with pytest.raises(Refused, match="Stealth mode is only available for users with a pro plan"):
                await attempt
        assert (await service.organize.change("ann", "publish", [one.job])).changed == 1
        assert not (await service.again("ann", Repeat("r", one.job))).job.private

    serve(work, open=True, open_accounts=3, open_plan="pro")


def test_what_was_read_before_a_change_is_not_kept_after_it(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is published no longer, or deleted, while somebody else's request reads it."""

    async def work(service: Service) -> None:
        store, job_of = service.context.store, service.context.store.job
        for name in ("ann", "ben"):
            service.context.accounts.enter(name)
        jobs = [(await service.submit("ann", request(f"k{i}", seed=i)))[0].job for i in range(2)]
        for job in jobs:
            await ended(service, job, "ann")
        for job, change in zip(jobs, (service.organize.change("ann", "unpublish", jobs[:1]),
                                      service.delete(jobs[1], "ann")), strict=True):  # fmt: skip
            found, changed = threading.Event(), threading.Event()

            def slowly(name: str, found: threading.Event = found, changed: threading.Event = changed) -> Any:
                row = job_of(name)
                found.set()
                changed.wait(TIMEOUT)
                return row

            service.jobs.drop(job)
            with monkeypatch.context() as patched:
                patched.setattr(store, "job", slowly)
                reading = asyncio.create_task(service.find(job, "ben"))
                await asyncio.to_thread(found.wait, TIMEOUT)
                patched.setattr(store, "job", job_of)
                await change
                changed.set()
                assert (await reading).job == job, "it was so when it was asked for"
            with pytest.raises(UnknownJob):
                await service.find(job, "ben")

    serve(work, open=True, open_accounts=3, open_plan="pro")


def test_a_page_asks_for_its_pictures_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(service: Service) -> None:
        store, asked = service.context.store, []
        jobs = [(await service.submit("local", request(f"k{i}", seed=i)))[0].job for i in range(5)]
        whole = {job: (await ended(service, job)).pictures for job in jobs}
        pictures_of = store.pictures_of

        def counted(names: Sequence[str]) -> Any:
            asked.append(len(names))
            return pictures_of(names)

        monkeypatch.setattr(store, "pictures_of", counted)
        monkeypatch.setattr(store, "pictures", lambda job: pytest.fail("one job at a time"))
        page = await service.page("local", limit=3)
        assert [job.job for job in page.jobs] == jobs[:1:-1]
        assert {job.job: job.pictures for job in page.jobs} == {job: whole[job] for job in jobs[2:]}
        rest = await service.page("local", before=page.next, states=["done"])
        assert ([job.job for job in rest.jobs], rest.next) == (jobs[1::-1], 0)
        assert asked == [4, 2]

    serve(work)


def test_refusals_leave_nothing(serve: Serve) -> None:
    async def work(service: Service) -> None:
        for bad, error in (({"images": 0}, SpecError), ({"lane": "slow"}, UnknownLane), ({"width": 7}, SpecError)):
            with pytest.raises(error):
                await service.submit("local", request("k", **bad))
        job, _ = await service.submit("local", request("k"))
        with pytest.raises(NotEnded):
            await service.delete(job.job, "local")
        with pytest.raises(NotFailed):
            await service.retry(job.job)
        with pytest.raises(UnknownJob):
            await service.retry("none")
        assert await service.cancel(job.job, "local")
        assert not await service.cancel(job.job, "local")
        assert await service.delete(job.job, "local")
        assert not await service.delete(job.job, "local")
        service.draining = True
        with pytest.raises(Draining):
            await service.submit("local", request("k2"))
        assert (await service.submit("local", request("k")))[1]  # what was accepted before is found
        assert service.context.ledger.open_jobs() == ()

    serve(work, paused=True)


def test_a_job_that_is_done_after_the_threads_have_ended_goes_on_at_the_next_start(serve: Serve) -> None:
    """It was an exception in the event loop, on the standard error of a program that had ended well."""

    async def late(service: Service) -> str:
        service.jobs.storing.close()
        job = (await service.submit("local", request("a"))).job.job
        handle = service.jobs.live[job].handle
        assert handle is not None
        assert await asyncio.to_thread(handle.wait, TIMEOUT)
        await asyncio.sleep(0)
        service.jobs._studio_ended(handle)  # told again, as a hook may be late
        assert (await service.find(job, "local")).state != "done"
        return job

    job = serve(late)
    assert serve(lambda service: ended(service, job)).state == "done"


# ---- what it costs -----------------------------------------------------------------------------------------------


def test_a_job_is_charged_what_it_was_quoted(serve: Serve) -> None:
    async def work(service: Service) -> None:
        await service.accounts.set("local", "local", keyed=False, plan="basic")
        context = service.context
        prices, info = context.books.book.prices, context.studio.loop.model
        asks: list[dict[str, Any]] = [{}, {"steps": 5, "solver": "heun"}, {"images": 1, "lane": "turbo"}]
        for i, fields in enumerate(asks):
            asked = request(f"k{i}", **fields)
            lane = lane_of(asked.lane)
            quoted = cost_ms(prices, info, imagine.spec(Asked(request=asked, lane=lane), info), lane)
            job, _ = await service.submit("local", asked)
            record = await ended(service, job.job)
            assert (record.lane, record.charged_ms) == (asked.lane, quoted)
            spent = [-e.amount_ms for e in context.store.all_entries() if (e.job, e.kind) == (job.job, "charge")]
            assert sum(spent) == quoted > 0

    serve(work)


def test_an_open_job_of_before_there_was_an_effort_keeps_its_price(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def old(info: Any, spec: Any, *, stealth: bool, **more: Any) -> Work:
        return Work(kind=Kind.GRID, images=spec.images, stealth=stealth)

    def pack(value: Any) -> bytes:
        fields = msgspec.to_builtins(value)
        fields.pop("effort", None)
        return msgspec.msgpack.encode(fields)

    async def accept(service: Service) -> str:
        await service.accounts.set("local", "local", keyed=False, plan="basic")
        monkeypatch.setattr(imagine, "work_of", old)
        monkeypatch.setattr(service_module, "pack", pack)
        return (await service.submit("local", request("k")))[0].job

    job = serve(accept, paused=True)
    monkeypatch.undo()

    async def go_on(service: Service) -> None:
        row = service.context.store.job(job)
        assert row is not None
        assert b"effort" not in row.work
        assert (await ended(service, job)).charged_ms == 30_000
        assert (await service.accounts.show("local")).info.held_ms == 0

    serve(go_on)


def test_what_was_ended_lets_nobody_in_who_was_just_being_looked_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(service: Service) -> None:
        store, entries, waits = service.context.store, service.entries, service.waits
        found, ended_ = threading.Event(), threading.Event()
        row_of = store.row

        def slowly(rows: Any, *key: Any) -> Any:
            row = row_of(rows, *key)
            found.set()
            ended_.wait(TIMEOUT)
            return row

        token = await entries.make(TOKEN, "local")
        monkeypatch.setattr(store, "row", slowly)
        finding = asyncio.create_task(entries.find(TOKEN, token.text))
        await asyncio.to_thread(found.wait, TIMEOUT)
        await entries.drop(token.row.hash)
        ended_.set()
        assert await finding is None
        assert await entries.find(TOKEN, token.text) is None

        monkeypatch.setitem(entries_module.MOST, SESSION, 1)
        first, write = await entries.make(SESSION, "local"), waits.write

        async def asked_meanwhile(writes: Any) -> None:
            assert await entries.find(SESSION, first.text) is None
            await write(writes)

        monkeypatch.setattr(waits, "write", asked_meanwhile)
        second = await entries.make(SESSION, "local")
        assert await entries.find(SESSION, first.text) is None
        assert await entries.find(SESSION, second.text) is not None
        assert [row_of(EntryRow, one.row.hash) for one in (token, first)] == [None, None]

    serve(work, paused=True)


def test_a_folder_that_is_deleted_while_it_is_renamed_does_not_come_back(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(service: Service) -> None:
        folders = service.organize.folders
        want, made = folders.want, await folders.new("local", "best")

        async def found(account: str, folder: str) -> Any:
            row = await want(account, folder)
            assert await folders.delete(account, folder)
            return row

        monkeypatch.setattr(folders, "want", found)
        with pytest.raises(WrongValue, match="folder"):
            await folders.rename("local", made.folder, "worst")
        assert await folders.listed("local") == ()

    serve(work, paused=True)


def test_pages_are_told_of_what_is_deleted_though_its_files_cannot_be(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(service: Service) -> None:
        job = (await service.submit("local", request("k")))[0].job
        await ended(service, job)
        told = list[tuple[str, str]]()
        service.jobs.deleted.append(lambda account, job: told.append((account, job)))

        def broken(digests: Sequence[str]) -> None:
            raise StoreLost("no disk")

        monkeypatch.setattr(service.jobs, "remove", broken)
        with pytest.raises(StoreLost):
            await service.organize.change("local", "delete", [job])
        assert told == [("local", job)]
        with pytest.raises(UnknownJob):
            await service.find(job, "local")

    serve(work)


def test_searches_leave_threads_to_other_reads(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(service: Service) -> None:
        store, going, most, free = service.context.store, list[str](), list[int](), threading.Event()
        names_of = store.names

        def slowly(wanted: Wanted) -> Any:
            going.append(wanted.account)
            assert len(set(going)) == len(going), "one of an account"
            most.append(len(going))
            free.wait(TIMEOUT)
            going.remove(wanted.account)
            return names_of(wanted)

        monkeypatch.setattr(store, "names", slowly)
        asked = [
            asyncio.create_task(service.organize.names(name, NamesQuery())) for name in ("ann", "ann", "ben", "eve") * 3
        ]
        async with asyncio.timeout(TIMEOUT):
            while len(most) < 2:
                await asyncio.sleep(0)
        with pytest.raises(UnknownJob):  # answered while all of these wait
            await service.find("none", "ann")
        free.set()
        assert {page.total for page in await asyncio.gather(*asked)} == {0}
        assert max(most) == 2

    serve(work, paused=True)


def test_few_files_that_are_brought_are_unpacked_at_a_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    going, most, read, two = list[str](), list[int](), read_picture, threading.Event()

    def slowly(data: bytes, name: str) -> Any:
        going.append(name)
        most.append(len(going))
        if len(going) > 1:
            two.set()
        assert two.wait(TIMEOUT)
        time.sleep(0.02)  # for a third one, if it may
        going.pop()
        return read(data, name)

    async def work(service: Service) -> None:
        monkeypatch.setattr(references, "read_picture", slowly)
        files = []
        for shade in range(8):
            buffer = io.BytesIO()
            Image.new("L", (8, 8), shade).save(buffer, "PNG")
            files.append(buffer.getvalue())
        add = service.jobs.references.add
        await asyncio.gather(*(add("local", digest_of(data), data) for data in files))

    serve(work, paused=True)
    assert (len(most), max(most)) == (8, 2)
