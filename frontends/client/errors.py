"""Define every error of the client, as one tree.

SalonError
└── ClientError
    │                            (itself: this machine has no thread or descriptor for a client at the moment)
    ├── ClientClosed             a call after `close`, after a fork, from a second event loop, or after an unforeseen
    │                            error in the client itself, which is then its cause
    ├── Disconnected             no server answered in time; says its address, the failure, and what to check
    │   └── KeyRefused           the server answers, but does not let this key in
    ├── TimedOut                 the server answers, but the answer, event or end of a job did not come in time
    ├── BadAnswer                the server's answer does not fit the request
    ├── BadPicture               a picture whose bytes do not have its sha256
    ├── NoPictures               a job ended without pictures; has the `JobInfo`
    │   ├── JobFailed
    │   ├── JobCancelled
    │   └── JobBlocked
    └── RequestFailed            the server did not do it, and says why: one class for each `Failure.code`
        ├── Invalid              invalid
        ├── RefusedByPlan        refused
        ├── Blocked              blocked
        ├── NotFound             not_found
        ├── Forbidden            forbidden
        ├── TooFast              too_fast
        ├── LimitError           too_large (`TooLarge` is its former name)
        ├── Busy                 busy
        ├── Draining             draining
        ├── Unavailable          unavailable
        ├── Unsupported          unsupported
        └── ServerBug            internal

Errors of addresses and key files are those of `frontends/wire/errors.py`.
"""

from __future__ import annotations

from copy import copy
from typing import ClassVar, TypeVar

from ...errors import SalonError
from ..wire.messages import Failure, JobInfo

E = TypeVar("E", bound=SalonError)


class ClientError(SalonError):
    """Base of the client's errors."""


class ClientClosed(ClientError):
    """A call came after `close`, after a fork, from a second event loop, or after an unforeseen error.

    An unforeseen error in the client itself is the cause of this one.
    """


class Disconnected(ClientError):
    """No server answered in time.

    If the connection broke after a request was sent, the server may have carried it out.
    """


class KeyRefused(Disconnected):
    """The server answers, but does not let this key in."""


class TimedOut(ClientError):
    """The server answers, but the answer, event or end of a job did not come in time."""


class BadAnswer(ClientError):
    """The server's answer does not fit the request."""


class BadPicture(ClientError):
    """The bytes of a picture do not have its sha256."""


class NoPictures(ClientError):
    """A job ended without pictures.

    Attributes:
        info: the job.
        reason: the reason in words; may be empty.
    """

    word: ClassVar[str] = "ended"

    def __init__(self, info: JobInfo) -> None:
        super().__init__(f"job {info.job} {self.word}" + (f": {info.reason}" if info.reason else ""))
        self.info = info
        self.reason = info.reason

    def __reduce__(self) -> tuple[type[NoPictures], tuple[JobInfo]]:
        return type(self), (self.info,)


class JobFailed(NoPictures):
    """The job failed."""

    word = "failed"


class JobCancelled(NoPictures):
    """The job was cancelled."""

    word = "was cancelled"


class JobBlocked(NoPictures):
    """The pictures of the job were made, but are not shown. Nothing was charged.

    Attributes:
        rule: name of the rule of the operator's policy; empty: the server names none.
    """

    word = "was blocked"

    def __init__(self, info: JobInfo) -> None:
        super().__init__(info)
        self.rule = info.failure


class RequestFailed(ClientError):
    """The server did not carry out a request, nor any part of it.

    Attributes:
        code: the code of the `Failure`; an unknown one, of a newer server, has this class itself.
        kind: name of the server's error.
        retry_after_s: seconds after which the request may work; 0: not known.
        position: of the character of the prompt that it speaks of, from 0; -1: of none.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self._failure = failure
        self.code = failure.code
        self.kind = failure.kind
        self.retry_after_s = failure.retry_after_ms / 1000
        self.position = failure.position

    def __reduce__(self) -> tuple[type[RequestFailed], tuple[Failure]]:
        return type(self), (self._failure,)


class Invalid(RequestFailed):
    """A value of the request is wrong."""


class RefusedByPlan(RequestFailed):
    """The account's plan, its GPU time or its quota does not allow it."""


class Blocked(RequestFailed):
    """A policy of the server's operator does not allow it. Nothing was charged.

    `kind` is PolicyTimeout, and `retry_after_s` says for how long, where the account was blocked too often.

    Attributes:
        rule: name of the policy's rule.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.rule = failure.rule


class NotFound(RequestFailed):
    """The named thing does not exist, or belongs to another account."""


class Forbidden(RequestFailed):
    """The request is for operators only, or the account is blocked or unknown."""


class TooFast(RequestFailed):
    """The account sent too many requests, until the deadline."""


class LimitError(RequestFailed):
    """The request is beyond what the server or its engine takes. The engine has an error of the same name."""


TooLarge = LimitError  # the former name


class Busy(RequestFailed):
    """The server had too much to do, until the deadline.

    Where `kind` is TimeoutError or TooSlow, it stopped waiting for what it had begun, which may still be carried out.
    """


class Draining(RequestFailed):
    """The server accepts no more jobs."""


class Unavailable(RequestFailed):
    """The server cannot carry out the request now: it lacks space or a worker."""


class Unsupported(RequestFailed):
    """The client or the server is too old for the request."""


class ServerBug(RequestFailed):
    """A bug of the server; its log has more."""


BY_CODE: dict[str, type[RequestFailed]] = {
    "invalid": Invalid,
    "refused": RefusedByPlan,
    "blocked": Blocked,
    "not_found": NotFound,
    "forbidden": Forbidden,
    "too_fast": TooFast,
    "too_large": LimitError,
    "busy": Busy,
    "draining": Draining,
    "unavailable": Unavailable,
    "unsupported": Unsupported,
    "internal": ServerBug,
}


def fresh(error: E) -> E:
    """Return a copy of an error, to be raised.

    Several callers may get the same error, each with a traceback of its own.
    """
    own = copy(error)
    own.__cause__ = error.__cause__
    return own


def invalid(text: str, position: int = -1) -> RequestFailed:
    """Return the error for a request that the client itself refuses; `position`: of the place in its prompt."""
    return failed(Failure(code="invalid", kind="BadMessage", text=text, position=position))


def failed(failure: Failure) -> RequestFailed:
    """Return the error for a `Failure`."""
    return BY_CODE.get(failure.code, RequestFailed)(failure)
