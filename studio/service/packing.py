"""A job's spec, its work, its sources and its texts as what the store keeps, and back."""

from __future__ import annotations

from typing import Final

import msgspec

from ...engine.inquiries import Text
from ...engine.spec import GenerationSpec
from ...parameters.job_request import Source
from ...scheduler.admission import Work
from ..store.rows import JobRow

_encoder: Final = msgspec.msgpack.Encoder()
_specs: Final = msgspec.msgpack.Decoder(GenerationSpec)
_works: Final = msgspec.msgpack.Decoder(Work)
_sources: Final = msgspec.json.Decoder(tuple[Source, ...])
_texts: Final = msgspec.json.Decoder(tuple[Text, ...])


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


def pack_sources(sources: tuple[Source, ...]) -> str:
    """Return the pictures that a job starts from as the text that the store keeps; "" for none."""
    return msgspec.json.encode(sources).decode() if sources else ""


def sources_of(row: JobRow) -> tuple[Source, ...]:
    """Return the pictures that a job started from. msgspec.MsgspecError: not what `pack_sources` made."""
    return _sources.decode(row.sources) if row.sources else ()


def pack_texts(texts: tuple[Text, ...]) -> str:
    """Return what a job made in place of pictures as the text that the store keeps; "" for nothing."""
    return msgspec.json.encode(texts).decode() if texts else ""


def texts_of(row: JobRow) -> tuple[Text, ...]:
    """Return what a job made in place of pictures. msgspec.MsgspecError: not what `pack_texts` made."""
    return _texts.decode(row.texts) if row.texts else ()
