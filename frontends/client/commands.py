"""Define the requests that a client can make, once for both clients; `client.py` and `aio.py` make them callable.

Every method may raise `RequestFailed` (the server did not do it), `TimedOut`, `Disconnected` and `ClientClosed`; see
`errors.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from ..wire import messages as m
from .flavours import Flavour, operation, waited
from .inquiring import InquiringCommands
from .jobs import JobCommands
from .making import PictureFile, new_key
from .older import unsupported
from .remakes import OnServer
from .reproducing import ReproducingCommands
from .steps import Steps, call
from .tasting import RankingCommands

J = TypeVar("J", bound=JobCommands)
P = TypeVar("P")
A = TypeVar("A")


class Commands(InquiringCommands[J], ReproducingCommands[J], RankingCommands[J, A], Generic[J, P, A]):
    """The requests that everybody can make. `J`, `P` and `A` are the types of the flavour's job, picture and pair."""

    def _picture(self, source: m.Source) -> P:
        """Return the flavour's own object for a picture; each of the two clients says how."""
        raise NotImplementedError

    @waited
    def server(self) -> Steps[m.Welcome]:
        """Return the server's description of itself: version, features, model, limits, and this client's account."""
        return (yield from self._welcome())

    @operation
    def ping(self) -> Steps[float]:
        """Return the seconds that a message takes to the server and back."""
        start = self._core.clock()
        yield from call(self._core, m.Ping(), m.Pong, self._timeout_s)
        return self._core.clock() - start

    @operation
    def job(self, id: str) -> Steps[J]:
        """Return a job that was submitted before, here or elsewhere. Raise NotFound if this account has no such job."""
        return self._job((yield from call(self._core, m.Show(job=id), m.JobInfo, self._timeout_s)))

    @operation
    def picture(self, picture: PictureFile) -> Steps[P]:
        """Bring a picture as `add_reference` does, and return it, to make something of.

        Args:
            picture: its file, or the bytes of one. What Salon made says itself how it was drawn.
        """
        return self._picture(m.Source(digest=(yield from self._bring(picture))))

    @operation
    def blend(self, /, *pictures: OnServer[J] | PictureFile, **options: Any) -> Steps[J]:
        """Ask for pictures between two to five pictures, without a word. Returns and raises as `make`.

        Args:
            pictures: each `job[0]` or the like, or a file, or the bytes of one.
            options: `lane`, `private`, `previews`, `key`, and parameters by name.
        """
        sources = []
        for picture in pictures:
            if isinstance(picture, OnServer):
                sources.append(picture.source)
            else:
                sources.append(m.Source(digest=(yield from self._bring(picture))))
        return (yield from self._make("blend", "", sources, options))

    @operation
    def jobs(
        self,
        limit: int = 20,
        before: int = 0,
        states: Sequence[str] = (),
        account: str = "",
        *,
        public: bool = False,
    ) -> Steps[m.JobList]:
        """Return a page of the own jobs, newest first.

        Args:
            limit: number of jobs on a page, at most.
            before: `next` of the page before; 0: the first page.
            states: only jobs in these states: queued, running, paused, done, failed, cancelled, blocked.
            account: for operators: the jobs of that account, or "*" for all.
            public: in place of the own jobs those of all accounts, or of `account`, that are not private.
        """
        if public and "taste" not in (yield from self._welcome()).features:
            raise unsupported("public")
        request = m.ListJobs(before=before, limit=limit, states=states, account=account, public=public)  # type: ignore[arg-type]
        return (yield from call(self._core, request, m.JobList, self._timeout_s))

    @operation
    def info(self, account: str = "") -> Steps[m.AccountInfo]:
        """Return plan and GPU time of the own account. Operators may name another `account`."""
        return (yield from call(self._core, m.Info(account=account), m.AccountInfo, self._timeout_s))

    @operation
    def wildcards(self) -> Steps[dict[str, int]]:
        """Return the number of words of every list that `__name__` in a prompt can stand for, by name."""
        yield from self._want_wildcards()
        return (yield from call(self._core, m.ListWildcards(), m.Wildcards, self._timeout_s)).lists

    @operation
    def wildcard(self, name: str) -> Steps[tuple[str, ...]]:
        """Return the words of a list. Raise Invalid if the server has no such list."""
        yield from self._want_wildcards()
        words, after = list[str](), 0
        while True:
            request = m.ListWildcards(name=name, after=after)
            found = yield from call(self._core, request, m.Wildcards, self._timeout_s)
            words += found.words
            if found.next <= after:
                return tuple(words)
            after = found.next

    def _want_wildcards(self) -> Steps[None]:
        if "wildcards" not in (yield from self._welcome()).features:
            raise unsupported("lists of words")

    @operation
    def words(self, like: str = "") -> Steps[m.WordList]:
        """Ask what the server's model draws, by slot. `like`: a word, to be told which names are near."""
        return (yield from call(self._core, m.Words(like=like), m.WordList, self._timeout_s))


class OpsCommands(Flavour):
    """The requests that operators can make. Other accounts get Forbidden."""

    @operation
    def status(self) -> Steps[m.Status]:
        """Return an overview of the server."""
        return (yield from call(self._core, m.OpsStatus(), m.Status, self._timeout_s))

    @operation
    def pause(self) -> Steps[bool]:
        """Pause the server: it starts no further step, but accepts jobs. Return whether that changed anything."""
        return (yield from self._done(m.OpsPause()))

    @operation
    def resume(self) -> Steps[bool]:
        """End a pause or a drain. Return whether there was one."""
        return (yield from self._done(m.OpsResume()))

    @operation
    def drain(self, stop: bool = False) -> Steps[bool]:
        """Drain the server: it accepts no further jobs, and finishes those that it has.

        Return whether that changed anything.

        Args:
            stop: whether the server ends then. Such a request is sent at most once: if the answer is lost,
                Disconnected.
        """
        return (yield from self._done(m.OpsDrain(stop=stop)))

    @operation
    def workers(self) -> Steps[m.WorkerList]:
        """Return all workers."""
        return (yield from call(self._core, m.OpsWorkers(), m.WorkerList, self._timeout_s))

    @operation
    def accounts(self, after: str = "", limit: int = 50) -> Steps[m.AccountList]:
        """Return a page of accounts, by name. `after` is the last account of the page before."""
        return (yield from call(self._core, m.OpsAccounts(after=after, limit=limit), m.AccountList, self._timeout_s))

    @operation
    def set_account(
        self,
        account: str,
        *,
        name: str | None = None,
        plan: str | None = None,
        role: str | None = None,
        blocked: bool | None = None,
        quota_bytes: int | None = None,
    ) -> Steps[m.AccountInfo]:
        """Open an account (64 hex digits of its public key), or change what is not None.

        Args:
            quota_bytes: bound of the account's stored pictures, bytes; 0: the server's own limit.
        """
        request = m.OpsSetAccount(
            account=account, name=name, plan=plan, role=role, blocked=blocked, quota_bytes=quota_bytes
        )
        return (yield from call(self._core, request, m.AccountInfo, self._timeout_s))

    @operation
    def grant(
        self, account: str, amount_ms: int, source: str = "bought", expires_ms: int = 0, key: str | None = None
    ) -> Steps[m.AccountInfo]:
        """Grant GPU time to an account.

        Args:
            amount_ms: milliseconds of GPU time.
            source: bought, bonus or operator.
            expires_ms: when the time is lost (UTC ms), with "operator"; 0: never.
            key: the same key means the same grant, however often it is sent. None: a random one.
        """
        request = m.OpsGrant(
            account=account,
            amount_ms=amount_ms,
            key=new_key() if key is None else key,
            source=source,
            expires_ms=expires_ms,
        )
        return (yield from call(self._core, request, m.AccountInfo, self._timeout_s))

    @operation
    def ledger(
        self, account: str = "", after: int = 0, limit: int = 100, *, newest: bool = False
    ) -> Steps[m.LedgerPage]:
        """Return a page of the ledger of an account, or of all.

        Args:
            after: `seq` of the last entry of the page before; 0: the first page.
            newest: whether the newest entries come first.
        """
        if newest and "operate" not in (yield from self._welcome()).features:
            raise unsupported("newest")
        request = m.OpsLedger(account=account, after=after, limit=limit, newest=newest)
        return (yield from call(self._core, request, m.LedgerPage, self._timeout_s))

    @operation
    def retry(self, job: str) -> Steps[m.JobInfo]:
        """Run a failed job again, under its own id.

        The request is sent at most once: if the answer is lost, it raises Disconnected.
        """
        return (yield from call(self._core, m.OpsRetry(job=job), m.JobInfo, self._timeout_s))

    @operation
    def blocks(self, account: str = "", before: int = 0, limit: int = 50) -> Steps[m.BlockList]:
        """Return a page of what the server's policies have blocked, newest first.

        Args:
            account: only what was blocked of that one; "": of all.
            before: `next` of the page before; 0: the first page.
            limit: lines of a page, at most.

        Raises:
            Unsupported: the server knows no policies.
        """
        if "moderation" not in (yield from self._welcome()).features:
            raise unsupported("policies")
        request = m.OpsBlocks(account=account, before=before, limit=limit)
        return (yield from call(self._core, request, m.BlockList, self._timeout_s))

    @operation
    def lift(self, account: str) -> Steps[bool]:
        """End the timeout of an account that policies have blocked too often. Return whether it had to wait.

        Raises:
            Unsupported: the server cannot do that.
        """
        if "operate" not in (yield from self._welcome()).features:
            raise unsupported("lifting a timeout")
        return (yield from self._done(m.OpsLift(account=account)))

    def _done(self, request: m.Record) -> Steps[bool]:
        return (yield from call(self._core, request, m.Done, self._timeout_s)).changed
