"""Keep the latest news of each account's jobs, numbered, for the streams of its pages.

What counts of a job is its latest state, step and preview; so these three are kept, each in place of the one before,
and a reader that is slow, or was away, gets what it has missed in this short form. Beyond a bound the oldest goes, and
a reader that has missed some begins anew.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec

from ...bounds import REPLACED
from ...studio.service.events import JobEvent, JobLog
from ...studio.service.jobs import JobManager
from ...studio.service.storing import ActiveJob
from ..zmq import views
from .records import json_of

MANY: Final = 3000  # news of an account that are kept
ACCOUNTS: Final = 200  # accounts without a reader whose news go on being kept; the longest without one go first
PAUSE_S: Final = 0.25  # between two steps, or two previews, of a job
PREVIEWS: Final = "/api/previews/"


class News(NamedTuple):
    """Something that a page should know.

    Attributes:
        number: of the news of its account.
        kind: "job", "step", "preview", or "gone": it was deleted.
        data: JSON.
    """

    number: int
    kind: str
    data: bytes


class Journal:
    """The news of one account, from the time when a page first asked who it is. Used on the event loop's thread.

    Args:
        account: whose jobs it tells of.
        jobs: the jobs.
        first: from which it counts.

    Attributes:
        number: of the latest news.
        readers: told of news; empty while no page reads.
    """

    def __init__(self, account: str, jobs: JobManager, first: int) -> None:
        self.number = self._lost = first  # the second: number of the latest that is not kept any more
        self.readers: set[Callable[[], object]] = set()
        self._account, self._jobs = account, jobs
        self._kept: OrderedDict[tuple[str, str], News] = OrderedDict()  # by job and kind, in the order of their numbers
        self._follows: dict[str, _Follow] = {}
        self._changed: dict[_Follow, None] = {}
        self._loop = asyncio.get_running_loop()
        for live in list(jobs.live.values()):
            self.add(live)

    def add(self, live: ActiveJob) -> None:
        """Follow a job, if it is this account's."""
        if live.row.account == self._account:
            before = self._follows.pop(live.row.job, None)
            if before is not None:  # a job that is tried again
                before.close()
            self._follows[live.row.job] = _Follow(live.log, self._touched)

    def gone(self, job: str) -> None:
        """Tell that a job was deleted."""
        self._kept.pop((job, "job"), None)
        self._keep(job, "gone", msgspec.json.encode({"job": job}))
        self._tell_readers()

    def close(self) -> None:
        """Follow nothing any more."""
        for follow in self._follows.values():
            follow.close()
        self._follows.clear()

    def since(self, number: int) -> list[News] | None:
        """Return the news after a number, in their order; None: some of them are not kept any more."""
        if number < self._lost or number > self.number:
            return None
        found: list[News] = []
        for news in reversed(self._kept.values()):
            if news.number <= number:
                break
            found.append(news)
        return found[::-1]

    def live(self) -> Iterator[bytes]:
        """Yield the data of the account's jobs that have not ended, as they are now, the oldest first."""
        for job in list(self._follows):
            if (record := self._record(job)) is not None:
                yield record
            else:  # it could not be stored: there is no such job
                self._follows.pop(job).close()

    def _touched(self, follow: _Follow) -> None:
        if not self._changed:
            self._loop.call_soon(self._tell)
        self._changed[follow] = None

    def _tell(self) -> None:
        """Make news of what has happened."""
        changed, self._changed = self._changed, {}
        for follow in changed:
            job = follow.log.job
            if follow.closed:
                continue
            if follow.new_state() and (record := self._record(job)) is not None:
                self._keep(job, "job", record)
            if follow.log.final:
                follow.close()
                del self._follows[job]
                for kind in REPLACED:
                    self._kept.pop((job, kind), None)
                continue
            for event in follow.progress(self._loop, self._touched):
                self._keep(job, event.kind, _data_of(job, event))
        self._tell_readers()

    def _tell_readers(self) -> None:
        for tell in list(self.readers):
            tell()

    def _record(self, job: str) -> bytes | None:
        found = self._jobs.cached(job)
        return None if found is None else json_of(views.job_info(self._jobs.record_of(*found)))

    def _keep(self, job: str, kind: str, data: bytes) -> None:
        self.number += 1
        self._kept.pop((job, kind), None)
        self._kept[job, kind] = News(self.number, kind, data)
        while len(self._kept) > MANY:
            _, oldest = self._kept.popitem(last=False)
            self._lost = oldest.number


class _Follow:
    """A watcher of one job's log: what of it is not told yet."""

    def __init__(self, log: JobLog, changed: Callable[[_Follow], object]) -> None:
        self.log, self.closed = log, False
        self._changed = changed
        self._state = self._progress = log.last  # numbers of events that were told
        self._next = 0.0  # the time from which progress may be told
        self._timer: asyncio.TimerHandle | None = None
        log.watchers.add(self)

    def touched(self) -> None:
        """See `events.Watcher`."""
        self._changed(self)

    def new_state(self) -> bool:
        """Return whether something else than steps and previews has happened since the last call."""
        new = any(event.kind not in REPLACED for event in self.log.since(self._state))
        self._state = self.log.last
        return new

    def progress(self, loop: asyncio.AbstractEventLoop, again: Callable[[_Follow], object]) -> list[JobEvent]:
        """Return the latest step and preview, if they are new. If the last were told just now: none yet, and `again` is
        called when it is time."""
        new = [event for event in self.log.since(self._progress) if event.kind in REPLACED]
        if not new or self._timer is not None:
            return []
        if (wait_s := self._next - loop.time()) > 0:

            def later() -> None:
                self._timer = None
                again(self)

            self._timer = loop.call_later(wait_s, later)
            return []
        self._next = loop.time() + PAUSE_S
        self._progress = self.log.last
        return new

    def close(self) -> None:
        """Watch no more."""
        self.closed = True
        self.log.watchers.discard(self)
        if self._timer is not None:
            self._timer.cancel()


class Journals:
    """The journals of all accounts that have or had pages.

    Args:
        jobs: the jobs.
    """

    def __init__(self, jobs: JobManager) -> None:
        self._jobs = jobs
        self._first = 0  # no journal that has ended had as high a number
        self._journals: OrderedDict[str, Journal] = OrderedDict()  # the one that was asked for last at the end
        jobs.opened.append(self._opened)
        jobs.deleted.append(self._deleted)

    def of(self, account: str) -> Journal:
        """Return the journal of an account, which begins now if there is none."""
        journal = self._journals.get(account) or Journal(account, self._jobs, self._first)
        self._journals[account] = journal
        self._journals.move_to_end(account)
        unread = [name for name, each in self._journals.items() if not each.readers and name != account]
        for name in unread[: max(0, len(unread) - ACCOUNTS)]:
            ended = self._journals.pop(name)
            ended.close()
            self._first = max(self._first, ended.number + 1)
        return journal

    def close(self) -> None:
        """Keep no news any more."""
        self._jobs.opened.remove(self._opened)
        self._jobs.deleted.remove(self._deleted)
        for journal in self._journals.values():
            journal.close()
        self._journals.clear()

    def _opened(self, live: ActiveJob) -> None:
        if (journal := self._journals.get(live.row.account)) is not None:
            journal.add(live)

    def _deleted(self, account: str, job: str) -> None:
        if (journal := self._journals.get(account)) is not None:
            journal.gone(job)


def _data_of(job: str, event: JobEvent) -> bytes:
    """Return the JSON of a step or a preview."""
    if event.kind == "step":
        fields = {"job": job, "step": event.step, "steps": event.steps, "event": event.number}
    else:
        fields = {"job": job, "event": event.number, "url": f"{PREVIEWS}{job}/{event.number}"}
    return msgspec.json.encode(fields)
