"""Choose numbered styles: every number is a fixed point of a model's style space.

The point is a mixture of two of the styles that the checkpoint names, moved towards one class of each other factor
(palette, background, finish) along the direction of the file's classifier for it. Philox4x64-10, whose stream never
changes, draws the choices and the amounts from the number, so a number is the same style of a model for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .encoder import unit

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

DOMAIN: Final = 0x5354594C45  # "STYLE": keeps these streams apart from other uses of the same generator
OWN: Final = 0.7  # least share of the first of the two styles
STRIDE: Final = 1.0  # length of the step towards a class, beside a vector of unit mean square
SAME: Final = "style"  # the factor whose classes are the named styles themselves


@dataclass(frozen=True, eq=False)
class Basis:
    """The vectors that numbered styles are made of.

    Attributes:
        styles: float64 [n, W], of unit mean square.
        directions: factor -> float64 [classes, W], of unit mean square.
    """

    styles: Float64
    directions: Mapping[str, Float64]

    @classmethod
    def of(cls, vectors: Float32, heads: Mapping[str, Float32]) -> Basis:
        """Make a basis of named styles [n, W] and the classifiers of factors [classes, W]."""
        styles = np.stack([unit(row.astype(np.float64)).astype(np.float64) for row in vectors])
        directions = {}
        for factor in sorted(heads.keys() - {SAME}):
            weight = heads[factor].astype(np.float64)
            weight -= np.add.reduce(weight, axis=0) / len(weight)
            directions[factor] = np.stack([unit(row).astype(np.float64) for row in weight])
        return cls(styles, directions)

    def vector(self, number: int) -> Float32:
        """Return the style vector float32 [W] of a number, of unit mean square."""
        counter = np.array([0, 0, 0, DOMAIN], np.uint64)
        key = np.array([number, len(self.styles)], np.uint64)
        words = np.random.Philox(key=key, counter=counter).random_raw(3 + len(self.directions))
        draws = [float(word >> np.uint64(11)) * 2.0**-53 for word in words]  # [0, 1)
        first = int(draws[0] * len(self.styles))
        second = (first + 1 + int(draws[1] * (len(self.styles) - 1))) % len(self.styles)
        own = OWN + (1.0 - OWN) * draws[2]
        vector = own * self.styles[first] + (1.0 - own) * self.styles[second]
        for draw, classes in zip(draws[3:], self.directions.values(), strict=True):
            vector = vector + STRIDE * classes[int(draw * len(classes))]
        return unit(vector)
