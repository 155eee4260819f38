"""Every error that the studio raises, as one tree.

SalonError
└── StudioError
    ├── JobFailed       the job ended without pictures; says why
    │   └── JobBlocked  its pictures must not be shown; names the rule
    ├── JobCancelled    the job was cancelled, or the studio closed before it was done
    ├── WrongTimeout    a time to wait that is no number of seconds from 0; also a ValueError
    ├── JobTimeout      the job is not done yet, and the caller did not want to wait longer
    ├── StudioClosed    a request to a studio that is closed, or that was made before a fork
    ├── WorkerLost      no worker is left that could do it
    ├── ThreadUnavailable   the system gives no further thread
    ├── ReferenceRefused    a file that is referred to and is no picture, or cannot be read
    ├── TasteRefused    a profile, a code, an event or a pair that is not one that the account can use so
    ├── PolicyError     a policy that cannot be opened, or whose answer is no decision
    ├── EndpointError   a service of the operator's that does not answer, or not so that it can be read
    ├── GreenThreads    gevent or eventlet has replaced threads where real ones are needed
    └── StoreError          jobs, pictures and ledger entries on disk
        ├── StoreMissing    a package that the store needs is not installed
        ├── StoreMismatch   not a store that this version can open
        ├── StoreInUse      another server has it open
        ├── StoreRefused    a write that contradicts what is stored; nothing of its batch was written
        ├── StoreFull       no space is left, on disk or in the database
        ├── StoreLocked     another process locked the database for longer than we wait
        ├── StoreLost       the database or the folder cannot be reached
        ├── StoreBroken     what is stored is damaged
        ├── StoreBusy       too many writes wait
        ├── StoreClosed     a write after the end
        ├── BlobMissing     no picture is stored under this digest
        └── QuotaExceeded   the account has no space left for pictures
"""

from __future__ import annotations

from ..errors import SalonError


class StudioError(SalonError):
    """Base of the studio's errors."""


class JobFailed(StudioError):
    """The job ended without pictures.

    Attributes:
        kind: the error's type, like "NumericalError", as far as it is known.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class JobBlocked(JobFailed):
    """The pictures of the job must not be shown. `kind` names the rule."""


class JobCancelled(StudioError):
    """The job was cancelled."""


class JobTimeout(StudioError):
    """The job is not done yet."""


class PolicyError(StudioError):
    """A policy cannot be opened, or its answer is no decision."""


class EndpointError(StudioError):
    """A service of the operator's does not answer, or not in a way that can be read."""


class ReferenceRefused(StudioError):
    """A file that a request refers to is no picture, or cannot be read."""


class TasteRefused(StudioError):
    """A profile, a taste code, an event or a pair is not one that the account can use in this way."""


class WrongTimeout(StudioError, ValueError):
    """A time to wait is no number of seconds from 0."""


class StudioClosed(StudioError):
    """A request came to a studio that is closed, or that was made before a fork."""


class WorkerLost(StudioError):
    """No worker is left that could do the job."""


class ThreadUnavailable(StudioError):
    """The system gives no further thread. What was to be started is as it was before."""


class GreenThreads(StudioError):
    """Coroutines of gevent or eventlet stand in for threads where real ones are needed."""


class StoreError(StudioError):
    """Base of the store's errors."""


class StoreMissing(StoreError, ImportError):
    """A package that the store needs is not installed."""


class StoreMismatch(StoreError):
    """This version cannot open the store, or it is none."""


class StoreInUse(StoreError):
    """Another server has the store open."""


class StoreRefused(StoreError):
    """A write contradicts what is stored, like a second job of one id. Nothing of its batch was written."""


class StoreFull(StoreError):
    """No space is left. Nothing was written; try again when there is some."""


class StoreLocked(StoreError):
    """Another process locked the database for longer than we wait. Nothing was written."""


class StoreLost(StoreError):
    """The database or the folder cannot be reached. Nothing was written, as far as is known."""


class StoreBroken(StoreError):
    """The stored data are damaged."""


class StoreBusy(StoreError):
    """Too many writes wait; try again later."""


class StoreClosed(StoreError):
    """A write came after the end."""


class BlobMissing(StoreError):
    """No picture is stored under this digest."""


class QuotaExceeded(StoreError):
    """The account has no space left for pictures."""
