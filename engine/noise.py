"""Make Gaussian noise from a counter, so that a picture's noise depends on (seed, image index, step) and nothing else.

The bits are Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with key = (seed,
image index) and counter = (block, 0, step, DOMAIN). numpy promises never to change this stream. Box-Muller turns them
into normal deviates in float64, with `kernels.elementary`, rounded to float32. numpy's own functions differ in the last
bit between its SIMD paths, and a seed must give the same picture on every machine.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..kernels.elementary import cos_sin_turns, log

Float32 = NDArray[np.float32]

DOMAIN: Final = 0x53414C4F4E  # "SALON": keeps these streams apart from other uses of the same generator


def normal(seed: int, image: int, step: int, rows: int, width: int) -> Float32:
    """Return standard normal noise of one image at one step, float32 [rows, width], in row-major stream order.

    Elements 2i and 2i+1 come from the i-th pair of 64-bit words, so a longer array begins with the shorter one.

    Args:
        seed: 0 <= seed < 2**64.
        image: index of the image within its generation, 0 <= image < 2**64.
        step: 0 for the initial latents; a stochastic solver's step k takes k + 1.
        rows, width: shape of the result.

    Raises:
        ValueError: an argument is out of range.
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
    radius = np.sqrt(-2.0 * log((unit[:, 0] + 1.0) * 2.0**-53))  # in (0, 1]: the logarithm is finite
    cosine, sine = cos_sin_turns(unit[:, 1] * 2.0**-53)
    out = np.empty((pairs, 2), np.float64)
    out[:, 0] = radius * cosine
    out[:, 1] = radius * sine
    return out.reshape(-1)[:count].astype(np.float32).reshape(rows, width)
