"""Make the style vector of a profile: from the middle of all styles towards the classes that the user would choose.

Of each factor every class counts by how likely it is the best (a softmax of the utilities), against how frequent it is;
and every class has a direction in the style space, in which vectors of its pictures lie (`TasteSpace.directions`). So
what is known of a user shows, and the less is known of a factor, the nearer it stays to the middle of all styles. Who
likes certain colours is given classes that have them: a direction of colours alone lost what the adapter can show.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..styles.encoder import unit
from .preference import Preference
from .space import TasteSpace

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SHARPNESS: Final = 4.0  # factor of the utilities in the softmax
LENGTH: Final = 1.25  # factor of the directions, beyond 1 since the adapter takes up less than all of a style
RANDOM: Final = 0x52414E44  # keeps random profiles apart from numbered styles


def profile_vector(space: TasteSpace, preference: Preference) -> Float32:
    """Return the style vector float32 [W] of what a user likes, of unit mean square."""
    return _vector(space, preference.mean)


def anti_vector(space: TasteSpace, preference: Preference) -> Float32:
    """Return the style vector float32 [W] of what a user likes least: the profile's opposite."""
    return _vector(space, -preference.mean)


def random_vector(space: TasteSpace, preference: Preference, seed: int) -> Float32:
    """Return the style vector float32 [W] of a profile as strong as the user's, of a taste drawn by chance."""
    draw = np.random.Generator(np.random.Philox(key=np.array([seed, RANDOM], np.uint64)))
    mean = preference.mean.copy()
    for group in space.groups:
        mean[group] = draw.permutation(mean[group])
    return _vector(space, mean)


def _vector(space: TasteSpace, utilities: Float64) -> Float32:
    middle, frequent, directions = space.directions
    if not space.factors:  # coordinates are vectors: the direction is that of the utilities themselves
        length = float(np.linalg.norm(utilities))
        return unit(middle + np.sqrt(float(space.width)) * utilities / length) if length else unit(middle)
    first = space.directed
    wanted, utilities = np.zeros(first), utilities[:first] + space.class_colours @ utilities[first:]
    for group in space.groups[: len(space.factors)]:
        scores = SHARPNESS * utilities[group]
        shares = frequent[group] * np.exp(scores - scores.max())
        wanted[group] = shares / shares.sum() - frequent[group]
    return unit(middle + LENGTH * (wanted @ directions))
