"""The books: order of spending, holds, expiry, refusals that change nothing, replay, and any mixture of them."""

from __future__ import annotations

import tracemalloc
from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from salon.scheduler.entries import EntryKind, LedgerEntry, Source
from salon.scheduler.errors import ClockError, LedgerError, Refused
from salon.scheduler.ledger import Ledger

MIN = 60_000


class Books:
    """A ledger with all the entries that it made."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.entries: list[LedgerEntry] = []

    def __getattr__(self, name):
        def call(*args, **options):
            made = getattr(self.ledger, name)(*args, **options)
            self.entries += made
            return made

        return call

    def kinds(self) -> list[EntryKind]:
        return [entry.kind for entry in self.entries]


def funded(*grants: tuple[Source, int, int]) -> Books:
    books = Books()
    for source, amount, expires in grants:
        books.grant("a", amount, source, 0, expires)
    return books


def test_oldest_expiry_is_spent_first_whatever_came_first() -> None:
    books = funded((Source.BOUGHT, 100, 3000), (Source.MONTHLY, 100, 1000), (Source.BONUS, 100, 2000))
    books.reserve("a", {"j": 250}, 10)
    books.settle("j", 150, 20)
    left = {Source.MONTHLY: 0, Source.BONUS: 50, Source.BOUGHT: 100, Source.OPERATOR: 0}
    assert books.ledger.left("a", 20) == left
    charges = [(entry.grant, entry.amount_ms) for entry in books.entries if entry.kind is EntryKind.CHARGE]
    assert charges == [(2, -100), (3, -50)]


def test_a_job_is_held_then_charged_and_the_rest_comes_back() -> None:
    books = funded((Source.BOUGHT, 100, 1000))
    books.reserve("a", {"j": 60}, 1)
    assert (books.ledger.balance("a"), books.ledger.held("j"), books.ledger.book("a").held) == (40, 60, 60)
    books.settle("j", 45, 2, use_ms=50, relax_ms=7)
    book = books.ledger.book("a")
    assert (book.balance, book.held, book.lifetime_ms, book.lifetime_jobs, book.relax_ms) == (55, 0, 50, 1, 7)
    assert books.kinds() == [EntryKind.GRANT, EntryKind.HOLD, EntryKind.RELEASE, EntryKind.CHARGE, EntryKind.DONE]
    assert sum(entry.amount_ms for entry in books.entries) == 55


def test_failure_gives_everything_back() -> None:
    books = funded((Source.BOUGHT, 100, 1000))
    books.reserve("a", {"j": 60}, 1)
    books.release("j", 2)
    book = books.ledger.book("a")
    assert (book.balance, book.lifetime_ms, book.lifetime_jobs) == (100, 0, 0)


def test_a_held_part_outlives_its_grant_and_its_rest_expires_at_once() -> None:
    books = funded((Source.MONTHLY, 100, 1000))
    books.reserve("a", {"j": 60}, 999)
    books.expire(1000)
    assert (books.ledger.balance("a"), books.ledger.held("j")) == (0, 60)
    books.settle("j", 45, 5000)
    assert books.ledger.balance("a") == 0
    assert [entry.amount_ms for entry in books.entries if entry.kind is EntryKind.EXPIRE] == [-40, -15]
    assert books.ledger.book("a").grants == []


def test_a_grant_is_spendable_until_its_end_and_not_at_it() -> None:
    books = funded((Source.BONUS, 100, 1000))
    books.reserve("a", {"j": 1}, 999)
    assert books.ledger.left("a", 1000)[Source.BONUS] == 0
    with pytest.raises(Refused):
        books.reserve("a", {"k": 1}, 1000)


def test_monthly_time_does_not_roll_over_and_other_time_does() -> None:
    books = Books()
    books.renew("a", 100, 0, 1000)
    books.grant("a", 30, Source.BOUGHT, 5, 1500)
    books.reserve("a", {"j": 20}, 10)
    books.settle("j", 20, 11, relax_ms=9)
    books.renew("a", 100, 1000, 2000)
    assert books.ledger.left("a", 1000) == {
        Source.MONTHLY: 100, Source.BOUGHT: 30, Source.BONUS: 0, Source.OPERATOR: 0,
    }  # fmt: skip
    book = books.ledger.book("a")
    assert (book.relax_ms, book.lifetime_ms, book.period_end_ms, book.period_grant_ms) == (0, 20, 2000, 100)


def test_a_period_is_renewed_once() -> None:
    books = Books()
    books.renew("a", 100, 0, 1000)
    unchanged(books, LedgerError, lambda: books.renew("a", 100, 999, 2000))


def test_a_refusal_says_what_is_left_what_it_costs_and_what_to_do() -> None:
    books = funded((Source.BOUGHT, 2 * MIN, 1000))
    books.reserve("a", {"j": MIN + 6_000}, 1)
    with pytest.raises(Refused) as caught:
        books.reserve("a", {"k": MIN}, 1, remedy="have some tea")
    assert str(caught.value) == (
        "fast time: got a cost of 1 min, allowed 54 s left (1 min 6 s more is held for jobs in progress); have some tea"
    )


def test_several_jobs_are_reserved_or_none() -> None:
    books = funded((Source.BOUGHT, 100, 1000), (Source.BONUS, 100, 900))
    unchanged(books, Refused, lambda: books.reserve("a", {"j": 100, "k": 0, "l": 101}, 1))
    books.reserve("a", {"j": 100, "k": 0, "l": 100}, 1)
    assert [books.ledger.held(job) for job in "jkl"] == [100, 0, 100]


def test_of_a_job_that_ended_its_id_is_kept_and_nothing_else() -> None:
    """house.md 4.14: what grows for ever is what docs/operations.md says, at most 200 bytes a job."""
    ledger, count = Ledger(), 5_000
    ledger.grant("a", 10**9, Source.BOUGHT, 1, 10**9)

    def run(number: int) -> None:
        job = f"{number:024x}"  # as long as a server's
        ledger.reserve("a", {job: 5}, 2)
        ledger.settle(job, 3, 2)

    for number in range(count):
        run(number)
    tracemalloc.start()
    try:
        for number in range(count, 2 * count):
            run(number)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 200 * 2 * count  # the table of all of them may have been made anew meanwhile
    assert len(ledger.snapshot()[3]) == 1  # grants
    assert not ledger.open_jobs()


def unchanged(books: Books, error: type[Exception], call) -> None:
    before = books.ledger.snapshot()
    with pytest.raises(error, match="allowed"):
        call()
    assert books.ledger.snapshot() == before


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (LedgerError, lambda books: books.settle("done", 1, 5)),
        (LedgerError, lambda books: books.release("done", 5)),
        (LedgerError, lambda books: books.settle("nobody", 1, 5)),
        (LedgerError, lambda books: books.settle("open", 51, 5)),
        (LedgerError, lambda books: books.settle("open", -1, 5)),
        (LedgerError, lambda books: books.settle("open", 1.0, 5)),
        (LedgerError, lambda books: books.settle("open", 1, 5, relax_ms=-1)),
        (LedgerError, lambda books: books.reserve("a", {"done": 1}, 5)),
        (LedgerError, lambda books: books.reserve("a", {"open": 1}, 5)),
        (LedgerError, lambda books: books.reserve("b", {"open": 0}, 5)),
        (LedgerError, lambda books: books.reserve("a", {"new": -1}, 5)),
        (LedgerError, lambda books: books.reserve("a", {"new": True}, 5)),
        (LedgerError, lambda books: books.reserve("a", {"fine": 1, "": 1}, 5)),
        (LedgerError, lambda books: books.reserve("", {"new": 1}, 5)),
        (Refused, lambda books: books.reserve("b", {"new": 1}, 5)),
        (LedgerError, lambda books: books.grant("a", 0, Source.BONUS, 5, 1000)),
        (LedgerError, lambda books: books.grant("a", 10, Source.BONUS, 5, 5)),
        (LedgerError, lambda books: books.grant("a", 10, "theft", 5, 1000)),
        (ClockError, lambda books: books.grant("a", 10, Source.BONUS, 3, 1000)),
        (ClockError, lambda books: books.reserve("a", {"new": 1}, 3)),
        (ClockError, lambda books: books.settle("open", 1, 3)),
        (ClockError, lambda books: books.release("open", 5.5)),
        (ClockError, lambda books: books.expire(3)),
        (ClockError, lambda books: books.renew("a", 1, -1, 1000)),
    ],
)
def test_an_error_changes_nothing(error, call) -> None:
    books = funded((Source.BOUGHT, 100, 1000))
    books.reserve("a", {"open": 50, "done": 10}, 1)
    books.settle("done", 5, 4)
    unchanged(books, error, lambda: call(books))


def history() -> list[LedgerEntry]:
    books = funded((Source.BOUGHT, 100, 1000), (Source.MONTHLY, 100, 500))
    books.reserve("a", {"j": 150, "k": 0}, 1)
    books.settle("j", 120, 600)
    return books.entries


def test_replay_refuses_books_that_were_not_stored_whole() -> None:
    entries = history()
    whole = {entry.last for entry in entries} | {0}
    for count in range(len(entries) + 1):
        if count in whole:
            assert Ledger.replay(entries[:count]).last_seq == count
        else:
            with pytest.raises(LedgerError, match="stored whole"):
                Ledger.replay(entries[:count])
    for hole in range(len(entries) - 1):
        with pytest.raises(LedgerError):
            Ledger.replay(entries[:hole] + entries[hole + 1 :])


@pytest.mark.parametrize(
    "change",
    [
        {"amount_ms": -10**6}, {"amount_ms": 10**6}, {"account": "b"}, {"grant": 77}, {"kind": EntryKind.CHARGE},
        {"kind": "tip"}, {"at_ms": -1}, {"seq": 99}, {"job": "other"}, {"last": 0},
    ],
)  # fmt: skip
def test_replay_refuses_entries_that_were_changed(change) -> None:
    entries = history()
    place = next(i for i, entry in enumerate(entries) if entry.kind is EntryKind.RELEASE)
    entries[place] = entries[place]._replace(**change)
    with pytest.raises(LedgerError):
        Ledger.replay(entries)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (EntryKind.CHARGE, {"amount_ms": -60, "grant": 1}),  # there, but more than was held
        (EntryKind.CHARGE, {"amount_ms": 0}),
        (EntryKind.DONE, {"amount_ms": 5}),
        (EntryKind.DONE, {"job": "k", "account": "b"}),
        (EntryKind.HOLD, {"amount_ms": -5}),  # of no grant
        (EntryKind.GRANT, {"source": None}),
        (EntryKind.GRANT, {"grant": 5}),
    ],
)
def test_replay_refuses_other_changes(kind, change) -> None:
    entries = history()
    place = max(i for i, entry in enumerate(entries) if entry.kind is kind)
    entries[place] = entries[place]._replace(**change)
    with pytest.raises(LedgerError):
        Ledger.replay(entries)


def test_replay_refuses_to_take_from_another_account() -> None:
    books = funded((Source.BOUGHT, 100, 1000))
    books.expire(1000)
    books.entries[-1] = books.entries[-1]._replace(account="b")
    with pytest.raises(LedgerError):
        Ledger.replay(books.entries)


def test_a_reservation_writes_off_what_has_expired() -> None:
    books = funded((Source.BONUS, 100, 10), (Source.BOUGHT, 100, 1000))
    books.reserve("a", {"j": 30}, 10)
    assert books.ledger.balance("a") == 70


def test_replay_takes_what_a_store_gives_back() -> None:
    entries = history()
    plain = [tuple(str(value) if isinstance(value, str) else value for value in entry) for entry in entries]
    assert Ledger.replay(plain).snapshot() == Ledger.replay(entries).snapshot()  # type: ignore[arg-type]


AMOUNTS = st.integers(0, 300)


class Mixture(RuleBasedStateMachine):
    """Any order of operations on two accounts, against sums over all entries and a model of what may happen."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.now = self.jobs = 0
        self.open: dict[str, tuple[str, int]] = {}  # job -> account, price
        self.ended: list[str] = []
        self.cost: dict[str, int] = {}  # of ended jobs
        self.ends: dict[str, int] = {"a": 0, "b": 0}

    def pick(self, data) -> str:
        job: str = data.draw(st.sampled_from(sorted(self.open)))
        return job

    @rule(by=st.integers(0, 400))
    def wait(self, by) -> None:
        self.now += by

    @rule(account=st.sampled_from("ab"), amount=st.integers(1, 500), source=st.sampled_from(Source))
    def give(self, account, amount, source) -> None:
        self.books.grant(account, amount, source, self.now, self.now + 1 + amount * 3 % 700)

    @rule(account=st.sampled_from("ab"), amount=AMOUNTS)
    def renew(self, account, amount) -> None:
        if self.now < self.ends[account]:
            unchanged(self.books, LedgerError, lambda: self.books.renew(account, amount, self.now, self.now + 600))
            return
        self.ends[account] = self.now + 600
        self.books.renew(account, amount, self.now, self.now + 600)
        assert self.books.ledger.book(account).relax_ms == 0

    @rule(account=st.sampled_from("ab"), amounts=st.lists(AMOUNTS, min_size=1, max_size=3))
    def submit(self, account, amounts) -> None:
        jobs = {f"{self.jobs + i:04}": amount for i, amount in enumerate(amounts)}
        self.jobs += len(jobs)
        if sum(amounts) > sum(self.books.ledger.left(account, self.now).values()):
            unchanged(self.books, Refused, lambda: self.books.reserve(account, jobs, self.now))
        else:
            self.books.reserve(account, jobs, self.now)
            self.open |= {job: (account, amount) for job, amount in jobs.items()}

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.integers(0, 4))
    def finish(self, data, share) -> None:
        job = self.pick(data)
        price = self.open[job][1]
        unchanged(self.books, LedgerError, lambda: self.books.settle(job, price + 1, self.now))
        self.cost[job] = price * share // 4
        self.books.settle(job, self.cost[job], self.now, relax_ms=share)
        del self.open[job]
        self.ended.append(job)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def fail_or_cancel(self, data) -> None:
        job = self.pick(data)
        self.books.release(job, self.now)
        self.cost[job] = 0
        del self.open[job]
        self.ended.append(job)

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def end_again(self, data) -> None:
        job = data.draw(st.sampled_from(self.ended))
        unchanged(self.books, LedgerError, lambda: self.books.settle(job, 0, self.now))
        unchanged(self.books, LedgerError, lambda: self.books.release(job, self.now))

    @rule()
    def expire(self) -> None:
        self.books.expire(self.now)
        for account in "ab":
            book = self.books.ledger.book(account)
            assert book.balance == sum(self.books.ledger.left(account, self.now).values())

    @precondition(lambda self: self.books.entries)
    @rule()
    def go_back_in_time(self) -> None:
        last = self.books.entries[-1].at_ms
        if last:
            unchanged(self.books, ClockError, lambda: self.books.expire(last - 1))

    @rule()
    def crash(self) -> None:
        before = self.books.ledger.snapshot()
        self.books.ledger = Ledger.replay(self.books.entries)
        assert self.books.ledger.snapshot() == before

    @invariant()
    def the_sums_are_the_balances(self) -> None:
        accounts: dict[str, int] = defaultdict(int)
        grants: dict[int, int] = defaultdict(int)
        charged: dict[str, int] = defaultdict(int)
        closed: dict[str, int] = defaultdict(int)
        expires: dict[int, int] = {}
        for number, entry in enumerate(self.books.entries, 1):
            assert entry.seq == number
            accounts[entry.account] += entry.amount_ms
            assert accounts[entry.account] >= 0
            if entry.kind is EntryKind.GRANT:
                expires[entry.grant] = entry.expires_ms
            if entry.grant:
                grants[entry.grant] += entry.amount_ms
                assert grants[entry.grant] >= 0
            if entry.kind is EntryKind.HOLD and entry.grant:
                assert entry.at_ms < expires[entry.grant]
            if entry.kind is EntryKind.EXPIRE:
                assert entry.at_ms >= expires[entry.grant]
            charged[entry.job] -= entry.amount_ms if entry.kind is EntryKind.CHARGE else 0
            closed[entry.job] += entry.kind in (EntryKind.DONE, EntryKind.VOID)
        live = {grant.number: grant for name in "ab" for grant in self.books.ledger.book(name).grants}
        for grant, left in grants.items():
            assert left == (live[grant].available if grant in live else 0)
        for name in "ab":
            book = self.books.ledger.book(name)
            assert book.balance == accounts[name] == sum(grant.available for grant in book.grants)
            held = sum(price for account, price in self.open.values() if account == name)
            assert book.held == held == sum(grant.held for grant in book.grants)
        for job, cost in self.cost.items():
            assert charged[job] == cost
            assert closed[job] == 1
        for job, (_, price) in self.open.items():
            assert self.books.ledger.held(job) == price
            assert charged[job] == closed[job] == 0
        given = sum(entry.amount_ms for entry in self.books.entries if entry.kind is EntryKind.GRANT)
        gone = sum(entry.amount_ms for entry in self.books.entries if entry.kind is EntryKind.EXPIRE)
        held = sum(price for _, price in self.open.values())
        assert given + gone - sum(self.cost.values()) - held == sum(accounts.values())


TestMixture = Mixture.TestCase
TestMixture.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
