"""Open what a service needs: store, ledger, accounts and workers, in the order in which they need each other."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from ...bounds import POLICY_DOWN
from ...errors import SalonError, complaint
from ...scheduler.accounts import Accounts
from ...scheduler.entries import EntryKind, LedgerEntry
from ...scheduler.ledger import Ledger
from ...scheduler.plans import load_plans
from ..chat.model import ModelRewriter
from ..errors import PolicyError
from ..moderation.opening import open_policies
from ..scheduling.billing import Billing, utc_ms
from ..store.folder_blobs import FolderBlobs
from ..store.rows import JobRow
from ..store.store import Store
from ..store.writer import Writer
from ..store.writes import SetMeta, Write
from ..studio import Studio
from .accounts import AccountRegister, Act
from .options import ServiceOptions
from .outbox import Outbox

LOG = logging.getLogger("salon.service")
CHAT_KEY: Final = "SALON_CHAT_KEY"  # environment variable: what the language model's API is told to know us by
REPAID: Final = "repaid"  # in meta, with the job
OpenStudio = Callable[[ServiceOptions, Billing], Studio]


def open_studio(options: ServiceOptions, billing: Billing) -> Studio:
    """Start the workers that the options describe."""
    return Studio(
        options.model,
        text_encoder=options.text_encoder,
        vae=options.vae,
        ip_adapter=options.ip_adapter,
        image_encoder=options.image_encoder,
        workers=options.workers,
        process=options.process,
        backend=options.backend,
        isa=options.isa,
        dtype=options.dtype,  # type: ignore[arg-type]  # checked by the engine
        threads=options.threads,
        device=options.device,
        unload_after=options.unload_after,
        accounts=billing,
    )


class ServiceContext:
    """Store, ledger, accounts and workers of a service. Opening may take as long as loading the model.

    Args:
        options: the options of the service.
        studio: starts the workers; tests give another function than `open_studio`.

    Attributes:
        life: number of this start of the store, from 1.
        studio: the workers; on hold until its loop is released.
        blobs: the pictures of jobs.
        references: the pictures that requests refer to.
        accounts: every account's row.
        books: plans of the accounts.
        ledger: time of the accounts.
        policies: what is asked about requests and pictures.
        rewriter: the language model of conversations; None: there is none.
        charged: ms of jobs that were charged before a restart and not repaid, and whose end is not on disk.

    Raises:
        StoreError: the store cannot be opened (locked by another process, broken, newer).
        PolicyError: a policy cannot be opened.
        EndpointError: the address of the language model cannot be read.
        PlanFileError, LedgerError: plans or stored entries do not make sense.
        CheckpointError, WorkerLost: as `Studio`.
    """

    def __init__(self, options: ServiceOptions, studio: OpenStudio = open_studio) -> None:
        self.options = options
        self._clock = threading.Lock()
        self._latest = 0
        self._outbox = Outbox()
        self._studio: Studio | None = None
        book = load_plans(options.plans)
        plan = book.plan(options.open_plan).name if options.open_plan else next(iter(book.plans))
        self.policies = open_policies(options.policy, stages=options.policy_stages, timeout_s=options.policy_timeout_s)
        if options.policy_down not in POLICY_DOWN:
            raise PolicyError(
                complaint("policy_down", repr(options.policy_down), " or ".join(POLICY_DOWN), "choose one")
            )
        self.rewriter: ModelRewriter | None = None
        if options.chat_endpoint is not None:
            key, timeout_s = os.environ.get(CHAT_KEY, ""), options.chat_timeout_s
            self.rewriter = ModelRewriter(options.chat_endpoint, options.chat_model, key=key, timeout_s=timeout_s)
        self.store = Store.open(options.database, Path(options.data))
        try:
            self.life = self.store.begin_life()
            self.blobs = FolderBlobs(Path(options.data) / "pictures")
            self.references = FolderBlobs(Path(options.data) / "references")
            self.charged: dict[str, int] = {}
            self.ledger = Ledger.replay(self._stored_entries())
            for job in [job for job in self.charged if self.store.meta(f"{REPAID}.{job}") is not None]:
                del self.charged[job]
            self.books = Accounts(book, self.ledger)
            self.writer = Writer(self.store, before=self._outbox.take, after=self._outbox.taken)
        except BaseException:
            self.store.close()
            raise
        try:
            self.billing = Billing(self.books, self._outbox.add, self.now_ms, takes_back=True)
            self.accounts = AccountRegister(options, plan, self.books, self.writer, self._change, self.now_ms)
            self._latest = max(self._latest, self.accounts.load(self.store))
            if (ahead_s := (self.now_ms() - utc_ms()) // 1000) > 60:
                LOG.warning(
                    "the clock was put back; time stands still until it is there again", extra={"ahead_s": ahead_s}
                )
            self.accounts.open_all()
            self._studio = studio(options, self.billing)
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
        """Whether the workers have ended, by themselves or by `close`.

        Then no job ends any more, and none can begin.
        """
        return self.billing.closed

    def now_ms(self) -> int:
        """Return UTC ms that never go back. Thread-safe.

        They are never before anything that was dated before, in this start or another, even if the clock was put back
        meanwhile.
        """
        with self._clock:
            self._latest = max(self._latest, utc_ms(), self.ledger.now_ms)
            return self._latest

    def close(self, timeout_s: float = 10.0) -> None:
        """End the workers and write what waits. Open jobs go on at the next start."""
        self.studio.loop.close(timeout_s, leave_open=True)
        self.writer.close(timeout_s)
        self.store.close()

    # ---- the ledger ------------------------------------------------------------------------------------------------

    def release(self, job: str) -> None:
        """Give back the time that was set aside for a job that does not exist."""
        self.studio.loop.accounts(lambda books, now: books.ledger.release(job, now, relax_ms=0))

    def grant(self, mark: SetMeta, give: Act) -> None:
        """Make the entries of a grant, and store a mark in the same transaction.

        So the mark exists exactly if the entries do.
        """

        def act(books: Accounts, now: int) -> tuple[LedgerEntry, ...]:
            entries = give(books, now)
            self._outbox.mark_next(mark)  # the outbox gets `entries` next, under the same lock of the loop
            return entries

        self.studio.loop.accounts(act)

    def repay(self, row: JobRow, amount_ms: int) -> None:
        """Give back what a failed job was charged, as time that lasts as long as bought time.

        A job is repaid once, also if its end is stored only in another start.
        """
        self.charged.pop(row.job, None)

        def give(books: Accounts, now: int) -> tuple[LedgerEntry, ...]:
            return books.credit(row.account, amount_ms, now, now + books.book.bought_lifetime_ms)

        try:
            self.grant(SetMeta(f"{REPAID}.{row.job}", str(amount_ms)), give)
        except SalonError:
            LOG.exception("job %s was charged, has failed, and could not be repaid", row.job)
        else:
            LOG.warning("a charged job failed and was repaid", extra={"job": row.job, "ms": amount_ms})

    def relax_use(self, account: str) -> list[Write]:
        """Return the writes that keep an account's Relax use of this billing period over a restart.

        It orders the Relax jobs.
        """
        end = self.ledger.book(account).period_end_ms
        ms = self.studio.loop.scheduler.service(account, relax=True)
        return [SetMeta(f"relax.{account}", f"{end}:{ms:.3f}")]

    def _restore_relax_use(self) -> None:
        for account in self.accounts.rows:
            end, _, ms = (self.store.meta(f"relax.{account}") or "").partition(":")
            if ms and int(end) == self.ledger.book(account).period_end_ms:
                self.studio.loop.scheduler.set_relax_use(account, float(ms))

    def _change(self, act: Act) -> None:
        do = self.billing.do if self._studio is None else self.studio.loop.accounts  # None: no thread shares them yet
        do(act)

    def _stored_entries(self) -> Iterator[LedgerEntry]:
        """Yield all entries, and take note of those that charge for open jobs."""
        open_jobs = {row.job for row in self.store.open_jobs()}
        for entry in self.store.all_entries():
            if entry.kind is EntryKind.CHARGE and entry.job in open_jobs:
                self.charged[entry.job] = self.charged.get(entry.job, 0) - entry.amount_ms
            yield entry
