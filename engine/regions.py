"""Where a generation keeps its start picture: outside of a mask latents follow the picture, and pixels are its own.

During the steps the tokens that no new pixel lies in are, after every evaluation, the picture's own with just as much
of the image's own noise as the others have left. So what is drawn inside fits what stands around it; a model that was
trained to fill pictures knows by itself what stands there, and is left alone. At the end pixels are put together: new
ones where the cover is 255, the picture's to the bit where it is 0, and both between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import complaint
from ..kernels.ops import Ops
from ..kernels.segments import Segments
from .errors import SpecError
from .generation import Generation
from .solvers import Evaluation
from .start import Start

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Region:
    """What holds the images of a generation to their picture.

    Attributes:
        pixels: the picture, uint8 [height, width, 3].
        cover: uint8 [height, width]: 255 where pixels are new, 0 where they are the picture's.
        segments: one, all rows of the generation.
        fresh: backend array float32 [images * rows, 1]: 1 for tokens with new pixels, 0 for others.
        tokens, noise: backend arrays float32 [images * rows, C]: the picture's clean latents, and the images' noise.
        held: whether latents are held, too; False: the model itself knows the picture.
    """

    pixels: UInt8
    cover: UInt8
    segments: Segments
    fresh: Any
    tokens: Any
    noise: Any
    held: bool = True

    @classmethod
    def of(
        cls, ops: Ops[Any, Any], pixels: UInt8, cover: UInt8, tokens: Float32, noise: Float32, grid: tuple[int, int],
        held: bool = True,
    ) -> Region:  # fmt: skip
        """Make the region of a generation with `noise` [images * rows, C], of a picture's `tokens` [rows, C]."""
        images = len(noise) // len(tokens)
        return cls(
            pixels=pixels,
            cover=cover,
            segments=ops.segments([len(noise)]),
            fresh=ops.array(np.tile(fresh_tokens(cover, grid), (images, 1)), "float32"),
            tokens=ops.array(np.tile(tokens, (images, 1)), "float32"),
            noise=ops.array(noise, "float32"),
            held=held,
        )


def new_pixels(start: Start, mask: UInt8 | None, size: tuple[int, int]) -> UInt8:
    """Return uint8 [height, width]: how much of each pixel is new, from 0 to 255, before any feather.

    Args:
        start: with a mask, or a place.
        mask: its pixels uint8 [height, width], if it has one.
        size: (width, height).

    Raises:
        SpecError: no pixel of the whole canvas would be new.
    """
    width, height = size
    cover = np.zeros((height, width), np.uint8) if mask is None else mask.copy()
    if start.place is not None:
        left, top, wide, high = start.place
        free = np.ones((height, width), bool)
        free[max(0, top) : max(0, top + high), max(0, left) : max(0, left + wide)] = False
        cover[free] = 255
    if not cover.any():
        what = "place" if mask is None else "mask"
        remedy = "paint white what shall be new" if what == "mask" else "leave some of the canvas free"
        raise SpecError(complaint(what, "one that leaves nothing to draw", "some new pixels", remedy))
    return cover


def cover_of(start: Start, mask: UInt8 | None, size: tuple[int, int]) -> UInt8:
    """Return `new_pixels` with the feather around them. Raises as that."""
    grown = cover = new_pixels(start, mask, size)
    for distance in range(1, start.feather + 1):
        grown = _grown(grown)
        share = start.feather + 1 - distance
        faded = (grown.astype(np.uint32) * share + (start.feather + 1) // 2) // (start.feather + 1)
        cover = np.maximum(cover, faded.astype(np.uint8))
    return cover


def _grown(cover: UInt8) -> UInt8:
    """Give every pixel the most of its 3 x 3 neighbourhood."""
    padded = np.pad(cover, 1)
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    most: UInt8 = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return most


def fresh_tokens(cover: UInt8, grid: tuple[int, int]) -> Float32:
    """Return float32 [rows, 1] of a grid (height, width) of tokens: 1 for those with a pixel that is new, else 0."""
    height, width = grid
    blocks = cover.reshape(height, cover.shape[0] // height, width, cover.shape[1] // width)
    fresh: Float32 = (blocks.max(axis=(1, 3)) > 0).astype(np.float32)
    return fresh.reshape(-1, 1)


def packed_mask(fresh: NDArray[np.bool_], unit: int) -> Float32:
    """Return which pixels of each token are new, float32 [rows, unit * unit] of a mask [height, width].

    A latent has half a unit of pixels on a side. Those at one place of all latents stand together, the four latents of
    a token side by side, as diffusers packs masks for FLUX.1 Fill.
    """
    height, width, side = fresh.shape[0] // unit, fresh.shape[1] // unit, unit // 2
    parts = fresh.reshape(height, 2, side, width, 2, side).transpose(0, 3, 2, 5, 1, 4)
    return np.ascontiguousarray(parts.reshape(height * width, unit * unit), np.float32)


def compose(pictures: UInt8, region: Region) -> UInt8:
    """Return pictures uint8 [images, height, width, 3] with the region's own pixels where its cover says so."""
    new = region.cover.astype(np.uint32)[..., None]
    mixed = (pictures * new + region.pixels * (255 - new) + 127) // 255
    return mixed.astype(np.uint8)


def hold(ops: Ops[Any, Any], generations: Sequence[Generation], evaluations: Sequence[Evaluation]) -> None:
    """Bring the latents that stay back to their picture, at the noise level that an evaluation led to. Generations
    without a region are not touched."""
    held = [(g, e.next_sigma) for g, e in zip(generations, evaluations, strict=True) if g.region and g.region.held]
    if not held:
        return
    sigmas = np.array([sigma for _, sigma in held], np.float32)
    factors = ops.vectors(*(np.array([x], np.float32) for x in (*(np.float32(1) - sigmas), *sigmas)))
    for (generation, _), clean, noisy in zip(held, factors, factors[len(held) :], strict=False):
        region = generation.region
        assert region is not None
        ops.blend(generation.latents, region.tokens, region.noise, region.fresh, region.segments, clean, noisy)
