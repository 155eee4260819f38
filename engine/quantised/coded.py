"""Arrays that a file keeps in fewer bits: their shape and format, and their numbers, decoded part by part."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Float32
from .numbers import CHUNK, empty, narrow

# Writes rows start to stop of the array, as a matrix, to an array [stop - start, columns].
Decode = Callable[[int, int, NDArray[Any]], None]


@dataclass(frozen=True, eq=False)
class Coded:
    """An array whose numbers have to be computed.

    Attributes:
        format: what it is kept as, in a few words for people.
        shape: of its numbers.
        stored: bytes of it in the file, its scales included.
        begin: reads what the whole array shares, such as scales, and returns the function that decodes rows. Nothing is
            read before. Its argument says whether rows are written as bfloat16 bits, else as float32.
        unit: rows that are best decoded together.
    """

    format: str
    shape: tuple[int, ...]
    stored: int
    begin: Callable[[bool], Decode]
    unit: int = 1

    def read(self, rows: tuple[int, int] | None = None, *, narrowed: bool = False) -> NDArray[Any]:
        """Return numbers, float32, or bfloat16 bits as uint16 if `narrowed`.

        Args:
            rows: range of rows (of the first axis); None: all.

        Raises:
            CheckpointError: the scales are not what the format wants.
        """
        length, columns = matrix(self.shape)
        start, stop = (0, length) if rows is None else rows
        out = empty((stop - start, columns), np.uint16 if narrowed else np.float32)
        decode, step = self.begin(narrowed), max(1, CHUNK // max(1, columns * self.unit)) * self.unit
        for at in range(start, stop, step):
            until = min(at + step, stop)
            decode(at, until, out[at - start : until - start])
        out.flags.writeable = False
        return out.reshape(self.shape if rows is None else (stop - start, *self.shape[1:]))


class CodedTable:
    """Rows of an array [V, D], each decoded when it is looked up: a prompt's words are few of a vocabulary.

    Attributes:
        shape: (V, D).
    """

    def __init__(self, coded: Coded) -> None:
        self._coded = coded
        self.shape: Final = coded.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, ids: Sequence[int] | NDArray[Any]) -> Float32:
        """Return the rows of these ids, float32 [len(ids), D]."""
        decode, numbers = self._coded.begin(False), np.asarray(ids)
        out = np.empty((numbers.size, self.shape[1]), np.float32)
        for at, number in enumerate(numbers.reshape(-1).tolist()):
            decode(number, number + 1, out[at : at + 1])
        return out.reshape(*numbers.shape, self.shape[1])


def write(values: Float32, out: NDArray[Any]) -> None:
    """Write float32 values to an array of float32, or of uint16 as bfloat16 bits."""
    if out.dtype == np.uint16:
        narrow(values, out)
    else:
        out[...] = values


def matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and columns of an array that is read as a matrix: its first axis, and all others."""
    return (shape[0], math.prod(shape[1:])) if shape else (1, 1)
