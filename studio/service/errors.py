"""Define the service's errors, as one tree. Each says what came, what is allowed and what to do.

StudioError
└── ServiceError
    ├── UnknownJob       there is no job of that id: it never was, was deleted, or is another account's private one
    ├── UnknownFile      the account has no file of that id
    ├── NotEnded         the job has to end first
    ├── NotFailed        the job cannot be tried again, because it has not failed
    ├── UnknownChat      the account has no conversation, or no turn, of that number
    ├── KeyReused        another request, or another grant, had this key before
    ├── Draining         the service accepts nothing any more
    ├── TooSlow          the store does not answer in time; what was begun goes on
    ├── TooMany          there is too much at a time; a moment later it may be less
    ├── WrongValue       a word or a number is not one that is allowed
    ├── LinkRefused      a picture's link is not followed, or no picture came of it
    ├── NoSuchAccount    the account has not been opened
    ├── NoSuchEntry      the account has no link, session or token of that id
    ├── PicturesBlocked  the pictures must not be shown; their job ends as "blocked"
    ├── PolicyBlocked    a policy of the operator's blocks the request; `rule` names the rule
    │   └── PolicyTimeout    it has blocked the account so often that this has to wait
    ├── PolicyDown       a policy does not answer, and nothing is accepted without it
    └── LastOperator     no operator could undo the change

Where account, plan, model or disk forbid a request, it gets the errors of scheduler, engine and store.
"""

from __future__ import annotations

from ...errors import complaint
from ..errors import StudioError


class ServiceError(StudioError):
    """Base of the service's errors."""


class UnknownJob(ServiceError):
    """The account may see no job of that id: it does not exist, was deleted, or is another's private one."""


class UnknownFile(ServiceError):
    """The account has no file of that id."""


class NotEnded(ServiceError):
    """The job has to end first."""


class NotFailed(ServiceError):
    """The job has not failed, and so cannot be tried again."""


class UnknownChat(ServiceError):
    """The account has no conversation, or no turn, of that number."""


class KeyReused(ServiceError):
    """Another request, or another grant, had this key before."""


class Draining(ServiceError):
    """The service accepts nothing any more. It may do so again later."""


class TooSlow(ServiceError):
    """The store does not answer in time. What was begun goes on; the same request finds it."""


class TooMany(ServiceError):
    """There is too much at a time. A moment later it may be less."""


class WrongValue(ServiceError):
    """A word or a number is not one that is allowed."""


class LinkRefused(ServiceError):
    """A picture's link is not followed, or no picture came of it."""


class NoSuchAccount(ServiceError):
    """The account has not been opened."""


class NoSuchEntry(ServiceError):
    """The account has no link, session or token of that id."""


class PicturesBlocked(ServiceError):
    """The pictures must not be shown. The maker of files raises this, and their job ends as "blocked"."""


class PolicyBlocked(ServiceError):
    """A policy of the operator's blocks the request. Nothing was charged.

    Attributes:
        rule: name of the rule.
        retry_after_ms: after which a request may pass; 0: this one will not.
    """

    def __init__(self, text: str, rule: str, retry_after_ms: int = 0) -> None:
        super().__init__(text)
        self.rule, self.retry_after_ms = rule, retry_after_ms


class PolicyTimeout(PolicyBlocked):
    """Policies have blocked an account so often that it has to wait."""


class PolicyDown(ServiceError):
    """A policy does not answer, and nothing is accepted without its answer."""


class LastOperator(ServiceError):
    """No operator could undo the change."""


def no_such_job(job: str) -> UnknownJob:
    """Return the error for a job that does not exist, was deleted, or is another's private one.

    It is the same for all, so that it tells nothing of others' jobs.
    """
    return UnknownJob(complaint("job", repr(job), "a job of yours", "see `jobs`"))
