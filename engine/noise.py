"""Gaussian noise from a counter, so that a picture's noise depends on (seed, image index, step) and nothing else.

The bits are Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with
key = (seed, image index) and counter = (block, 0, step, DOMAIN), whose stream numpy promises never to change. They
become normal deviates by Box-Muller in float64, rounded to float32. Logarithm, sine and cosine are computed here from
additions, multiplications and divisions, which IEEE 754 defines to the last bit: numpy's own differ in the last bit
between its SIMD paths, and a seed must give the same picture on every machine.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

DOMAIN: Final = 0x53414C4F4E  # "SALON": keeps these streams apart from other uses of the same generator

_LOG_TERMS: Final = 13  # |s| <= 0.172, so the first term left out is below 1e-20 of the sum
_TRIG_TERMS: Final = 10  # |x| <= pi/4, so the first term left out is below 1e-20


def normal(seed: int, image: int, step: int, rows: int, width: int) -> Float32:
    """Standard normal noise of one image at one step, float32 [rows, width], in row-major stream order.

    Element 2i and 2i+1 come from the i-th pair of 64-bit words, so a longer array begins with the shorter one.

    Args:
        seed: 0 <= seed < 2**64.
        image: index of the image within its generation, 0 <= image < 2**64.
        step: 0 for the initial latents; a stochastic solver's step k takes k + 1.
        rows, width: shape of the result.

    Raises:
        ValueError: an argument out of range.
    """
    for name, value in (("seed", seed), ("image", image), ("step", step)):
        if not 0 <= value < 2**64:
            raise ValueError(f"{name}: got {value}, want 0 <= {name} < 2**64")
    if rows < 0 or width < 0:
        raise ValueError(f"noise shape: got [{rows}, {width}], want no negative side")
    count = rows * width
    pairs = (count + 1) // 2
    # numpy steps the counter before the first block, which is part of the defined stream and never changes.
    counter = np.array([0, 0, step, DOMAIN], np.uint64)
    generator = np.random.Philox(key=np.array([seed, image], np.uint64), counter=counter)
    words = generator.random_raw(2 * pairs).reshape(pairs, 2)
    unit = (words >> np.uint64(11)).astype(np.float64)
    radius = np.sqrt(-2.0 * _log((unit[:, 0] + 1.0) * 2.0**-53))  # in (0, 1]: the logarithm is finite
    cosine, sine = _cos_sin_turns(unit[:, 1] * 2.0**-53)
    out = np.empty((pairs, 2), np.float64)
    out[:, 0] = radius * cosine
    out[:, 1] = radius * sine
    return out.reshape(-1)[:count].astype(np.float32).reshape(rows, width)


def _log(x: Float64) -> Float64:
    """Natural logarithm of x in (0, 1], by ln m = 2 artanh((m-1)/(m+1)) for m in [1/sqrt 2, sqrt 2)."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < math.sqrt(0.5)
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    power = exponent.astype(np.float64) - low
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    total = np.zeros_like(s)
    for k in range(_LOG_TERMS - 1, -1, -1):
        total = total * square + 1.0 / (2 * k + 1)
    return np.asarray(2.0 * s * total + power * math.log(2.0), np.float64)


def _cos_sin_turns(turns: Float64) -> tuple[Float64, Float64]:
    """(cos, sin) of 2 pi `turns`, turns in [0, 1): a quarter is split off, Taylor series do the rest."""
    quarters = turns * 4.0
    nearest = np.rint(quarters)
    x = (quarters - nearest) * (math.pi / 2)
    square = x * x
    cosine, sine = np.zeros_like(x), np.zeros_like(x)
    for k in range(_TRIG_TERMS - 1, -1, -1):
        sign = -1.0 if k % 2 else 1.0
        cosine = cosine * square + sign / math.factorial(2 * k)
        sine = sine * square + sign / math.factorial(2 * k + 1)
    sine = sine * x
    quadrant = nearest.astype(np.int64) & 3
    odd = (quadrant & 1).astype(bool)
    c, s = np.where(odd, sine, cosine), np.where(odd, cosine, sine)
    return np.where((quadrant == 1) | (quadrant == 2), -c, c), np.where(quadrant >= 2, -s, s)
