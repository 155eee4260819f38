"""Pack a job's spec and its work into the bytes that the store keeps, and unpack them."""

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
    """Pack a value into bytes for the store."""
    return _encoder.encode(value)


def spec_of(row: JobRow) -> GenerationSpec:
    """Unpack a row's spec.

    Raise msgspec.MsgspecError or SpecError if `pack` did not make it, or it is no longer allowed.
    """
    return _specs.decode(row.spec)


def work_of(row: JobRow) -> Work:
    """Unpack a row's work, by which its price is found. Raises as `spec_of`."""
    return _works.decode(row.work)
