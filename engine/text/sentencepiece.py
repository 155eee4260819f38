"""Read sentencepiece's model files, such as T5's spiece.model, as far as a tokenizer needs.

The file is one protobuf message (sentencepiece_model.proto): pieces with their scores, how the text is normalised, and
which piece stands for the unknown. Protobuf is a sequence of numbered fields, so no library is needed to read it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import MalformedFile

UNIGRAM: Final = 1  # trainer_spec.model_type
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3  # fields of ModelProto
_PIECE, _SCORE = 1, 2  # of SentencePiece
_MODEL_TYPE, _BYTE_FALLBACK, _UNK_ID = 3, 35, 40  # of TrainerSpec
_CHARSMAP = 2  # of NormalizerSpec


@dataclass(frozen=True)
class SentencePieces:
    """The contents of a model file.

    Attributes:
        pieces: text and score (a logarithm of its probability) of each piece, by id.
        unknown: id of the piece for what no piece covers.
        charsmap: the compiled map of characters that normalisation replaces; empty: none.
    """

    pieces: tuple[tuple[str, float], ...]
    unknown: int
    charsmap: bytes


def read_pieces(path: Path, data: bytes) -> SentencePieces:
    """Read a model file.

    Args:
        path: the file, which errors name.
        data: its bytes.

    Raises:
        MalformedFile: it is no such file, or of a kind that Salon does not read.
    """
    pieces: list[tuple[str, float]] = []
    kind, unknown, fallback, charsmap = UNIGRAM, 0, 0, b""
    try:
        for number, value in _fields(data):
            if number == _PIECES and isinstance(value, bytes):
                part = dict(_fields(value))
                text, score = part.get(_PIECE, b""), part.get(_SCORE, b"\0\0\0\0")
                if not isinstance(text, bytes) or not isinstance(score, bytes):
                    raise ValueError("a piece without its text")
                pieces.append((text.decode(), struct.unpack("<f", score)[0]))
            elif number == _TRAINER and isinstance(value, bytes):
                settings = dict(_fields(value))
                kind = int(settings.get(_MODEL_TYPE, UNIGRAM))
                unknown, fallback = int(settings.get(_UNK_ID, 0)), int(settings.get(_BYTE_FALLBACK, 0))
            elif number == _NORMALIZER and isinstance(value, bytes):
                found = dict(_fields(value)).get(_CHARSMAP, b"")
                charsmap = found if isinstance(found, bytes) else b""
    except (ValueError, IndexError, struct.error) as error:
        raise MalformedFile(
            f"no sentencepiece model ({error})", path=path, remedy="download the file again, or add tokenizer.json"
        ) from error
    if kind != UNIGRAM or fallback or not 0 <= unknown < len(pieces):
        raise MalformedFile(
            "a sentencepiece model of another kind",
            path=path,
            expected="a unigram model without byte fallback",
            found=f"model_type {kind}, byte_fallback {fallback}, {len(pieces)} pieces, unk_id {unknown}",
            remedy="add tokenizer.json, which transformers writes for it",
        )
    return SentencePieces(tuple(pieces), unknown, charsmap)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a message: whole numbers as int, all else as bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of wire type {kind}")
        if at + size > len(data):
            raise ValueError("it is cut off")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, lowest first, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
