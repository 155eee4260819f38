"""Define what every file of named arrays has in common: names and shapes at once, numbers when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import MissingKey
from .quantised.coded import Coded
from .quantised.numbers import narrowed as narrowed_copy


@dataclass(frozen=True)
class TensorInfo:
    """The place of an array: bytes `start` to `stop` of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class TensorFile(ABC):
    """A file of named arrays.

    Attributes:
        path: the path of the file.
        tensors: name -> `TensorInfo`. Shapes are those of the numbers, also where the file keeps them in fewer bits.
            What only helps to read others, such as scales, is not among them.
        coded: name -> how the array is kept, for those whose numbers have to be computed.
        notes: sentences about the file that a user may want to know.
    """

    path: Path
    tensors: dict[str, TensorInfo]
    coded: dict[str, Coded]
    notes: tuple[str, ...] = ()

    def array(self, key: str, rows: tuple[int, int] | None = None, *, narrowed: bool = False) -> NDArray[Any]:
        """Return an array, which must not be written: a view of the file where it has these numbers as they are.

        Args:
            rows: range of rows (of the first axis) of it; None: all.
            narrowed: whether numbers that the file does not have as they are come as bfloat16 bits, which are half of
                the memory. Otherwise they are float32.

        Returns:
            float16, float32, float64, or uint16 holding bfloat16 bits.

        Raises:
            MissingKey: the file has no such array.
            WrongDtype: the array's number format is none of weights.
            CheckpointError: it is quantised, and its scales are not right.
        """
        if key not in self.tensors:
            raise MissingKey("no such array", path=self.path, key=key)
        if key in self.coded:
            return self.coded[key].read(rows, narrowed=narrowed)
        whole = self._plain(key)
        part = whole if rows is None else whole[rows[0] : rows[1]]
        return narrowed_copy(part) if narrowed and part.dtype == np.float16 else part

    @abstractmethod
    def _plain(self, key: str) -> NDArray[Any]:
        """Return a read-only view of an array that is not coded."""
