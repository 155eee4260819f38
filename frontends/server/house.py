"""What a server stands on: store, books, workers; opened in the order in which they need each other."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ...bounds import LOCAL
from ...errors import SalonError, complaint
from ...scheduler.accounts import Accounts
from ...scheduler.entries import Entry, EntryKind
from ...scheduler.ledger import Ledger
from ...scheduler.plans import load_plans
from ...studio.desk import Desk, utc_ms
from ...studio.store.folder_blobs import FolderBlobs
from ...studio.store.rows import AccountRow, JobRow
from ...studio.store.store import Store
from ...studio.store.writer import Writer
from ...studio.store.writes import AddEntries, PutAccount, SetMeta, Write
from ...studio.studio import Studio
from .failures import RequestRefused
from .options import ServeOptions

LOG = logging.getLogger("salon.server")
REPAID: Final = "repaid"  # in meta, with the job
Act = Callable[[Accounts, int], tuple[Entry, ...]]


class House:
    """Store, books and workers. Opening may take as long as loading the model.

    Args:
        options: see there.

    Attributes:
        life: which start of this store it is, from 1.
        accounts: every account's row.
        charged: ms of jobs that were charged before a restart, and not repaid, but whose end did not get on disk.

    Raises:
        StoreError: the store cannot be opened (locked by another server, broken, newer).
        PlanFileError, LedgerError: plans or stored entries do not make sense.
        CheckpointError, WorkerLost: as `Studio`.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        self._entries: deque[Entry] = deque()  # made, not stored yet
        self._marks: deque[SetMeta] = deque()  # of grants, with their entries in one transaction
        self._mark: SetMeta | None = None
        self._taken = (0, 0)
        self._lock, self._clock = threading.Lock(), threading.Lock()
        self._latest = 0
        book = load_plans(options.plans)
        self._open_plan = book.plan(options.open_plan).name if options.open_plan else next(iter(book.plans))
        self.store = Store.open(options.database, Path(options.data))
        try:
            self.life = self.store.begin_life()
            self.blobs = FolderBlobs(Path(options.data) / "pictures")
            self.charged: dict[str, int] = {}
            self.ledger = Ledger.replay(self._stored_entries())
            for job in [job for job in self.charged if self.store.meta(f"{REPAID}.{job}") is not None]:
                del self.charged[job]
            self.books = Accounts(book, self.ledger)
            self.writer = Writer(self.store, before=self._before, after=self._after)
        except BaseException:
            self.store.close()
            raise
        try:
            self.desk = Desk(self.books, self._keep, self.now_ms, takes_back=True)
            self._studio: Studio | None = None
            self.accounts: dict[str, AccountRow] = {}
            self._open_accounts()
            self._studio = Studio(
                options.model,
                workers=options.workers,
                process=options.process,
                backend=options.backend,
                isa=options.isa,
                dtype=options.dtype,  # type: ignore[arg-type]  # checked by the engine
                threads=options.threads,
                accounts=self.desk,
            )
            self.studio.loop.hold()
            self._restore_relax_use()
        except BaseException:
            self.writer.close(5)
            self.store.close()
            raise

    @property
    def studio(self) -> Studio:
        """The workers."""
        assert self._studio is not None
        return self._studio

    @property
    def over(self) -> bool:
        """Whether the workers have ended, by themselves or with the house: no job ends any more, and none can begin."""
        return self.desk.closed

    def now_ms(self) -> int:
        """UTC ms; never before anything that was dated before, in this start or another, even if the clock was put
        back meanwhile."""
        with self._clock:
            self._latest = max(self._latest, utc_ms(), self.ledger.now_ms)
            return self._latest

    def close(self, timeout_s: float = 10.0) -> None:
        """End workers, write what waits. Open jobs go on at the next start."""
        self.studio.loop.close(timeout_s, leave_open=True)
        self.writer.close(timeout_s)
        self.store.close()

    # ---- accounts --------------------------------------------------------------------------------------------------

    def admits(self, account: str) -> bool:
        """Whether an account may connect. From any thread."""
        row = self.accounts.get(account)
        return self._has_room() if row is None else not row.blocked

    def account(self, account: str) -> AccountRow:
        """Its row; with `open`, one is made while there are not too many. RequestRefused: an unknown or blocked one."""
        row = self.accounts.get(account)
        if row is None and self._has_room():
            row = self.new_account(AccountRow(account=account, plan=self._open_plan))
        if row is None or row.blocked:
            text = complaint("account", account, "one that the operator has opened", "ask the operator for it")
            raise RequestRefused("forbidden", text, kind="UnknownAccount")
        return row

    def new_account(self, row: AccountRow) -> AccountRow:
        """Open an account. Refused: a plan that does not exist."""
        now = self.now_ms()
        row = msgspec.structs.replace(
            row, plan=row.plan or self.books.book.default_plan, anchor_ms=row.anchor_ms or now, made_ms=now
        )
        self._open_books(row)
        self.put_account(row)
        return row

    def _has_room(self) -> bool:
        """Whether a stranger gets an account: each is kept for good, and has time of its own."""
        return self.options.open and len(self.accounts) < self.options.open_accounts

    def release(self, job: str) -> None:
        """Give back what was set aside for a job that does not exist."""
        self.studio.loop.accounts(lambda books, now: books.ledger.release(job, now, relax_ms=0))

    def grant(self, mark: SetMeta, give: Act) -> None:
        """Make the entries of a grant, and a mark that is stored exactly if they are: with the next transaction."""

        def act(books: Accounts, now: int) -> tuple[Entry, ...]:
            entries = give(books, now)
            self._mark = mark  # `_keep` is called next, under the same lock of the loop's
            return entries

        self.studio.loop.accounts(act)

    def repay(self, row: JobRow, amount_ms: int) -> None:
        """Give back what a job cost that was charged and has nothing to show: time that lasts as long as bought time.
        Once for each job, also if its end is stored in another start only."""
        self.charged.pop(row.job, None)

        def give(books: Accounts, now: int) -> tuple[Entry, ...]:
            return books.credit(row.account, amount_ms, now, now + books.book.bought_lifetime_ms)

        try:
            self.grant(SetMeta(f"{REPAID}.{row.job}", str(amount_ms)), give)
        except SalonError:
            LOG.exception("job %s was charged, has failed, and could not be repaid", row.job)
        else:
            LOG.warning("a charged job failed and was repaid", extra={"job": row.job, "ms": amount_ms})

    def put_account(self, row: AccountRow) -> None:
        """New values of an account's row; stored soon."""
        self.accounts[row.account] = row
        self.writer.put([PutAccount(row)], self._logged)

    def quota(self, row: AccountRow) -> int:
        """Bytes of pictures that it may store; 0: no limit."""
        return row.quota_bytes or self.options.quota_bytes

    def _stored_entries(self) -> Iterator[Entry]:
        """All entries; those that charge for open jobs are remembered on the way."""
        open_jobs = {row.job for row in self.store.open_jobs()}
        for entry in self.store.all_entries():
            if entry.kind is EntryKind.CHARGE and entry.job in open_jobs:
                self.charged[entry.job] = self.charged.get(entry.job, 0) - entry.amount_ms
            yield entry

    def _open_accounts(self) -> None:
        after = ""
        while page := self.store.accounts(after, 500):
            for row in page:
                self.accounts[row.account] = row
                self._latest = max(self._latest, row.anchor_ms)
            after = page[-1].account
        if (ahead_s := (self.now_ms() - utc_ms()) // 1000) > 60:
            LOG.warning("the clock was put back; time stands still until it is there again", extra={"ahead_s": ahead_s})
        for row in self.accounts.values():
            self._open_books(row)
        for account in dict.fromkeys((LOCAL, *self.options.operators)):
            row = self.accounts.get(account) or self.new_account(AccountRow(account=account, role="operator"))
            if row.role != "operator" or row.blocked:  # whoever has the folder in hand gets back in like this
                LOG.warning("an operator again, since the server was started so", extra={"account": account})
                self.put_account(msgspec.structs.replace(row, role="operator", blocked=False))

    def _open_books(self, row: AccountRow) -> None:
        do = self.desk.do if self._studio is None else self.studio.loop.accounts  # alone, or under the loop's lock
        do(lambda books, at: books.open(row.account, at, plan=row.plan, anchor_ms=row.anchor_ms))

    # ---- what has to be stored beside jobs -------------------------------------------------------------------------

    def relax_use(self, account: str) -> list[Write]:
        """Its Relax use in this billing period, which orders Relax, to be remembered over a restart."""
        end = self.ledger.book(account).period_end_ms
        ms = self.studio.loop.scheduler.service(account, relax=True)
        return [SetMeta(f"relax.{account}", f"{end}:{ms:.3f}")]

    def _restore_relax_use(self) -> None:
        for account in self.accounts:
            end, _, ms = (self.store.meta(f"relax.{account}") or "").partition(":")
            if ms and int(end) == self.ledger.book(account).period_end_ms:
                self.studio.loop.scheduler.set_relax_use(account, float(ms))

    def _keep(self, entries: Sequence[Entry]) -> None:
        with self._lock:
            self._entries.extend(entries)
            if self._mark is not None:
                self._marks.append(self._mark)
                self._mark = None

    def _before(self) -> list[Write]:
        """Called by the writer: what the books have made meanwhile rides in the same transaction."""
        with self._lock:
            entries, marks = tuple(self._entries), tuple(self._marks)
        self._taken = len(entries), len(marks)
        return [*([AddEntries(entries)] if entries else []), *marks]

    def _after(self, ok: bool) -> None:
        if ok:
            with self._lock:
                entries, marks = self._taken
                for _ in range(entries):
                    self._entries.popleft()
                for _ in range(marks):
                    self._marks.popleft()

    def _logged(self, error: Any) -> None:
        if error is not None:
            LOG.error("could not be stored: %s", error)
