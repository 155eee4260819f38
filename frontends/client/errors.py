"""Every error of the client, as one tree.

SalonError
└── ClientError
    │                            (itself: this machine has no thread or descriptor for a client at the moment)
    ├── ClientClosed             used after `close`, after a fork, from a second event loop, or after an error that
    │                            nobody foresaw in the client itself, which is then its cause
    ├── Disconnected             no server in time: its address, what was seen, and what to look at
    │   └── KeyRefused           the server is there, and does not let this key in
    ├── TimedOut                 the server is there, and the answer, event or end of a job did not come in time
    ├── BadAnswer                the server said something that does not fit
    ├── BadPicture               a picture whose bytes do not have its sha256
    ├── NoPictures               a job ended without pictures; has the `JobInfo`
    │   ├── JobFailed
    │   ├── JobCancelled
    │   └── JobBlocked
    └── RequestFailed            the server did not do it, and says why: one class for each `Failure.code`
        ├── Invalid              invalid
        ├── RefusedByPlan        refused
        ├── NotFound             not_found
        ├── Forbidden            forbidden
        ├── TooFast              too_fast
        ├── LimitError           too_large (`TooLarge` is its name of before)
        ├── Busy                 busy
        ├── Draining             draining
        ├── Unavailable          unavailable
        ├── Unsupported          unsupported
        └── ServerBug            internal

What is wrong with an address or a key file is an error of `frontends/wire/errors.py`.
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
    """Used after `close`, after a fork, from a second event loop, or after an error that nobody foresaw in the client
    itself, which is then its cause."""


class Disconnected(ClientError):
    """No server in time. What was asked may have been done, if the connection broke after it was sent."""


class KeyRefused(Disconnected):
    """The server is there, and does not let this key in."""


class TimedOut(ClientError):
    """The server is there, and the answer, event or end of a job did not come in time."""


class BadAnswer(ClientError):
    """The server said something that does not fit."""


class BadPicture(ClientError):
    """A picture whose bytes do not have its sha256."""


class NoPictures(ClientError):
    """A job ended without pictures.

    Attributes:
        info: the job.
        reason: why, in words; may be empty.
    """

    word: ClassVar[str] = "ended"

    def __init__(self, info: JobInfo) -> None:
        super().__init__(f"job {info.job} {self.word}" + (f": {info.reason}" if info.reason else ""))
        self.info = info
        self.reason = info.reason

    def __reduce__(self) -> tuple[type[NoPictures], tuple[JobInfo]]:
        return type(self), (self.info,)


class JobFailed(NoPictures):
    """It failed."""

    word = "failed"


class JobCancelled(NoPictures):
    """It was cancelled."""

    word = "was cancelled"


class JobBlocked(NoPictures):
    """Its pictures were made, and are not shown."""

    word = "was blocked"


class RequestFailed(ClientError):
    """The server did not do it; nothing of it was done.

    Attributes:
        code: of the `Failure`; an unknown one, of a newer server, is of this class itself.
        kind: name of the server's error.
        retry_after_s: seconds after which it may work; 0: not known.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self._failure = failure
        self.code = failure.code
        self.kind = failure.kind
        self.retry_after_s = failure.retry_after_ms / 1000

    def __reduce__(self) -> tuple[type[RequestFailed], tuple[Failure]]:
        return type(self), (self._failure,)


class Invalid(RequestFailed):
    """Something about the request is wrong."""


class RefusedByPlan(RequestFailed):
    """The account's plan, its GPU time or its quota does not allow it."""


class NotFound(RequestFailed):
    """There is no such thing, or it belongs to somebody else."""


class Forbidden(RequestFailed):
    """Operators only; or the account is blocked, or unknown."""


class TooFast(RequestFailed):
    """Too many requests, until the deadline."""


class LimitError(RequestFailed):
    """More than the server or its engine takes; the engine has an error of the same name."""


TooLarge = LimitError  # its name of before


class Busy(RequestFailed):
    """The server had too much to do, until the deadline."""


class Draining(RequestFailed):
    """The server takes no more jobs."""


class Unavailable(RequestFailed):
    """The server cannot do it now: no space, no worker."""


class Unsupported(RequestFailed):
    """One of the two sides is too old for it."""


class ServerBug(RequestFailed):
    """A bug of the server; its log has more."""


BY_CODE: dict[str, type[RequestFailed]] = {
    "invalid": Invalid,
    "refused": RefusedByPlan,
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
    """A copy to raise: several may get the same error, each with a traceback of its own."""
    own = copy(error)
    own.__cause__ = error.__cause__
    return own


def invalid(text: str) -> RequestFailed:
    """The error for a request that is refused on this side already."""
    return failed(Failure(code="invalid", kind="BadMessage", text=text))


def failed(failure: Failure) -> RequestFailed:
    """The error of a `Failure`."""
    return BY_CODE.get(failure.code, RequestFailed)(failure)
