"""Admission: plans, queues, permutations, prices by lane, renewal, and what is left after a crash."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from salon.scheduler.accounts import Accounts
from salon.scheduler.admission import Admission, Work
from salon.scheduler.entries import EntryKind, LedgerEntry, Source
from salon.scheduler.errors import (
    ClockError,
    DuplicateJob,
    LedgerError,
    Refused,
    TicketError,
    UnknownAccount,
    UnknownJob,
    UnknownLane,
)
from salon.scheduler.ledger import Ledger
from salon.scheduler.plans import Kind, load_plans
from salon.scheduler.tickets import Ended, Lane

BOOK = load_plans()
MIN, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = round(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp() * 1000)
FEB = T0 + 28 * DAY  # the first renewal of an account that began at T0: 28 February
GRID, VARIATION, VIDEO = Work(kind=Kind.GRID), Work(kind=Kind.VARIATION), Work(kind=Kind.VIDEO)
TAKE_ONE = Work(kind=Kind.TAKE_ONE)


def house(plan: str | None = None) -> Accounts:
    accounts = Accounts(BOOK)
    accounts.open("a", T0, plan=plan)
    return accounts


def fill(accounts: Accounts, lane: Lane, count: int, work: Work = TAKE_ONE, prefix: str = "f") -> None:
    for i in range(count):
        accounts.admit("a", lane, work, T0, job=f"{prefix}{lane}{i}")


def unchanged(accounts: Accounts, error: type[Exception], words: str, call) -> None:
    now = accounts.ledger.now_ms
    before = accounts.ledger.snapshot(), accounts.info("a", now)
    with pytest.raises(error, match=words):
        call()
    assert (accounts.ledger.snapshot(), accounts.info("a", now)) == before


# ---- what the plan allows ----------------------------------------------------------------------------------------


def test_basic_has_no_relax_and_is_told_so_in_the_known_words() -> None:
    accounts = house("basic")
    words = "Relax queues are only available for users with a standard plan or higher"
    unchanged(accounts, Refused, words, lambda: accounts.admit("a", Lane.RELAX, GRID, T0, job="j"))


@pytest.mark.parametrize(("plan", "allowed"), [("standard", False), ("pro", True), ("mega", True), ("unlimited", True)])
def test_relax_video_and_stealth_are_for_pro_and_up(plan, allowed) -> None:
    accounts = house(plan)
    for lane, work in ((Lane.RELAX, VIDEO), (Lane.FAST, Work(kind=Kind.GRID, stealth=True))):
        if allowed:
            accounts.admit("a", lane, work, T0, job=work.kind)
        else:
            words = "only available for users with a pro plan or higher"
            unchanged(accounts, Refused, words, lambda: accounts.admit("a", lane, work, T0, job="j"))  # noqa: B023


@pytest.mark.parametrize(("plan", "lane", "running"), [
    ("basic", Lane.FAST, 3), ("standard", Lane.RELAX, 3), ("pro", Lane.FAST, 12), ("pro", Lane.TURBO, 12),
    ("mega", Lane.DRAFT, 12), ("pro", Lane.RELAX, 3),
])  # fmt: skip
def test_ten_may_queue_and_the_next_is_refused(plan, lane, running) -> None:
    accounts = house(plan)
    fill(accounts, lane, running + 10)
    words = f"10 queued, allowed {running} running and 10 queued on the {plan} plan; wait"
    unchanged(accounts, Refused, words, lambda: accounts.admit("a", lane, TAKE_ONE, T0, job="more"))
    accounts.settle(f"f{lane}0", Ended.CANCELLED, T0)
    assert accounts.admit("a", lane, TAKE_ONE, T0, job="more").max_running == running


def test_the_prompt_lanes_share_a_limit_and_all_lanes_a_queue() -> None:
    accounts = house("pro")
    fill(accounts, Lane.FAST, 6)
    fill(accounts, Lane.TURBO, 6)
    fill(accounts, Lane.DRAFT, 6)  # these queue
    fill(accounts, Lane.RELAX, 7)  # three may run, four queue
    for lane in Lane:
        with pytest.raises(Refused, match="queue: got one more job with 10 queued"):
            accounts.admit("a", lane, TAKE_ONE, T0, job="more")


@pytest.mark.parametrize(("plan", "fast", "relax"), [
    ("basic", 1, None), ("standard", 3, None), ("pro", 6, 3), ("mega", 12, 3),
])  # fmt: skip
def test_videos_have_a_limit_of_their_own(plan, fast, relax) -> None:
    accounts = house(plan)
    fill(accounts, Lane.FAST, BOOK.plan(plan).running_fast + 10)
    assert accounts.admit("a", Lane.FAST, VIDEO, T0, job="v").max_running == fast
    if relax:
        assert accounts.admit("a", Lane.RELAX, VIDEO, T0, job="r").max_running == relax


@pytest.mark.parametrize(("plan", "limit"), [("basic", 4), ("standard", 10), ("pro", 40), ("mega", 40)])
def test_permutations_up_to_the_plans_limit(plan, limit) -> None:
    accounts = house(plan)
    names = [f"c{i}" for i in range(limit + 1)]
    words = f"{limit + 1} jobs in one submit, allowed {limit} on the {plan} plan; nothing was made"
    unchanged(accounts, Refused, words, lambda: accounts.admit("a", Lane.FAST, GRID, T0, job="p", children=names))
    admission = accounts.admit("a", Lane.FAST, GRID, T0, job="p", children=names[:limit])
    assert admission.jobs == tuple(names[:limit])
    assert admission.reserved_ms == limit * MIN


def test_no_permutations_in_relax() -> None:
    accounts = house("mega")
    words = "you can not submit batch jobs in relax mode"
    unchanged(accounts, Refused, words, lambda: accounts.admit("a", Lane.RELAX, GRID, T0, job="p", children=["c", "d"]))
    house().admit("a", Lane.RELAX, GRID, T0, job="p", children=["c", "d"])


def test_a_permutation_takes_one_place_until_its_last_child_ended() -> None:
    accounts = house("standard")
    accounts.admit("a", Lane.FAST, GRID, T0, job="p", children=[f"c{i}" for i in range(10)])
    fill(accounts, Lane.FAST, 12)
    for i in range(10):
        with pytest.raises(Refused, match="queue"):
            accounts.admit("a", Lane.FAST, TAKE_ONE, T0, job="more")
        assert accounts.settle(f"c{i}", Ended.DONE, T0).charged_ms == MIN
    accounts.admit("a", Lane.FAST, TAKE_ONE, T0, job="more")


def test_a_permutation_that_cannot_be_paid_makes_nothing() -> None:
    accounts = house("basic")
    huge = Work(kind=Kind.VIDEO, quality=4, omni=True)  # 64 min each
    words = "a cost of 4 h 16 min, allowed 3 h 20 min left; buy more hours or wait for the renewal on 2026-02-28 12:00"
    unchanged(
        accounts, Refused, words, lambda: accounts.admit("a", Lane.FAST, huge, T0, job="p", children=list("wxyz"))
    )


def test_the_jobs_of_a_submit_may_differ_and_are_all_taken_or_none() -> None:
    accounts = house("standard")
    works = {"one": GRID, "two": VARIATION, "three": Work(kind=Kind.GRID, images=8)}
    admission = accounts.admit_many("a", Lane.TURBO, works, T0, submit="s")
    assert admission.prices == {"one": 2 * MIN, "two": 108_000, "three": 4 * MIN}
    assert accounts.info("a", T0).held_ms == admission.reserved_ms == 468_000
    assert len(accounts._accounts["a"].places) == 1
    assert accounts.settle("two", Ended.DONE, T0, lane=Lane.FAST).charged_ms == 54_000
    assert accounts.settle("one", Ended.FAILED, T0).charged_ms == 0
    assert accounts.settle("three", Ended.DONE, T0).charged_ms == 4 * MIN
    assert not accounts._accounts["a"].places
    hours, mixed = Work(kind=Kind.GRID, images=480), {"p": GRID, "q": VIDEO}
    for words, error, several in (
        ("videos and pictures", TicketError, mixed),
        ("none, allowed at least one", TicketError, {}),
        ("a cost of 16 h 1 min", Refused, {"p": GRID} | {f"h{i}": hours for i in range(8)}),
        ("--quality", TicketError, {"p": GRID, "q": Work(kind=Kind.GRID, quality=3)}),
        ("pro plan or higher", Refused, {"p": GRID, "q": Work(kind=Kind.GRID, stealth=True)}),
        ("an id that was never used", DuplicateJob, {"p": GRID, "one": GRID}),
        ("an id of its own", DuplicateJob, {"t": GRID, "q": GRID}),
    ):
        unchanged(accounts, error, words, partial(accounts.admit_many, "a", Lane.FAST, several, T0, submit="t"))


def test_jobs_of_one_submit_share_its_place_after_a_restart() -> None:
    accounts = house("standard")
    names = [f"c{i}" for i in range(10)]
    works = dict.fromkeys(names, Work(kind=Kind.GRID, submit="s"))
    accounts.admit_many("a", Lane.TURBO, works, T0, submit="s")
    accounts.settle("c0", Ended.DONE, T0)
    again = Accounts(BOOK, accounts.ledger)
    again.open("a", T0, plan="standard")
    for job, work in works.items():  # some were moved, and are charged as Fast
        lane = Lane.FAST if job in ("c1", "c2") else Lane.TURBO
        assert again.restore("a", lane, work, job=job) == (() if job == "c0" else (job,))
    assert len(again._accounts["a"].places) == 1
    fill(again, Lane.FAST, 12)
    with pytest.raises(Refused, match="queue"):
        again.admit("a", Lane.FAST, TAKE_ONE, T0, job="more")
    with pytest.raises(DuplicateJob):
        again.restore("a", Lane.FAST, works["c1"], job="c1")
    assert again.settle("c1", Ended.DONE, T0).charged_ms == MIN
    for job in names[2:]:
        again.settle(job, Ended.DONE, T0)
    again.admit("a", Lane.FAST, TAKE_ONE, T0, job="more")
    assert [place.submit for place in again._accounts["a"].places].count("s") == 0


# ---- what it costs -----------------------------------------------------------------------------------------------


def left(accounts: Accounts, now: int = T0) -> int:
    fast = accounts.info("a", now).fast_ms
    assert fast is not None
    return sum(fast.values())


@pytest.mark.parametrize(
    ("asked", "served", "cost"),
    [
        (Lane.FAST, None, 54_000), (Lane.TURBO, None, 108_000), (Lane.TURBO, Lane.FAST, 54_000),
        (Lane.DRAFT, Lane.DRAFT, 27_000), (Lane.RELAX, None, 0),
    ],
)  # fmt: skip
def test_the_lane_that_it_was_served_in_is_charged(asked, served, cost) -> None:
    accounts = house("standard")
    reserved = accounts.admit("a", asked, VARIATION, T0, job="j").reserved_ms
    assert left(accounts) == 15 * HOUR - reserved
    settlement = accounts.settle("j", Ended.DONE, T0 + 1, lane=served)
    assert settlement.charged_ms == cost <= reserved
    assert left(accounts, T0 + 1) == 15 * HOUR - cost


@pytest.mark.parametrize("ended", [Ended.FAILED, Ended.CANCELLED])
def test_what_is_not_finished_is_free(ended) -> None:
    accounts = house("standard")
    accounts.admit("a", Lane.FAST, GRID, T0, job="j")
    assert accounts.settle("j", ended, T0).charged_ms == 0
    assert left(accounts) == 15 * HOUR
    assert accounts.info("a", T0).lifetime_jobs == 0


def test_a_lane_that_costs_more_than_was_asked_for_is_not_charged() -> None:
    accounts = house("standard")
    accounts.admit("a", Lane.FAST, GRID, T0, job="j")
    for lane in (Lane.TURBO, Lane.RELAX, Lane.DRAFT):
        unchanged(accounts, UnknownLane, "fast for this job", lambda: accounts.settle("j", Ended.DONE, T0, lane=lane))  # noqa: B023


def test_relax_use_is_counted_by_period() -> None:
    accounts = house("standard")
    for job, ended, relax_ms in (
        ("j", Ended.DONE, None),
        ("k", Ended.DONE, 7),
        ("l", Ended.FAILED, 5),
        ("o", Ended.FAILED, None),
    ):
        accounts.admit("a", Lane.RELAX, GRID, T0, job=job)
        accounts.settle(job, ended, T0, relax_ms=relax_ms)
    accounts.admit("a", Lane.FAST, GRID, T0, job="m")
    accounts.settle("m", Ended.DONE, T0)
    assert accounts.info("a", T0).relax_ms == MIN + 7 + 5
    assert accounts.info("a", FEB).relax_ms == 0
    accounts.admit("a", Lane.RELAX, GRID, FEB - 1, job="n")
    accounts.settle("n", Ended.DONE, FEB)
    info = accounts.info("a", FEB)
    assert info.relax_ms == MIN  # of the new period
    assert (info.lifetime_ms, info.lifetime_jobs) == (4 * MIN, 4)


def test_without_plans_nothing_is_metered_but_counted() -> None:
    accounts = house()
    for i in range(60):
        accounts.admit("a", Lane.TURBO, VIDEO, T0, job=f"{i}")
        assert accounts.settle(f"{i}", Ended.DONE, T0).charged_ms == 0
    info = accounts.info("a", T0)
    assert (info.plan, info.fast_ms, info.lifetime_ms) == ("unlimited", None, 60 * 16 * MIN)
    assert accounts.ledger.balance("a") == 0


def test_no_time_left_names_the_ways_out() -> None:
    accounts = house("standard")
    for i in range(15):
        work = Work(kind=Kind.GRID, images=240)  # an hour each
        accounts.admit("a", Lane.FAST, work, T0, job=f"{i}")
        accounts.settle(f"{i}", Ended.DONE, T0)
    words = "a cost of 2 min, allowed 0 min left; .*renewal on 2026-02-28 12:00 UTC, use the relax lane or use the fast"
    unchanged(accounts, Refused, words, lambda: accounts.admit("a", Lane.TURBO, GRID, T0, job="j"))
    accounts.admit("a", Lane.RELAX, GRID, T0, job="j")
    accounts.admit("a", Lane.TURBO, GRID, FEB, job="k")  # the renewal comes with it


# ---- time --------------------------------------------------------------------------------------------------------


def test_renewal_bought_and_bonus_time() -> None:
    accounts = house("basic")
    accounts.buy("a", 10 * HOUR, T0)
    accounts.award("a", T0)
    accounts.credit("a", 5 * MIN, T0, T0 + DAY)
    assert accounts.info("a", T0).fast_ms == {
        Source.MONTHLY: 200 * MIN, Source.BOUGHT: 10 * HOUR, Source.BONUS: HOUR, Source.OPERATOR: 5 * MIN,
    }  # fmt: skip
    accounts.admit("a", Lane.FAST, VIDEO, T0, job="j")
    accounts.settle("j", Ended.DONE, T0)  # 8 min: 5 of the operator's, 3 of the month's
    kept = {FEB - 1: (197, 600, 60), FEB: (200, 600, 60), T0 + 30 * DAY: (200, 600, 0), T0 + 60 * DAY: (200, 0, 0)}
    for now, (monthly, bought, bonus) in kept.items():
        expected = {Source.MONTHLY: monthly, Source.BOUGHT: bought, Source.BONUS: bonus, Source.OPERATOR: 0}
        for _ in range(2):  # before and after the entries are made
            assert accounts.info("a", now).fast_ms == {source: n * MIN for source, n in expected.items()}
            accounts.renew(now)
        assert accounts.ledger.balance("a") == (monthly + bought + bonus) * MIN
    assert accounts.renew(T0 + 60 * DAY) == ()
    assert accounts.info("a", T0 + 60 * DAY).renewal_ms == T0 + (28 + 31 + 30) * DAY


def test_an_upgrade_pays_the_difference_once_and_a_downgrade_takes_nothing() -> None:
    accounts = house("basic")
    for plan in ("standard", "basic", "standard", "mega", "basic", "mega"):
        accounts.change_plan("a", plan, T0)
    assert left(accounts) == 60 * HOUR
    accounts.change_plan("a", "basic", T0)
    assert left(accounts) == 60 * HOUR
    with pytest.raises(Refused, match="standard plan or higher"):
        accounts.admit("a", Lane.RELAX, GRID, T0, job="j")
    accounts.renew(FEB)
    assert left(accounts, FEB) == 200 * MIN


# ---- names and numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (UnknownAccount, lambda a: a.admit("b", Lane.FAST, GRID, T0, job="j")),
        (UnknownAccount, lambda a: a.info(["a"], T0)),
        (UnknownLane, lambda a: a.admit("a", "warp", GRID, T0, job="j")),
        (DuplicateJob, lambda a: a.admit("a", Lane.FAST, GRID, T0, job="open")),
        (DuplicateJob, lambda a: a.admit("a", Lane.FAST, GRID, T0, job="done")),
        (DuplicateJob, lambda a: a.admit("a", Lane.FAST, GRID, T0, job="j", children=["k", "k"])),
        (DuplicateJob, lambda a: a.admit("a", Lane.FAST, GRID, T0, job="j", children=["j"])),
        (DuplicateJob, lambda a: a.admit("a", Lane.FAST, GRID, T0, job="j", children=["open"])),
        (DuplicateJob, lambda a: a.admit("a", Lane.FAST, GRID, T0, job="parent")),
        (TicketError, lambda a: a.admit("a", Lane.FAST, GRID, T0, job="")),
        (TicketError, lambda a: a.admit("a", Lane.FAST, Work(kind=Kind.GRID, quality=3), T0, job="j")),
        (TicketError, lambda a: a.admit("a", Lane.FAST, Work(kind=Kind.GRID, images=0), T0, job="j")),
        (TicketError, lambda a: Work(kind="poem")),  # type: ignore[arg-type]
        (TicketError, lambda a: Work(kind=Kind.GRID, omni=1)),  # type: ignore[arg-type]
        (TicketError, lambda a: a.settle("open", Ended.DONE, T0, relax_ms=-1)),
        (TicketError, lambda a: a.settle("open", "gone", T0)),
        (TicketError, lambda a: a.settle("open", "done", T0)),
        (UnknownJob, lambda a: a.settle("done", Ended.DONE, T0)),
        (UnknownJob, lambda a: a.settle("nobody", Ended.DONE, T0)),
        (UnknownJob, lambda a: a.settle("parent", Ended.DONE, T0)),
        (UnknownJob, lambda a: a.started("done")),
        (UnknownLane, lambda a: a.settle("open", Ended.DONE, T0, lane="warp")),
        (Refused, lambda a: a.open("a", T0)),
        (Refused, lambda a: a.open("b", T0, plan="gold")),
        (Refused, lambda a: a.change_plan("a", "gold", FEB)),
        (LedgerError, lambda a: a.buy("a", 0, T0)),
        (ClockError, lambda a: a.admit("a", Lane.FAST, GRID, T0 - 1, job="j")),
        (ClockError, lambda a: a.settle("open", Ended.DONE, T0 - 1)),
        (ClockError, lambda a: a.open("b", T0, anchor_ms=T0 + 1)),
        (ClockError, lambda a: a.renew(T0 - 1)),
    ],
)
@pytest.mark.parametrize("plan", ["standard", "unlimited"])
def test_an_error_changes_nothing(plan, error, call) -> None:
    accounts = house(plan)
    accounts.admit("a", Lane.RELAX, GRID, T0, job="open")
    accounts.admit("a", Lane.FAST, GRID, T0, job="done")
    accounts.admit("a", Lane.FAST, GRID, T0, job="parent", children=["c", "d"])
    accounts.settle("done", Ended.DONE, T0)
    unchanged(accounts, error, "allowed", lambda: call(accounts))


def test_a_quote_is_the_admission_and_makes_nothing() -> None:
    accounts = house("pro")
    before = accounts.ledger.snapshot()
    quote = accounts.quote("a", Lane.TURBO, GRID, T0, job="p", children=["c", "d"])
    assert accounts.ledger.snapshot() == before
    admission = accounts.admit("a", Lane.TURBO, GRID, T0, job="p", children=["c", "d"])
    assert quote == Admission("a", Lane.TURBO, 12, {"c": 2 * MIN, "d": 2 * MIN})
    assert quote == Admission(*[getattr(admission, name) for name in Admission.__slots__][:-1])
    assert [entry.kind for entry in admission.entries] == [EntryKind.HOLD, EntryKind.HOLD]


def test_info_lists_running_and_queued_jobs() -> None:
    accounts = house("pro")
    accounts.admit("a", Lane.FAST, GRID, T0, job="p", children=["c", "d"])
    accounts.admit("a", Lane.FAST, GRID, T0, job="j")
    accounts.started("d")
    accounts.started("j")
    info = accounts.info("a", T0)
    assert (info.running, info.queued, info.held_ms, info.renewal_ms) == (("d", "j"), ("c",), 3 * MIN, FEB)
    accounts.settle("d", Ended.DONE, T0)
    assert accounts.info("a", T0).running == ("j",)
    for job in ("c", "j"):
        accounts.settle(job, Ended.FAILED, T0)
    state = accounts._accounts["a"]
    assert not [*accounts._places, *state.places, *state.started]  # nothing is kept of what has ended


# ---- any order of everything --------------------------------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """Two accounts over months: submits, ends, renewals, purchases, crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.jobs = T0, 0
        self.entries: list[LedgerEntry] = []
        self.accounts = Accounts(BOOK)
        self.plans = {"a": "basic", "b": "standard"}
        self.open: dict[str, tuple[str, Lane, int, tuple[str, Lane, Work, tuple[str, ...]]]] = {}
        for account, plan in self.plans.items():
            self.entries += self.accounts.open(account, self.now, plan=plan)

    @rule(days=st.sampled_from([0, 1, 5, 29, 31, 61]))
    def wait(self, days) -> None:
        self.now += days * DAY

    @rule()
    def renew(self) -> None:
        self.entries += self.accounts.renew(self.now)

    @rule(account=st.sampled_from("ab"))
    def buy(self, account) -> None:
        self.entries += self.accounts.buy(account, HOUR, self.now)

    @rule(
        account=st.sampled_from("ab"),
        lane=st.sampled_from(Lane),
        kind=st.sampled_from(Kind),
        images=st.sampled_from([None, 4, 150]),
        count=st.integers(0, 5),
    )
    def submit(self, account, lane, kind, images, count) -> None:
        self.jobs += 1
        job, work = f"{self.jobs}", Work(kind=kind, images=images)
        children = tuple(f"{job}.{i}" for i in range(count))
        before = self.accounts.ledger.snapshot()
        try:
            quote: Admission | None = self.accounts.quote(account, lane, work, self.now, job=job, children=children)
        except Refused:
            quote = None
        assert self.accounts.ledger.snapshot() == before
        if quote is None:
            with pytest.raises(Refused):
                self.accounts.admit(account, lane, work, self.now, job=job, children=children)
            assert self.accounts.ledger.snapshot() == before
            return
        admission = self.accounts.admit(account, lane, work, self.now, job=job, children=children)
        assert admission.jobs == quote.jobs
        self.entries += admission.entries
        for name in admission.jobs:
            self.open[name] = (account, lane, quote.prices[name], (job, lane, work, children))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), ended=st.sampled_from(Ended), falls_back=st.booleans())
    def end(self, data, ended, falls_back) -> None:
        job = data.draw(st.sampled_from(sorted(self.open)))
        account, lane, price, _ = self.open.pop(job)
        served = Lane.FAST if falls_back and lane is Lane.TURBO else lane
        settlement = self.accounts.settle(job, ended, self.now, lane=served)
        self.entries += settlement.entries
        assert settlement.account == account
        expected = price if ended is Ended.DONE else 0
        assert settlement.charged_ms == (expected // 2 if served is not lane else expected)
        with pytest.raises(UnknownJob):
            self.accounts.settle(job, Ended.DONE, self.now)

    @rule()
    def crash(self) -> None:
        before = {account: self.accounts.info(account, self.now) for account in "ab"}
        self.accounts = Accounts(BOOK, Ledger.replay(self.entries))
        for account, plan in self.plans.items():
            self.entries += self.accounts.open(account, self.now, plan=plan, anchor_ms=T0)
        back: list[str] = []
        for account, _, _, (job, lane, work, children) in dict.fromkeys(self.open.values()):
            back += self.accounts.restore(account, lane, work, job=job, children=children)
        assert sorted(back) == sorted(self.open)
        for account in "ab":
            after = self.accounts.info(account, self.now)
            assert sorted(after.queued) == sorted(before[account].queued + before[account].running)
            assert (after.fast_ms, after.held_ms) == (before[account].fast_ms, before[account].held_ms)
            assert (after.relax_ms, after.lifetime_ms) == (before[account].relax_ms, before[account].lifetime_ms)

    @invariant()
    def the_books_are_right(self) -> None:
        for account in "ab":
            sums = sum(entry.amount_ms for entry in self.entries if entry.account == account)
            held = sum(price for name, _, price, _ in self.open.values() if name == account)
            info = self.accounts.info(account, self.now)
            assert self.accounts.ledger.balance(account) == sums >= 0
            assert info.held_ms == held
            assert set(info.queued) == {job for job, (name, *_) in self.open.items() if name == account}
            assert info.fast_ms is not None
            monthly = BOOK.plan(self.plans[account]).monthly_ms
            assert 0 <= info.fast_ms[Source.MONTHLY] <= (monthly or 0)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
