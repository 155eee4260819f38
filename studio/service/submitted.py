"""What a submit is while it is accepted, and once it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ...errors import complaint
from .errors import KeyReused

if TYPE_CHECKING:
    from ...engine.spec import GenerationSpec
    from ...engine.start import PictureForm
    from ...scheduler.admission import Work
    from ...scheduler.tickets import Lane
    from ..job import UInt8
    from ..prompt.request import ResolvedRequest
    from ..store.rows import JobRow
    from .job_record import JobRecord


class Submitted(NamedTuple):
    """The job of a request; `existing`: it was there already, under the same key."""

    job: JobRecord
    existing: bool


class NewJob(NamedTuple):
    """A job that can be started: its row, what to make, what that is on the price list, where, of which pictures, and
    how a prompt of the language was understood."""

    row: JobRow
    spec: GenerationSpec
    work: Work
    lane: Lane
    references: Mapping[PictureForm, UInt8]
    resolved: ResolvedRequest | None = None


def reused(key: str) -> KeyReused:
    """Return the error for a key that another request has."""
    text = complaint("key", f"{key!r} again, with another request", "a key for each job", "make a new one")
    return KeyReused(text)
