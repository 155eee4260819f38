"""Define the requests that a client can make, once for both clients; `client.py` and `aio.py` make them callable.

Every method may raise `RequestFailed` (the server did not do it), `TimedOut`, `Disconnected` and `ClientClosed`; see
`errors.py`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

from ...bounds import DIGEST, MAX_REFERENCE_BYTES
from ...errors import complaint
from ..wire import messages as m
from . import prompts
from .errors import BadAnswer, invalid
from .flavours import Flavour, operation, waited
from .jobs import JobCommands
from .older import unsupported
from .steps import Steps, asked, call
from .uploads import read_bytes

J = TypeVar("J", bound=JobCommands)
RESTARTS: Final = 3  # times that an upload begins again after restarts of the server


def _source(source: m.Source | tuple[str, int] | str) -> m.Source:
    if isinstance(source, m.Source):
        return source
    if isinstance(source, tuple):
        return m.Source(job=source[0], index=source[1])
    return m.Source(digest=source) if re.fullmatch(DIGEST, source) else m.Source(job=source)


def new_key() -> str:
    """Return a random key of a request that must not be carried out twice."""
    return os.urandom(16).hex()


class Commands(Flavour, Generic[J]):
    """The requests that everybody can make. `J` is the type of the flavour's job."""

    def _job(self, info: m.JobInfo) -> J:
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
    def imagine(
        self,
        /,
        prompt: str,
        *,
        lane: str | None = None,
        private: bool | None = None,
        previews: int = 0,
        key: str | None = None,
        **parameters: Any,
    ) -> Steps[J]:
        """Ask for pictures of a prompt. Returns when the job is on the server's disk, and sure to end; then see
        `job.wait`.

        Args:
            prompt: the words to draw, perhaps with parameters behind them, as in "a cat --ar 3:2 --s 250"; see
                docs/parameters.md. A prompt that stands for several is for `imagine_all`.
            lane: turbo, fast, draft or relax; None: what the prompt or the account's settings say, else fast.
            private: whether the job is hidden from everybody else; None: as `lane`, else not.
            previews: solver steps between previews; 0: the server makes none.
            key: 1 to 64 letters, digits, . _ : -; the same key means the same job, however often it is sent, also by
                another process; None: a random one, so that a lost connection makes no second job.
            parameters: what a prompt can say, by the names of docs/parameters.md, such as `images=2`,
                `aspect=(16, 9)`, `seed=7`, `stylize=0` or `style_references=[4093]`. For one that is None or left out
                the account's setting applies, or the default. Most defaults are the model's; the seed is random, and
                `job.info.seed` tells it. To draw in the style of a picture, or to start from one, bring it by
                `add_reference` first.
        """
        jobs = yield from self._submit(m.IMAGINE, prompt, (), lane, private, previews, key, parameters, several=False)
        return jobs[0]

    @operation
    def imagine_all(
        self,
        /,
        prompt: str,
        *,
        lane: str | None = None,
        private: bool | None = None,
        previews: int = 0,
        key: str | None = None,
        **parameters: Any,
    ) -> Steps[list[J]]:
        """Ask for all jobs that a prompt stands for, with `{a, b}` or `--repeat`: all are accepted, or none.

        Args:
            key: of all of them; the jobs have KEY.0, KEY.1, and so on.
            prompt, lane, private, previews, parameters: as of `imagine`.
        """
        return (yield from self._submit(m.IMAGINE, prompt, (), lane, private, previews, key, parameters))

    @operation
    def make(
        self,
        /,
        kind: str,
        prompt: str = "",
        *,
        sources: Sequence[m.Source | tuple[str, int] | str] = (),
        lane: str | None = None,
        private: bool | None = None,
        previews: int = 0,
        key: str | None = None,
        **parameters: Any,
    ) -> Steps[J]:
        """Ask for a job of any kind; see docs/using.md for them. Returns as `imagine`.

        Args:
            kind: such as "imagine" or "reroll".
            prompt: what to draw; a kind that starts from a picture has that one's, where this is empty.
            sources: pictures that it starts from: each (job id, index from 0), or the digest of one that
                `add_reference` brought, or the id of a job as a whole, where the kind takes one.
            lane, private, previews, key, parameters: as of `imagine`.
        """
        jobs = yield from self._submit(kind, prompt, sources, lane, private, previews, key, parameters, several=False)
        return jobs[0]

    @operation
    def plan(
        self,
        /,
        prompt: str,
        *,
        kind: str = m.IMAGINE,
        sources: Sequence[m.Source | tuple[str, int] | str] = (),
        lane: str | None = None,
        private: bool | None = None,
        **parameters: Any,
    ) -> Steps[m.Planned]:
        """Return what `imagine_all` or `make` would do, and what it would cost; this makes and charges nothing. What
        would be refused is refused. Arguments as of those."""
        values = prompts.said(lane, private, parameters)
        prompts.understood(prompt, values)
        request = m.Plan(prompt=prompt, parameters=values, kind=kind, sources=tuple(map(_source, sources)))
        return (yield from call(self._core, asked(request), m.Planned, self._timeout_s))

    @operation
    def parameters(self) -> Steps[tuple[m.ParameterInfo, ...]]:
        """Return what a request can say, as the server knows it."""
        return (yield from call(self._core, m.ListParameters(), m.ParameterList, self._timeout_s)).parameters

    def _submit(
        self,
        kind: str,
        prompt: str,
        sources: Sequence[m.Source | tuple[str, int] | str],
        lane: str | None,
        private: bool | None,
        previews: int,
        key: str | None,
        given: dict[str, Any],
        *,
        several: bool = True,
    ) -> Steps[list[J]]:
        values = prompts.said(lane, private, given)
        found = prompts.understood(prompt, values)
        if not several:
            prompts.want_one(found)
        fields = m.Submit(
            key=new_key() if key is None else key,
            prompt=prompt,
            preview_every=previews,
            parameters=values,
            kind=kind,
            sources=tuple(map(_source, sources)),
            language=True,
        )
        request = asked(fields, preview_every="previews")  # what is wrong is refused without a server
        features = (yield from self._welcome()).features
        if "kinds" not in features and request.kind != m.IMAGINE:
            raise unsupported(f"jobs of the kind {request.kind!r}")
        if "language" not in features:
            request = prompts.before_language(request, found, features)
        accepted = yield from call(self._core, request, m.Accepted, self._timeout_s)
        return [self._job(info) for info in (accepted.job, *accepted.more)]

    @operation
    def add_reference(self, picture: str | os.PathLike[str] | bytes) -> Steps[str]:
        """Bring a picture to the server; return its digest, for `style_references`, `image` or `mask`.

        A picture that the server has already is not sent again.

        Args:
            picture: its file (PNG, JPEG, WebP, GIF, BMP), or the bytes of one.

        Raises:
            Invalid: the file cannot be read, is too large, or holds no picture.
        """
        data = picture if isinstance(picture, bytes) else read_bytes(picture)
        if not 1 <= len(data) <= MAX_REFERENCE_BYTES:
            allowed = f"1 to {MAX_REFERENCE_BYTES:,} bytes"
            raise invalid(complaint("picture", f"{len(data):,} bytes", allowed, "save it smaller"))
        if "parameters" not in (yield from self._welcome()).features:
            raise unsupported("style references")
        digest, size, part, offset = hashlib.sha256(data).hexdigest(), len(data), b"", 0
        again = 0  # times that the server has lost the parts that it had received
        while offset < size:
            request = m.Upload(digest=digest, size=size, offset=offset, data=part)
            received = (yield from call(self._core, request, m.Uploaded, self._timeout_s)).received
            again += bool(part) and received <= offset
            if again > RESTARTS or received > size:
                got = f"{received:,} of {size:,} bytes, again and again"
                raise BadAnswer(complaint("upload", got, "more with each part", "try again"))
            offset, part = received, data[received : received + m.MAX_UPLOAD_PART]
        return digest

    def _welcome(self) -> Steps[m.Welcome]:
        while (welcome := self._core.welcome) is None:
            yield from call(self._core, m.Ping(), m.Pong, self._timeout_s)
        return welcome

    @operation
    def job(self, id: str) -> Steps[J]:
        """Return a job that was submitted before, here or elsewhere. Raise NotFound if this account has no such job."""
        return self._job((yield from call(self._core, m.Show(job=id), m.JobInfo, self._timeout_s)))

    @operation
    def jobs(self, limit: int = 20, before: int = 0, states: Sequence[str] = (), account: str = "") -> Steps[m.JobList]:
        """Return a page of the own jobs, newest first.

        Args:
            limit: number of jobs on a page, at most.
            before: `next` of the page before; 0: the first page.
            states: only jobs in these states: queued, running, paused, done, failed, cancelled, blocked.
            account: for operators: the jobs of that account, or "*" for all.
        """
        request = m.ListJobs(before=before, limit=limit, states=states, account=account)  # type: ignore[arg-type]
        return (yield from call(self._core, request, m.JobList, self._timeout_s))

    @operation
    def info(self, account: str = "") -> Steps[m.AccountInfo]:
        """Return plan and GPU time of the own account. Operators may name another `account`."""
        return (yield from call(self._core, m.Info(account=account), m.AccountInfo, self._timeout_s))

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
    def ledger(self, account: str = "", after: int = 0, limit: int = 100) -> Steps[m.LedgerPage]:
        """Return a page of the ledger of an account, or of all.

        `after` is `seq` of the last entry of the page before.
        """
        request = m.OpsLedger(account=account, after=after, limit=limit)
        return (yield from call(self._core, request, m.LedgerPage, self._timeout_s))

    @operation
    def retry(self, job: str) -> Steps[m.JobInfo]:
        """Run a failed job again, under its own id.

        The request is sent at most once: if the answer is lost, it raises Disconnected.
        """
        return (yield from call(self._core, m.OpsRetry(job=job), m.JobInfo, self._timeout_s))

    def _done(self, request: m.Record) -> Steps[bool]:
        return (yield from call(self._core, request, m.Done, self._timeout_s)).changed
