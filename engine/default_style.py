"""Read a checkpoint's default style: the taste that `--s` adds to every picture, and that `--raw` leaves out.

It is data of the checkpoint. `salon.json` names a style vector (a row of a tensor in a file) and, for values of `--s`,
the weight at which the style adapter applies it. Weight 0 means no adapter at all, so that such a picture is bit for
bit the one without a default style.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.bfloat16 import widen
from .checkpoint import file_named
from .errors import MalformedFile
from .safetensors_file import SafetensorsFile

STYLIZE = 100.0  # the value of `--s` when the user gives none


@dataclass(frozen=True, eq=False)
class DefaultStyle:
    """A style vector and how strongly it is applied.

    Attributes:
        vector: float32 [W]; the style adapter's projection turns it into tokens.
        null: float32 [W], the null reference of the unconditional branch.
        words: the style in words.
        points: (`--s`, adapter weight) in rising order of `--s`; the weight is linear between them.
    """

    vector: NDArray[np.float32]
    null: NDArray[np.float32]
    words: str
    points: tuple[tuple[float, float], ...]

    def weight(self, stylize: float = STYLIZE, *, raw: bool = False) -> float:
        """Return the adapter weight for a value of `--s`. With `raw` it is 0, which has no effect at all."""
        if raw:
            return 0.0
        at, weights = zip(*self.points, strict=True)
        return float(np.interp(stylize, at, weights))


def load_default_style(folder: Path, salon: Mapping[str, Any]) -> DefaultStyle | None:
    """Load the default style that `salon.json` (`salon`, read from `folder`) names; None if it names none.

    Raises:
        CheckpointError: the file or the row is missing, the entry is malformed, or the numbers are not finite.
    """
    entry = salon.get("default_style")
    if not entry:
        return None
    path = folder / "salon.json"
    try:
        file = SafetensorsFile(file_named(path, "default_style.file", entry["file"]))
        tensor, row = str(entry["tensor"]), int(entry["row"])
        points = _points(entry["stylize"])
        words = str(entry.get("words", ""))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedFile(f"default style: {error!r}", path=path, key="default_style") from error
    rows = _floats(file, tensor, 2)
    if not 0 <= row < len(rows):
        raise MalformedFile(
            "default style", path=path, key="default_style.row", expected=f"0 to {len(rows) - 1}", found=str(row)
        )
    null = _floats(file, str(entry.get("null", "null")), 1)
    if len(null) != rows.shape[1]:
        expected, found = f"[{rows.shape[1]}]", f"[{len(null)}]"
        raise MalformedFile("null reference", path=file.path, key="null", expected=expected, found=found)
    return DefaultStyle(rows[row], null, words, points)


def _points(value: Sequence[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    """Return the points of a default style. Raise ValueError unless `--s` rises and each weight is from 0 to 10."""
    points = tuple((float(at), float(weight)) for at, weight in value)
    rising = all(a[0] < b[0] for a, b in zip(points[:-1], points[1:], strict=True))
    if not points or not rising or not all(0 <= weight <= 10 for _, weight in points):
        raise ValueError(f"stylize: got {value!r}, want rising [--s, weight of 0 to 10]")
    return points


def _floats(file: SafetensorsFile, key: str, dimensions: int) -> NDArray[np.float32]:
    """Return an array as float32, bfloat16 widened.

    Raise MalformedFile unless it is finite and has so many dimensions.
    """
    values = widen(file.array(key), key)
    if values.ndim != dimensions or not values.size or not np.isfinite(values).all():
        shape = f"finite numbers in {dimensions} dimensions"
        raise MalformedFile("style vectors", path=file.path, key=key, expected=shape, found=str(list(values.shape)))
    return values
