"""Make the style vector of a profile: the middle of those points of the style space that the user would choose.

Numbered styles are spread over the whole space. Each counts by how likely it is the best of all (a softmax of the
utilities), so the vector lies where styles lie, and the less is known of a user, the nearer it is to the middle of all.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .preference import Preference
from .space import TasteSpace

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SHARPNESS: Final = 2.0  # factor of the utilities in the softmax
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
    vectors, coordinates = space.points
    scores = SHARPNESS * (coordinates @ utilities)
    weights = np.exp(scores - scores.max())
    return space.mean_vector(vectors, weights.tolist())
