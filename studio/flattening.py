"""Flatten a picture to its shapes: shades on white, so that neither its colours nor its light are left."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]

BORDER: Final = 32  # the border is a 32th of a side, at least a pixel, and says what the background is
DARKEST: Final = 55  # of the shades
LUMINANCE: Final = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
FAR: Final = 98.0  # percentile of the distances from the background that becomes the darkest shade


def flattened(pixels: UInt8) -> UInt8:
    """Return shades uint8 [height, width, 3] of a picture of that shape: white where it has the colour of its border,
    the darker the further its colour is from that, and up to twice as dark where it is dark itself."""
    height, width = pixels.shape[:2]
    high, wide = max(1, height // BORDER), max(1, width // BORDER)
    inside = np.zeros((height, width), bool)
    inside[high : height - high, wide : width - wide] = True
    values = pixels.astype(np.float64)
    background = np.median(values[~inside], axis=0)
    apart = np.sqrt(((values - background) ** 2).sum(axis=-1))
    share = np.clip(apart / max(1.0, float(np.percentile(apart, FAR))), 0.0, 1.0)
    share *= 1 - values @ LUMINANCE / (2 * 255)
    shades: UInt8 = np.rint(255 - (255 - DARKEST) * share).astype(np.uint8)
    return np.repeat(shades[..., None], 3, axis=2)
