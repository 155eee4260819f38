"""Keep guidance from changing how long a velocity is: each token's has the length of the prompt's alone.

This is how Qwen-Image is guided (2508.02324; diffusers' `QwenImagePipeline`): with v the velocity that guidance makes
and c that of the prompt, v |c| / |v| for each token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from ..kernels.ops import GuidanceTerms, Ops
from ..kernels.segments import Segments

EPS: Final = 1e-24  # a velocity of zeros stays one


class Rescaling:
    """Rescales the velocities of a batch.

    Args:
        ops: the backend.
        width: C, columns of a velocity.
        images: N segments, the rows of each image.
        parts: (rows, whether they are rescaled) of consecutive parts of the batch.
    """

    def __init__(self, ops: Ops[Any, Any], width: int, images: Segments, parts: Sequence[tuple[int, bool]]) -> None:
        self.ops, self.width, self.images = ops, width, images
        self.parts: list[tuple[int, bool]] = []
        for rows, rescaled in parts:  # neighbours that are treated alike are one
            if self.parts and self.parts[-1][1] == rescaled:
                rows += self.parts.pop()[0]
            self.parts.append((rows, rescaled))
        self.segments = [ops.segments([rows]) for rows, _ in self.parts]
        self.ones = ops.array(np.ones(width, np.float32), "float32")
        self.share = ops.array(np.full(width, 1 / width, np.float32), "float32")
        self.sum = ops.pack_linear([np.ones((1, width), np.float32)])
        starts, nothing = images.offsets[:-1], np.zeros_like(images.offsets)
        self.still, self.none, origins, offsets, rows, weights = ops.vectors(
            np.zeros(len(starts), np.float32), np.zeros(1, np.float32),
            starts, nothing, np.zeros(0, np.int32), np.zeros(0, np.float32),
        )  # fmt: skip
        self.unguided = GuidanceTerms(origins, offsets, rows, weights)

    def apply(self, velocity: Any, guidance: GuidanceTerms) -> tuple[Any, GuidanceTerms]:
        """Return the guided velocities of the images, float32 [T, C], and the guidance to move by them, which is none.

        Args:
            velocity: float32 [Tv, C], of which the first T rows are those of the prompts.
        """
        ops, rows, made = self.ops, self.images.num_rows, []
        guided, unmoved = ops.empty(rows, self.width, "float32"), ops.zeros(rows, self.width, "float32")
        ops.solver_step(unmoved, velocity, self.images, guidance, self.still, self.still, None, None, guided)
        sizes = [size for size, _ in self.parts]
        pairs = zip(ops.split(guided, sizes), ops.split(ops.rows(velocity, 0, rows), sizes), strict=True)
        for (v, c), (_, rescaled), segments in zip(pairs, self.parts, self.segments, strict=True):
            made.append(self._rescaled(v, c, segments) if rescaled else v)
        return (made[0] if len(made) == 1 else ops.concat(made)), self.unguided

    def _rescaled(self, v: Any, c: Any, segments: Segments) -> Any:
        """Return v |c| / |v| for each row."""
        ops = self.ops
        direction = ops.norm(c, self.share, kind="rms", eps=EPS, dtype="float32")
        # Of c / rms(c) and c the products' mean is rms(c): the table has no root.
        length = ops.linear(ops.gated(direction, c), self.sum, dtype="float32")
        result = ops.norm(v, self.ones, kind="rms", eps=EPS, dtype="float32")
        ops.blend(result, c, c, length, segments, self.none, self.none)
        return result
