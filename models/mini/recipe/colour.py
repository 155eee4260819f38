"""Colour on three axes: luma, red-blue and green-magenta; and how well a reconstruction keeps each."""

# mypy: disable-error-code="no-any-return"

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

AXES = ("luma", "red_blue", "green_magenta")
MATRIX = np.array([[0.299, 0.587, 0.114], [1.0, 0.0, -1.0], [-0.5, 1.0, -0.5]], np.float32)  # rows: AXES; columns: RGB


def blocks(pictures: Array, side: int = 8) -> Array:
    """Return mean colours of side x side blocks on the three axes: [B, H, W, 3] -> [B, H/side, W/side, 3]."""
    b, h, w, _ = pictures.shape
    means = pictures.reshape(b, h // side, side, w // side, side, 3).mean((2, 4))
    return means @ MATRIX.T


def r_squared(real: Array, rebuilt: Array) -> dict[str, float]:
    """Return 1 - residual variance / variance of the block colours, for each axis."""
    x, y = blocks(real), blocks(rebuilt)
    out = {}
    for i, name in enumerate(AXES):
        residual, total = ((y[..., i] - x[..., i]) ** 2).mean(), x[..., i].var()
        out[name] = float(1 - residual / max(total, 1e-12))
    return out


def psnr(real: Array, rebuilt: Array) -> float:
    """Return the peak signal-to-noise ratio in dB of pictures in 0..1, from the error over all of them together."""
    error = float(((real.astype(np.float64) - rebuilt) ** 2).mean())
    return float(10 * np.log10(1 / max(error, 1e-12)))
