"""Back projection: a picture of twice the size that, brought down again, is the one that it was made of.

What is drawn adds detail; its errors are what differs once 2 x 2 pixels are averaged, and they are taken off again
(Irani and Peleg, 1991), first smoothly, so that no blocks are seen, and what is then left in each block at once. All
sums and products are of float64 in one order, so that pixels are the same on every machine.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
Float64 = NDArray[np.float64]

SMOOTH: Final = 6  # rounds of smooth corrections


def projected(pictures: UInt8, source: UInt8) -> UInt8:
    """Return pictures uint8 [images, 2h, 2w, 3] whose averages of 2 x 2 pixels are the source uint8 [h, w, 3], as
    nearly as whole numbers from 0 to 255 come."""
    return np.stack([_projected(picture, source.astype(np.float64)) for picture in pictures])


def halved(picture: NDArray[Any]) -> Float64:
    """Return the averages float64 [h, w, C] of 2 x 2 pixels of a picture [2h, 2w, C]."""
    whole = picture.astype(np.float64)
    average: Float64 = (whole[::2, ::2] + whole[::2, 1::2] + whole[1::2, ::2] + whole[1::2, 1::2]) / 4
    return average


def _projected(picture: UInt8, source: Float64) -> UInt8:
    made = picture.astype(np.float64)
    for round_ in range(SMOOTH + 1):
        missing = source - halved(made)
        made += _smooth(missing) if round_ < SMOOTH else missing.repeat(2, axis=0).repeat(2, axis=1)
        np.clip(made, 0.0, 255.0, out=made)
    return np.rint(made).astype(np.uint8)


def _smooth(small: Float64) -> Float64:
    """Return [2h, 2w, C] of [h, w, C], between whose pixels it is linear."""
    return _doubled(_doubled(small).swapaxes(0, 1)).swapaxes(0, 1)


def _doubled(small: Float64) -> Float64:
    """Return [2h, w, C] of [h, w, C], linear along the first axis."""
    padded = np.pad(small, ((1, 1), (0, 0), (0, 0)), mode="edge")
    before, here, after = padded[:-2], padded[1:-1], padded[2:]
    both = np.stack([0.25 * before + 0.75 * here, 0.75 * here + 0.25 * after], axis=1)
    return both.reshape(2 * len(small), *small.shape[1:])
