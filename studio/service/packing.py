"""A job's spec and its work as the bytes that the store keeps, and back."""

from __future__ import annotations

from typing import Final

import msgspec

from ...engine.spec import GenerationSpec
from ...scheduler.admission import Work
from ..store.rows import JobRow

_encoder: Final = msgspec.msgpack.Encoder()
_specs: Final = msgspec.msgpack.Decoder(GenerationSpec)
_works: Final = msgspec.msgpack.Decoder(Work)


def pack(value: GenerationSpec | Work) -> bytes:
    """Return the bytes for the store."""
    return _encoder.encode(value)


def spec_of(row: JobRow) -> GenerationSpec:
    """Return what was asked for. msgspec.MsgspecError, SpecError: not what `pack` made, or no longer allowed."""
    return _specs.decode(row.spec)


def work_of(row: JobRow) -> Work:
    """Return what the job is on the price list. Raises as `spec_of`."""
    return _works.decode(row.work)
