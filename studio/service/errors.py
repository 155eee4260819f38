"""What the service refuses, as one tree; each says what came, what is allowed and what to do.

StudioError
└── ServiceError
    ├── UnknownJob       no job of that name for this account: none, a deleted one, or another's private one
    ├── NotEnded         a job that has to end first
    ├── NotFailed        a job that cannot be tried again, because it has not failed
    ├── KeyReused        another request, or another grant, under a key that was used before
    ├── Draining         nothing is accepted any more
    ├── TooSlow          the store does not answer in time; what was begun goes on
    ├── TooMany          too much at a time; a moment later it may be less
    ├── WrongValue       a word or a number that cannot be meant
    ├── NoSuchAccount    an account that nobody has opened
    ├── PicturesBlocked  pictures that must not be shown; their job ends as "blocked"
    └── LastOperator     after it, nobody could undo it

What account, plan, model or disk do not allow is said in the scheduler's, the engine's and the store's own errors.
"""

from __future__ import annotations

from ...errors import complaint
from ..errors import StudioError


class ServiceError(StudioError):
    """Base of the service's errors."""


class UnknownJob(ServiceError):
    """No job of that name for this account: there is none, it was deleted, or it is another's private one."""


class NotEnded(ServiceError):
    """A job that has to end first."""


class NotFailed(ServiceError):
    """A job that has not failed, and so cannot be tried again."""


class KeyReused(ServiceError):
    """Another request, or another grant, under a key that was used before."""


class Draining(ServiceError):
    """Nothing is accepted any more; another time it may be."""


class TooSlow(ServiceError):
    """The store does not answer in time. What was begun goes on; asking again in the same words finds it."""


class TooMany(ServiceError):
    """Too much at a time; a moment later it may be less."""


class WrongValue(ServiceError):
    """A word or a number that cannot be meant."""


class NoSuchAccount(ServiceError):
    """An account that nobody has opened."""


class PicturesBlocked(ServiceError):
    """Pictures that must not be shown. Raised where files are made of them; their job ends as "blocked"."""


class LastOperator(ServiceError):
    """A change after which nobody could undo it."""


def no_such_job(job: str) -> UnknownJob:
    """Return the error of a job that does not exist, was deleted, or is another's private one: the same for all."""
    return UnknownJob(complaint("job", repr(job), "a job of yours", "see `jobs`"))
