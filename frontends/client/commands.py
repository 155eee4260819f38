"""What a client can ask a server for, written once; `client.py` and `aio.py` make it callable.

Every method may raise `RequestFailed` (the server did not do it), `TimedOut`, `Disconnected` and `ClientClosed`; see
`errors.py`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from ...bounds import MAX_REFERENCE_BYTES
from ...errors import complaint
from ...parameters.errors import ParameterError
from ...parameters.known import checked
from ..wire import messages as m
from .errors import BadAnswer, invalid
from .flavours import Flavour, operation, waited
from .jobs import JobCommands
from .older import as_before, unsupported
from .steps import Steps, asked, call
from .uploads import read_bytes

J = TypeVar("J", bound=JobCommands)
RESTARTS: Final = 3  # of an upload, after a restart of the server


def new_key() -> str:
    """Of a request that must not be done twice."""
    return os.urandom(16).hex()


class Commands(Flavour, Generic[J]):
    """For everybody. `J`: the flavour's job."""

    def _job(self, info: m.JobInfo) -> J:
        raise NotImplementedError

    @waited
    def server(self) -> Steps[m.Welcome]:
        """What the server says of itself: version, features, model, limits, and the account that it takes this for."""
        return (yield from self._welcome())

    @operation
    def ping(self) -> Steps[float]:
        """Seconds to the server and back."""
        start = self._core.clock()
        yield from call(self._core, m.Ping(), m.Pong, self._timeout_s)
        return self._core.clock() - start

    @operation
    def imagine(
        self,
        /,
        prompt: str,
        *,
        lane: str = "fast",
        private: bool = False,
        previews: int = 0,
        key: str | None = None,
        **parameters: Any,
    ) -> Steps[J]:
        """Ask for pictures. Returns when the job is on the server's disk, and sure to end; then see `job.wait`.

        Args:
            prompt: what to draw.
            lane: turbo, fast, draft or relax.
            parameters: everything else that a request can say, by the names of docs/parameters.md, such as `images=2`,
                `aspect=(16, 9)`, `seed=7`, `stylize=0` or `style_references=[4093]`. What is None or left out is the
                default: mostly the model's, and a random seed, which `job.info.seed` tells. A picture to draw in the
                style of is brought by `add_reference` first.
            private: nobody else is told of it.
            previews: solver steps between previews; 0: none.
            key: 1 to 64 letters, digits, . _ : -; the same key is the same job, however often it is asked for, also by
                another process. None: a random one, so that a lost connection makes no second job.
        """
        try:
            values = checked(parameters)
        except ParameterError as error:
            raise invalid(str(error)) from error
        fields = m.Submit(
            key=new_key() if key is None else key,
            prompt=prompt,
            lane=lane,
            private=private,
            preview_every=previews,
            parameters=values,
        )
        request = asked(fields, preview_every="previews")  # what is wrong is refused without a server
        if "parameters" not in (yield from self._welcome()).features:
            request = msgspec.structs.replace(request, parameters=None, **as_before(values))
        return self._job((yield from call(self._core, request, m.Accepted, self._timeout_s)).job)

    @operation
    def add_reference(self, picture: str | os.PathLike[str] | bytes) -> Steps[str]:
        """Bring a picture to the server, to draw in its style; return its digest, for `style_references`. One that is
        there already is not sent again.

        Args:
            picture: its file (PNG, JPEG, WebP, GIF, BMP), or the bytes of one.
        """
        data = picture if isinstance(picture, bytes) else read_bytes(picture)
        if not 1 <= len(data) <= MAX_REFERENCE_BYTES:
            allowed = f"1 to {MAX_REFERENCE_BYTES:,} bytes"
            raise invalid(complaint("picture", f"{len(data):,} bytes", allowed, "save it smaller"))
        if "parameters" not in (yield from self._welcome()).features:
            raise unsupported("style references")
        digest, size, part, offset = hashlib.sha256(data).hexdigest(), len(data), b"", 0
        again = 0  # times that the server had forgotten what it had
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
        """A job that was submitted before, here or elsewhere. NotFound: there is no such job of this account."""
        return self._job((yield from call(self._core, m.Show(job=id), m.JobInfo, self._timeout_s)))

    @operation
    def jobs(self, limit: int = 20, before: int = 0, states: Sequence[str] = (), account: str = "") -> Steps[m.JobList]:
        """The own jobs, newest first.

        Args:
            limit: at most so many.
            before: `next` of the page before.
            states: only these: queued, running, paused, done, failed, cancelled, blocked.
            account: for operators: of that one, or "*", of all.
        """
        request = m.ListJobs(before=before, limit=limit, states=states, account=account)  # type: ignore[arg-type]
        return (yield from call(self._core, request, m.JobList, self._timeout_s))

    @operation
    def info(self, account: str = "") -> Steps[m.AccountInfo]:
        """Plan and GPU time of the own account. `account`: for operators: of that one."""
        return (yield from call(self._core, m.Info(account=account), m.AccountInfo, self._timeout_s))

    @operation
    def words(self, like: str = "") -> Steps[m.WordList]:
        """What the server's model draws, by slot. `like`: a word; the answer tells also which names are near to it."""
        return (yield from call(self._core, m.Words(like=like), m.WordList, self._timeout_s))


class OpsCommands(Flavour):
    """For operators; others get Forbidden."""

    @operation
    def status(self) -> Steps[m.Status]:
        """The server at a glance."""
        return (yield from call(self._core, m.OpsStatus(), m.Status, self._timeout_s))

    @operation
    def pause(self) -> Steps[bool]:
        """Start no further step; jobs are still accepted. Whether that changed anything."""
        return (yield from self._done(m.OpsPause()))

    @operation
    def resume(self) -> Steps[bool]:
        """End a pause or a drain. Whether there was one."""
        return (yield from self._done(m.OpsResume()))

    @operation
    def drain(self, stop: bool = False) -> Steps[bool]:
        """Accept no further jobs, and finish those that are there. Whether that changed anything.

        Args:
            stop: the server ends then. This is never asked twice: Disconnected, if the answer was lost.
        """
        return (yield from self._done(m.OpsDrain(stop=stop)))

    @operation
    def workers(self) -> Steps[m.WorkerList]:
        """All workers."""
        return (yield from call(self._core, m.OpsWorkers(), m.WorkerList, self._timeout_s))

    @operation
    def accounts(self, after: str = "", limit: int = 50) -> Steps[m.AccountList]:
        """Accounts, by name. `after`: the last account of the page before."""
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
        """Open an account (64 hex digits of its public key), or change what is not None. `quota_bytes` of stored
        pictures; 0: the server's own limit."""
        request = m.OpsSetAccount(
            account=account, name=name, plan=plan, role=role, blocked=blocked, quota_bytes=quota_bytes
        )
        return (yield from call(self._core, request, m.AccountInfo, self._timeout_s))

    @operation
    def grant(
        self, account: str, amount_ms: int, source: str = "bought", expires_ms: int = 0, key: str | None = None
    ) -> Steps[m.AccountInfo]:
        """Give GPU time.

        Args:
            amount_ms: of GPU time.
            source: bought, bonus or operator.
            expires_ms: when it is lost (UTC), with "operator"; 0: never.
            key: the same key is the same grant, however often it is asked for. None: a random one.
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
        """The books of an account, or of all. `after`: `seq` of the last entry of the page before."""
        request = m.OpsLedger(account=account, after=after, limit=limit)
        return (yield from call(self._core, request, m.LedgerPage, self._timeout_s))

    @operation
    def retry(self, job: str) -> Steps[m.JobInfo]:
        """Run a failed job again, under its own id. This is never asked twice: Disconnected, if the answer was lost."""
        return (yield from call(self._core, m.OpsRetry(job=job), m.JobInfo, self._timeout_s))

    def _done(self, request: m.Record) -> Steps[bool]:
        return (yield from call(self._core, request, m.Done, self._timeout_s)).changed
