"""Draw the first steps at half the sides, with a quarter of the tokens: progressive resolution.

What a picture shows is decided while the noise is strong, and that does not need its pixels. A model that was taught
small pictures puts things better there, too. The small part ends, like a picture that stops part-way, at the clean
estimate; that is enlarged, new noise of the next step's level is added to it, and the rest goes on like a picture that
starts from another one. Solver and batch read the table alone, so this holds for every solver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .codecs import LatentCodec
    from .generation import Generation
    from .info import Architecture
    from .spec import GenerationSpec

FACTOR: Final = 2  # of the sides

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]


def half(grid: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) in tokens of small images of a grid; of odd sides, half a token more."""
    return -(-grid[0] // FACTOR), -(-grid[1] // FACTOR)


def is_due(generation: Generation) -> bool:
    """Return whether a generation's images are small, and its next evaluation is of the whole size."""
    at = generation.position
    if generation.whole is None or at == len(generation.evaluations):
        return False
    return generation.evaluations[at].step >= generation.spec.small_steps


def grow(ops: Any, codec: LatentCodec, sizes: Architecture, generation: Generation) -> None:
    """Enlarge the images of a generation that `is_due`, and give them the noise of their next evaluation.

    The noise is the one that a stochastic solver's last small step would have added, had it not ended there.
    """
    spec, grid, whole = generation.spec, generation.grid, generation.whole
    assert whole is not None, "small images"
    tokens = np.split(ops.numpy(generation.latents), spec.images)
    clean = np.concatenate([_cut(codec.enlarged(each, grid), grid, whole) for each in tokens])
    level = sizes.spacing.of(spec.solver).sigmas(spec.steps, whole[0] * whole[1], spec.shift)[spec.small_steps]
    generation.grid, generation.whole, generation.batch = whole, None, None
    generation.velocity = generation.base = None
    generation.kept = ()
    noised = (np.float32(1) - level) * clean + level * generation.noise(spec.small_steps)
    generation.latents = ops.array(noised, "float32")


def enlarged_preview(pixels: UInt8, spec: GenerationSpec) -> UInt8:
    """Return small pictures uint8 [images, h, w, 3] as they are shown: of a spec's size, each pixel as a square."""
    return pixels.repeat(FACTOR, axis=1).repeat(FACTOR, axis=2)[:, : spec.height, : spec.width]


def _cut(tokens: Float32, grid: tuple[int, int], whole: tuple[int, int]) -> Float32:
    """Return what an enlarged image has of the whole grid: all, but for the last row or column beyond odd sides."""
    height, width = (FACTOR * side for side in grid)
    return tokens.reshape(height, width, -1)[: whole[0], : whole[1]].reshape(whole[0] * whole[1], -1)
