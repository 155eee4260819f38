"""Every error that the scheduler raises, as one tree. A call that raises leaves the scheduler as it was.

SalonError
└── SchedulerError
    ├── TicketError         a job whose own numbers are impossible
    │   └── DuplicateJob    a job id that is already known
    ├── UnknownJob          a job id that is not known (never submitted, or already ended)
    ├── UnknownWorker       a worker name that is not known
    ├── UnknownAccount      an account that is not known
    ├── UnknownLane         a lane that does not exist
    ├── ClockError          a time before one that was already given
    ├── PlanFileError       a plans file that cannot be used; names file, key and what is allowed
    ├── Refused             a sound request that the account's plan or balance does not allow
    └── LedgerError         an entry that would break the books: double charge, negative balance, unknown job
"""

from __future__ import annotations

from ..errors import SalonError


class SchedulerError(SalonError):
    """Base of the scheduler's errors."""


class TicketError(SchedulerError):
    """A job whose own numbers are impossible."""


class DuplicateJob(TicketError):
    """A job id that is already known."""


class UnknownJob(SchedulerError):
    """A job id that is not known."""


class UnknownWorker(SchedulerError):
    """A worker name that is not known."""


class UnknownAccount(SchedulerError):
    """An account that is not known."""


class UnknownLane(SchedulerError):
    """A lane that does not exist."""


class ClockError(SchedulerError):
    """A time before one that was already given."""


class PlanFileError(SchedulerError):
    """A plans file that cannot be used."""


class Refused(SchedulerError):
    """A sound request that the account's plan or balance does not allow."""


class LedgerError(SchedulerError):
    """An entry that would break the books."""
