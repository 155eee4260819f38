"""Every error that the studio raises, as one tree.

SalonError
└── StudioError
    ├── JobFailed       the job ended without pictures; says why
    ├── JobCancelled    the job was cancelled, or the studio closed before it was done
    ├── JobTimeout      the job is not done yet, and the caller did not want to wait longer
    ├── StudioClosed    a request to a studio that is closed
    ├── WorkerLost      no worker is left that could do it
    └── WorkerMismatch  workers of one studio that would not make the same pictures
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


class JobCancelled(StudioError):
    """The job was cancelled."""


class JobTimeout(StudioError):
    """The job is not done yet."""


class StudioClosed(StudioError):
    """A request to a studio that is closed."""


class WorkerLost(StudioError):
    """No worker is left that could do it."""


class WorkerMismatch(StudioError):
    """Workers of one studio that would not make the same pictures."""
