"""Tell colours of pictures by their style vectors, for users who go by nothing but colours.

Each is a number of all pixels in CIELAB, which a straight line through the style space tells well enough. It counts as
two classes, such as dark and light, whose chances are logistic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

COLOURS: Final[Mapping[str, tuple[str, str]]] = {
    "lightness": ("dark", "light"),  # mean of L*
    "green to red": ("greenish", "reddish"),  # mean of a*
    "blue to yellow": ("bluish", "yellowish"),  # mean of b*
    "colourfulness": ("pale", "colourful"),  # mean of the chroma
    "contrast": ("low contrast", "high contrast"),  # deviation of L*
}
STEEPNESS: Final = 1.5  # of the logistic curve, at one deviation over all pictures
RIDGE: Final = 10.0  # added to the squares of style vectors
XYZ: Final = np.array(  # of linear sRGB; source: IEC 61966-2-1
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE: Final = np.array([0.95047, 1.0, 1.08883])  # D65


def measured(pictures: NDArray[np.uint8]) -> Float64:
    """Return float64 [n, 5], what `COLOURS` names, of pictures uint8 [n, H, W, 3] in sRGB. Source: CIE 15, CIELAB."""
    found = []
    for picture in pictures:
        values = picture.reshape(-1, 3).astype(np.float64) / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        xyz = linear @ XYZ.T / WHITE
        x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116).T
        light, red, yellow = 116 * y - 16, 500 * (x - y), 200 * (y - z)
        found.append([light.mean(), red.mean(), yellow.mean(), np.hypot(red, yellow).mean(), light.std()])
    return np.array(found)


def colour_rows(vectors: NDArray[Any], pictures: NDArray[np.uint8]) -> Float32:
    """Return float32 [5, W + 1], weights and bias of each colour's logistic curve, of pictures uint8 [n, H, W, 3] with
    their style vectors [n, W], by ridge regression."""
    values, wanted = np.asarray(vectors, np.float64), measured(pictures)
    middle = values.mean(0)
    off, told = values - middle, (wanted - wanted.mean(0)) / np.maximum(wanted.std(0), 1e-9)
    weights = STEEPNESS * np.linalg.solve(off.T @ off + RIDGE * np.eye(off.shape[1]), off.T @ told).T
    rows: Float32 = np.concatenate([weights, -(weights @ middle)[:, None]], axis=1).astype(np.float32)
    return rows
