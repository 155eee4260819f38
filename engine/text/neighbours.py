"""Replace words that a checkpoint has not been trained on by the nearest of those that it knows.

A small model has learned to draw things by their names, and only near those names does the text encoder's space mean
anything to it. So any other subject ("puppy", "a cat riding a bicycle") is replaced by the name whose mean state is
nearest in angle ("dog", "cat"), if that is near enough, and a warning tells the user. The data are the checkpoint's:
`text.neighbours` of `salon.json` names the vectors, `vocabulary.concepts` the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.bfloat16 import widen
from ..checkpoint import file_named
from ..config import Config
from ..errors import MalformedFile, WrongShape
from ..safetensors_file import SafetensorsFile
from .clauses import normalise, without_article

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Known subjects and their vectors.

    Attributes:
        names: names of the subjects, normalised, without an article.
        vectors: float32 [N, E], the names' pooled vectors as the model reads them, of length 1.
        least: smallest cosine at which a name stands in for other words.
    """

    names: tuple[str, ...]
    vectors: Float32
    least: float

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    def knows(self, subject: str) -> bool:
        """Return whether a normalised subject is one of the names, with or without an article before it."""
        return without_article(subject) in self._known

    def nearest(self, pooled: Float32) -> str | None:
        """Return the name nearest to a pooled vector [E]; None if no name is near enough."""
        found = self.ranked(pooled, 1)
        return found[0][0] if found and found[0][1] >= self.least else None

    def ranked(self, pooled: Float32, most: int) -> list[tuple[str, float]]:
        """Return up to `most` (name, cosine) of a pooled vector [E], the nearest first; none for a vector of zeros."""
        wide = pooled.astype(np.float64)
        length = float(_lengths(wide))
        if length == 0.0:
            return []
        cosines = (self.vectors * (wide / length)).sum(axis=-1)
        return [(self.names[at], float(cosines[at])) for at in np.argsort(-cosines, kind="stable")[:most]]


def load_neighbours(salon: Config, width: int) -> Neighbours | None:
    """Load the neighbours that `salon.json` names for a text encoder of this width; None if it names none.

    Raises:
        CheckpointError: the file is missing, or its vectors are not one finite row for every name.
    """
    entry = salon.mapping("text").get("neighbours")
    if not entry:
        return None
    try:
        path = file_named(salon.path, "text.neighbours.file", entry["file"])
        tensor, least = entry["tensor"], entry["least"]
        names = tuple(normalise(name) for name in names_of(salon.mapping("vocabulary")))
        if type(least) not in (int, float) or not -1 <= least <= 1:
            raise ValueError(f"got the least cosine {least!r}, want -1 to 1")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedFile(f"neighbours: {error!r}", path=salon.path, key="text.neighbours") from error
    vectors = widen(SafetensorsFile(path).array(tensor), tensor)
    if vectors.shape != (len(names), width):
        expected, found = f"[{len(names)}, {width}], a row for every name", str(list(vectors.shape))
        raise WrongShape("wrong neighbours", path=path, key=tensor, expected=expected, found=found)
    lengths = _lengths(vectors.astype(np.float64))[:, None]
    if not names or not np.isfinite(vectors).all() or lengths.min() <= 0:
        raise MalformedFile("wrong neighbours", path=path, key=tensor, expected="finite rows, none of them zero")
    return Neighbours(names, (vectors / lengths).astype(np.float32), float(least))


def names_of(vocabulary: Mapping[str, Any]) -> Sequence[str]:
    """Return every name of every concept, in the order of the rows."""
    return [name for c in vocabulary.get("concepts", ()) for name in (c["name"], *c["synonyms"])]


def _lengths(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lengths of the rows, by sums of products.

    The bits of a matrix product, and so the chosen name, would depend on the machine.
    """
    lengths: NDArray[np.float64] = np.sqrt((vectors * vectors).sum(axis=-1))
    return lengths
