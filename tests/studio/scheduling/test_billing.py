"""Accounts at the loop: refused before there is a job, charged once for what is done, and for nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from salon.engine.errors import SpecError
from salon.engine.spec import AdapterUse, GenerationSpec
from salon.scheduler.accounts import Accounts
from salon.scheduler.errors import DuplicateJob, Refused, TicketError, UnknownAccount
from salon.scheduler.ledger import Ledger
from salon.scheduler.plans import load_plans
from salon.scheduler.prices import Kind, Work
from salon.studio.errors import JobFailed
from salon.studio.pricing import cost_ms, work_of
from salon.studio.scheduling.billing import Billing
from salon.studio.scheduling.loop import Loop
from salon.studio.workers.worker import Worker

from ..conftest import TIMEOUT, Solo, spec

MakeLoop = Callable[..., Loop]
NOW = 1_700_000_000_000
MINUTE = 60_000


@pytest.fixture
def kept() -> list[Any]:
    return []


@pytest.fixture
def billing(kept: list[Any]) -> Billing:
    accounts = Accounts(load_plans())
    for name, plan in (("ann", "basic"), ("bob", "standard")):
        accounts.open(name, NOW, plan=plan)
    times = iter(range(NOW + 100_000, NOW, -1))  # goes back
    return Billing(accounts, kept.extend, lambda: next(times))


def cost(loop: Loop, **fields: Any) -> int:
    return cost_ms(load_plans().prices, loop.model, spec(**fields))


def left(loop: Loop, account: str) -> int:
    info = loop.info(account)
    assert info.fast_ms is not None
    return sum(info.fast_ms.values())


def test_charged_once_for_what_is_done(new_loop: MakeLoop, billing: Billing, kept: list[Any], solo: Solo) -> None:
    loop = new_loop(accounts=billing)
    before, price = left(loop, "ann"), cost(loop, images=4)
    assert price == 40_000  # of a minute, 2 steps of 3
    done = [loop.submit(spec(seed=i, images=4), account="ann") for i in range(2)]
    for i, job in enumerate(done):
        np.testing.assert_array_equal(job.result(TIMEOUT), solo(spec(seed=i, images=4)))
    assert left(loop, "ann") == before - 2 * price
    loop.hold()
    cancelled = loop.submit(spec(images=4, steps=100), account="ann")
    cancelled.pause()
    loop.release()
    assert loop.info("ann").held_ms == cost(loop, images=4, steps=100)
    cancelled.cancel()
    assert cancelled.wait(TIMEOUT)
    loop.close()
    info = loop.info("ann")
    assert left(loop, "ann") == before - 2 * price
    assert (info.held_ms, info.running, info.queued, info.lifetime_jobs) == (0, (), (), 2)
    assert len(kept) >= 6


def test_refused_before_there_is_a_job(new_loop: MakeLoop, billing: Billing) -> None:
    loop = new_loop(accounts=billing)
    with pytest.raises(UnknownAccount, match="account: got 'eve'"):
        loop.submit(spec(), account="eve")
    with pytest.raises(Refused, match="Relax queues are only available for users with a standard plan or higher"):
        loop.submit(spec(), account="ann", lane="relax")
    assert loop.submit(spec(), account="bob", lane="relax", job="once").result(TIMEOUT).shape == (1, 16, 16, 3)
    with pytest.raises(DuplicateJob):
        loop.submit(spec(), account="bob", lane="relax", job="once")
    loop.hold()
    for _ in range(13):  # 3 running and 10 queued
        loop.submit(spec(steps=200), account="bob").pause()
    assert loop.info("bob").held_ms == 13 * cost(loop, steps=200)
    with pytest.raises(Refused, match="queue: got one more job with 10 queued"):
        loop.submit(spec(), account="bob")
    loop.close()
    assert loop.info("bob").held_ms == 0


def test_entries_that_cannot_be_kept_make_no_job(new_loop: MakeLoop, billing: Billing) -> None:
    full = threading.Event()

    def keep(entries: Any) -> None:
        if full.is_set():
            raise OSError("no space left")

    billing._keep = keep
    loop = new_loop(accounts=billing)
    before = left(loop, "ann")
    full.set()
    with pytest.raises(OSError, match="no space left"):
        loop.submit(spec(), account="ann")
    assert not loop.scheduler.busy
    full.clear()
    assert left(loop, "ann") == before
    assert loop.submit(spec(), account="ann").wait(TIMEOUT)


@pytest.mark.parametrize("wrong", range(6))
def test_what_could_not_be_kept_is_kept_later(
    new_loop: MakeLoop, kept: list[Any], caplog: pytest.LogCaptureFixture, wrong: int
) -> None:
    """Whichever call of `keep` fails, the stored books are those in memory: no gap, nothing twice."""
    calls = iter(range(100))

    def keep(entries: Any) -> None:
        if next(calls) == wrong:
            raise OSError("no space left")
        kept.extend(entries)

    accounts = Accounts(load_plans())
    kept += accounts.open("ann", NOW, plan="basic")
    loop = new_loop(accounts=Billing(accounts, keep, lambda: NOW))
    raised = 0
    for i in range(3):  # two calls each, but for the one that is refused
        try:
            job = loop.submit(spec(seed=i, images=4), account="ann", job=str(i))
        except OSError:
            raised += 1
        else:
            assert job.wait(TIMEOUT)
            assert job.charged_ms == cost(loop, images=4)
    assert raised == (wrong in (0, 2, 4))
    loop.close()
    assert Ledger.replay(kept).snapshot() == accounts.ledger.snapshot()
    assert ("could not be stored yet" in caplog.text) is not bool(raised)


def test_a_change_that_could_not_be_kept_is_kept_later(kept: list[Any]) -> None:
    full = [True, True, False]

    def keep(entries: Any) -> None:
        if full.pop(0):
            raise OSError("no space left")
        kept.extend(entries)

    accounts = Accounts(load_plans())
    billing = Billing(accounts, keep, lambda: NOW)
    with pytest.raises(OSError, match="no space left"):
        billing.do(lambda books, now: books.open("ann", now, plan="basic"))
    billing.flush()
    assert not kept
    billing.flush()
    billing.flush()  # nothing is left to be kept
    assert Ledger.replay(kept).snapshot() == accounts.ledger.snapshot()


def test_without_accounts(new_loop: MakeLoop) -> None:
    with pytest.raises(UnknownAccount, match="there are no accounts"):
        new_loop().info("ann")


def test_relax_use_counts_from_zero_after_the_renewal(new_loop: MakeLoop) -> None:
    accounts = Accounts(load_plans())
    accounts.open("bob", NOW, plan="standard")
    clock = [NOW]
    loop = new_loop(accounts=Billing(accounts, clock=lambda: clock[0]))
    loop.submit(spec(), account="bob", lane="relax").result(TIMEOUT)
    first = loop.scheduler.service("bob", relax=True)
    loop.submit(spec(), account="bob", lane="relax").result(TIMEOUT)
    second = loop.scheduler.service("bob", relax=True)
    assert 0 < first < second
    clock[0] += 40 * 24 * 3600 * 1000
    loop.submit(spec(), account="bob", lane="relax").result(TIMEOUT)
    assert 0 < loop.scheduler.service("bob", relax=True) < second


def test_the_plans_file_is_the_policy(new_loop: MakeLoop, billing: Billing) -> None:
    assert new_loop(accounts=billing).scheduler.policy is billing.accounts.book.policy


def test_taken_back_after_a_restart(new_loop: MakeLoop, kept: list[Any], solo: Solo) -> None:
    """A loop closes with two jobs that were not stored to their end: one open, one charged already."""
    first = Accounts(load_plans())
    kept += first.open("ann", NOW, plan="basic")
    loop = new_loop(accounts=Billing(first, kept.extend))
    loop.accounts(lambda accounts, now: accounts.buy("ann", MINUTE, now))
    charged = loop.submit(spec(seed=1, images=4), account="ann", job="charged")
    charged.result(TIMEOUT)
    assert charged.charged_ms == cost(loop, images=4)
    assert set(charged.reading.clauses) >= {"subject"}
    loop.hold()
    loop.submit(spec(seed=2, images=4, steps=50), account="ann", job="open")
    assert loop.snapshot().held
    assert loop.snapshot().queued == {"fast": 1}
    loop.close(leave_open=True)

    ledger = Ledger.replay(kept)
    assert ledger.is_open("open")
    assert ledger.has_ended("charged")
    accounts = Accounts(load_plans(), ledger)
    accounts.open("ann", ledger.now_ms, plan="basic", anchor_ms=NOW)
    assert accounts.is_open("ann")
    assert not accounts.is_open("bob")
    after = new_loop(accounts=Billing(accounts, kept.extend, lambda: ledger.now_ms))
    jobs = [
        after.submit(spec(seed=seed, images=4, steps=steps), account="ann", job=name, restored=True)
        for seed, steps, name in ((1, 2, "charged"), (2, 50, "open"))
    ]
    for job in jobs:
        np.testing.assert_array_equal(job.result(TIMEOUT), solo(job.spec))
    assert [job.charged_ms for job in jobs] == [0, cost(after, images=4, steps=50)]
    with pytest.raises(DuplicateJob):
        after.submit(spec(), account="ann", job="charged")
    assert [entry.job for entry in kept if entry.kind == "charge"] == ["charged", "open"]
    assert Ledger.replay(kept).snapshot() == ledger.snapshot()


def test_taken_back_though_the_plan_has_no_such_lane_any_more(new_loop: MakeLoop, kept: list[Any], solo: Solo) -> None:
    first = Accounts(load_plans())
    kept += first.open("bob", NOW, plan="standard")
    loop = new_loop(accounts=Billing(first, kept.extend, lambda: NOW))
    loop.hold()
    loop.submit(spec(seed=2), account="bob", job="open", lane="relax")
    loop.close(leave_open=True)
    ledger = Ledger.replay(kept)
    accounts = Accounts(load_plans(), ledger)
    accounts.open("bob", NOW, plan="basic")
    after = new_loop(accounts=Billing(accounts, kept.extend, lambda: NOW))
    with pytest.raises(Refused, match="Relax"):
        after.submit(spec(), account="bob", lane="relax")
    job = after.submit(spec(seed=2), account="bob", job="open", lane="relax", restored=True)
    np.testing.assert_array_equal(job.result(TIMEOUT), solo(job.spec))
    assert not ledger.open_jobs()


@pytest.mark.parametrize("takes_back", [True, False])
def test_where_nobody_is_left_jobs_stay_open_for_who_takes_them_back(
    new_loop: MakeLoop, kept: list[Any], solo: Solo, monkeypatch: pytest.MonkeyPatch, takes_back: bool
) -> None:
    first = Accounts(load_plans())
    kept += first.open("ann", NOW, plan="basic")
    loop = new_loop(accounts=Billing(first, kept.extend, lambda: NOW, takes_back=takes_back))
    loop.hold()
    jobs = [loop.submit(spec(seed=i, images=4), account="ann", job=str(i)) for i in range(2)]

    def bug(*_: Any) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "handle", bug)
        loop.release()
        for job in jobs:
            with pytest.raises(JobFailed, match="no worker is left"):
                job.result(TIMEOUT)
            assert (job.failure, job.left_open) == ("WorkerLost", takes_back)
    loop.close()
    ledger = Ledger.replay(kept)
    assert ledger.open_jobs() == (("0", "1") if takes_back else ())
    if takes_back:
        accounts = Accounts(load_plans(), ledger)
        accounts.open("ann", NOW, plan="basic")
        after = new_loop(accounts=Billing(accounts, kept.extend, lambda: NOW))
        for job in jobs:
            again = after.submit(job.spec, account="ann", job=job.id, restored=True)
            np.testing.assert_array_equal(again.result(TIMEOUT), solo(job.spec))
            assert (again.charged_ms, again.left_open) == (cost(after, images=4), False)


def test_whatever_a_submit_raises_nothing_stays_set_aside(
    new_loop: MakeLoop, billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = new_loop(accounts=billing)
    admit = billing.admit
    for broken in ("renewed", "admit"):
        with monkeypatch.context() as patch:
            if broken == "renewed":
                patch.setattr(billing, "renewed", lambda account: 1 / 0)
            else:  # a plans file may allow more than the scheduler takes
                patch.setattr(billing, "admit", lambda *arguments: 10**7 * admit(*arguments))
            with pytest.raises((ZeroDivisionError, TicketError)):
                loop.submit(spec(images=4), account="ann")
        assert not billing.accounts.ledger.open_jobs()
        assert loop.info("ann").held_ms == 0


# ---- several at once ---------------------------------------------------------------------------------------------


def four(**fields: Any) -> list[GenerationSpec]:
    return [spec(seed=i, images=i + 1, **fields) for i in range(4)]


def test_a_submit_of_several_takes_one_place_and_is_settled_one_by_one(
    new_loop: MakeLoop, billing: Billing, kept: list[Any], solo: Solo
) -> None:
    loop = new_loop(accounts=billing)
    before, ended = left(loop, "ann"), []
    jobs = loop.submit_many(four(), account="ann", on_end=lambda job: ended.append(job.id))
    for job in jobs:
        np.testing.assert_array_equal(job.result(TIMEOUT), solo(job.spec))
    costs = [cost(loop, images=i + 1) for i in range(4)]
    assert [job.charged_ms for job in jobs] == costs
    assert left(loop, "ann") == before - sum(costs)
    charged = [entry.job for entry in kept if entry.kind == "charge"]
    assert sorted(charged) == sorted(job.id for job in jobs)
    loop.hold()
    many = loop.submit_many(four(steps=20), account="ann")
    singles = [loop.submit(spec(steps=20), account="ann") for _ in range(12)]  # 13 places: 3 run, 10 wait
    with pytest.raises(Refused, match="queue: got one more job with 10 queued"):
        loop.submit_many(four(), account="ann")
    many[0].cancel()
    with pytest.raises(Refused, match="queue"):
        loop.submit(spec(), account="ann")
    for job in many[1:]:
        job.cancel()
    loop.submit_many(four(), account="ann")
    assert all(job.cancel() for job in singles)
    loop.close()
    assert (loop.info("ann").held_ms, sorted(ended)) == (0, sorted(job.id for job in jobs))


def test_of_a_submit_of_several_all_are_made_or_none(
    new_loop: MakeLoop, billing: Billing, kept: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = new_loop(accounts=billing)
    before, snapshot = left(loop, "ann"), billing.accounts.ledger.snapshot()
    wild = spec(adapters=(AdapterUse("nobody"),))
    for error, words, specs, options in (
        (Refused, "5 jobs in one submit, allowed 4 on the basic plan; nothing was made", [*four(), spec()], {}),
        (SpecError, "adapter", [*four()[:3], wild], {}),
        (SpecError, "GenerationSpec", [spec(), "a cat"], {}),
        (DuplicateJob, "not in use", four(), {"jobs": ["a", "b", "c", "a"]}),
        (TicketError, "jobs: got 1, allowed 4", four(), {"jobs": ["a"]}),
        (TicketError, "works: got 0, allowed 4", four(), {"works": []}),
        (TicketError, "specs: got none", [], {}),
        (TicketError, "videos and pictures", four(), {"works": [Work(kind=Kind.VIDEO), *3 * [Work(kind=Kind.GRID)]]}),
        (Refused, "fast time", four(), {"works": 4 * [Work(kind=Kind.GRID, images=240)]}),
        (Refused, "Relax", four(), {"lane": "relax"}),
    ):
        with pytest.raises(error, match=words):
            loop.submit_many(specs, account="ann", **options)  # type: ignore[arg-type]
        assert billing.accounts.ledger.snapshot() == snapshot, words
    submit, calls = loop.scheduler.submit, iter(range(4))

    def full(*arguments: Any) -> Any:
        return 1 / 0 if next(calls) == 2 else submit(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop.scheduler, "submit", full)
        with pytest.raises(ZeroDivisionError):
            loop.submit_many(four(), account="ann")
    assert not loop.scheduler.busy
    assert not billing.accounts.ledger.open_jobs()
    assert (left(loop, "ann"), loop.info("ann").held_ms) == (before, 0)
    assert [entry.job for entry in kept if entry.kind == "charge"] == []
    assert all(job.wait(TIMEOUT) for job in loop.submit_many(four(), account="ann"))


def test_a_submit_of_several_goes_on_after_a_restart_amid_it(new_loop: MakeLoop, kept: list[Any], solo: Solo) -> None:
    first = Accounts(load_plans())
    kept += first.open("ann", NOW, plan="basic")
    loop = new_loop(accounts=Billing(first, kept.extend, lambda: NOW))
    names = ["a", "b", "c", "d"]
    works = [replace(work_of(loop.model, one), submit="s") for one in four()]
    loop.hold()
    jobs = loop.submit_many(four(), submit="s", jobs=names, works=works, account="ann")
    for job in jobs[1:]:
        job.pause()
    loop.release()
    jobs[0].result(TIMEOUT)
    loop.close(leave_open=True)

    ledger = Ledger.replay(kept)
    assert ledger.open_jobs() == ("b", "c", "d")
    accounts = Accounts(load_plans(), ledger)
    accounts.open("ann", NOW, plan="basic")
    after = new_loop(accounts=Billing(accounts, kept.extend, lambda: NOW))
    after.hold()
    again = [
        after.submit(one, account="ann", job=job, work=work, restored=True)
        for one, job, work in zip(four(), names, works, strict=True)
    ]
    for _ in range(12):
        after.submit(spec(), account="ann")
    with pytest.raises(Refused, match="queue"):
        after.submit(spec(), account="ann")
    after.release()
    for job in again:
        np.testing.assert_array_equal(job.result(TIMEOUT), solo(job.spec))
    assert [job.charged_ms for job in again] == [0, *(cost(after, images=n) for n in (2, 3, 4))]
    charged = [entry.job for entry in kept if entry.kind == "charge" and entry.job in names]
    assert sorted(charged) == names
    after.close()
    assert Ledger.replay(kept).snapshot() == ledger.snapshot()


def test_no_accounts(new_loop: MakeLoop) -> None:
    with pytest.raises(UnknownAccount, match="no accounts"):
        new_loop().accounts(lambda accounts, now: ())
