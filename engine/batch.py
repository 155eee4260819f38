"""One ragged batch: what a step of a set of generations needs, built once and kept while the same set goes on.

Samples stand in this order: every image of every generation with its prompt, then every image of the guided ones with
the unconditional input. So the latents of the batch are also the rows of its conditional samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.ops import Ops
from ..kernels.segments import Segments
from .adapters.adapters import Adapters, Term
from .denoiser import Denoiser, Sample
from .generation import Generation

Float32 = NDArray[np.float32]


class Batch:
    """The generations of a step and their arrays.

    Attributes:
        generations: in the order of their rows.
        latents: backend array [Ti, C] float32, the images one after another; the generations' `latents` are views.
        segments: one an image.
        num_samples: S, conditional and unconditional.
    """

    def __init__(
        self, ops: Ops[Any, Any], denoiser: Denoiser, adapters: Adapters, generations: Sequence[Generation]
    ) -> None:
        self.ops = ops
        self.adapters = adapters
        self.generations = tuple(generations)
        images = [g for g in self.generations for _ in range(g.spec.images)]
        guided = [g for g in images if g.negative is not None]
        self.segments = Segments.of([g.rows for g in images])
        self.num_samples = len(images) + len(guided)
        self._set_arrays(ops.concat([g.latents for g in self.generations]))

        self._images, self._guided = images, guided
        samples = [Sample(g.grid, g.text, g.embedded_guidance) for g in images]
        samples += [Sample(g.grid, g.negative, g.embedded_guidance) for g in guided if g.negative is not None]
        self.denoiser = denoiser
        self.layout = denoiser.layout(ops, samples, adapters.table(self._adapter_terms()))

        self.cond = self.segments.offsets[:-1].copy()
        rows_of_guided = np.array([g.rows for g in guided], np.int64)
        starts = self.segments.num_rows + np.cumsum(rows_of_guided) - rows_of_guided
        self.uncond = np.full(len(images), -1, np.int32)
        self.uncond[[g.negative is not None for g in images]] = starts
        self.guidance = np.array([g.spec.guidance_scale for g in images], np.float32)

    def _set_arrays(self, latents: Any) -> None:
        """Give every generation its view of the batch's latents."""
        self.latents = latents
        self.spare: Any = None  # the velocity array of the step before last, to be written again
        self.velocity: Any = None  # of the last step that this batch took
        self.sizes = [g.spec.images * g.rows for g in self.generations]
        for g, view in zip(self.generations, self.ops.split(latents, self.sizes), strict=True):
            g.latents = view
            g.batch = self

    def holds(self, generations: Sequence[Generation]) -> bool:
        """Whether these generations, in this order, still live in this batch."""
        return self.generations == tuple(generations) and all(g.batch is self for g in generations)

    def _adapter_terms(self) -> list[Term]:
        terms = []
        for branch, samples in ((0, self._images), (1, self._guided)):
            for j, g in enumerate(samples):
                sample = j + branch * len(self._images)
                for use in g.spec.adapters:
                    name = use.unconditional if branch else use.adapter
                    if name is not None and use.weight:
                        terms.append(Term(sample, name, use.weight))
        return terms

    def evaluate(self) -> Any:
        """The model's velocity at this step, [T, C]: of the latents, twice for guided images, each at its own sigma."""
        sigmas = np.array([g.evaluations[g.position].sigma for g in [*self._images, *self._guided]], np.float32)
        guided = [g.latents for g in self.generations if g.negative is not None]
        latents = self.ops.concat([self.latents, *guided]) if guided else self.latents
        # The arena is asked for its arrays at every step: they change as it grows.
        return self.denoiser.velocity(
            self.ops, self.layout, latents, self.denoiser.times(sigmas), pages=self.adapters.arena
        )

    def update(self, velocity: Any) -> None:
        """Take the solver's update with the model's velocity [T, C], and move every generation on by one evaluation."""
        ops = self.ops
        now = [g.evaluations[g.position] for g in self.generations]
        base = previous = None
        if any(e.from_base or e.keeps_base for e in now):
            base = ops.concat(
                [g.base if e.from_base else g.latents for g, e in zip(self.generations, now, strict=True)]
            )
        if any(e.b for e in now):
            previous = self.velocity
            if previous is None:
                previous = ops.concat(
                    [g.velocity if e.b else g.latents for g, e in zip(self.generations, now, strict=True)]
                )
        keep = self.spare if self.spare is not None else ops.empty(self.segments.num_rows, self.width, "float32")
        counts = [g.spec.images for g in self.generations]
        ops.solver_step(
            self.latents,
            velocity,
            self.segments,
            self.cond,
            self.uncond,
            self.guidance,
            np.repeat(np.array([e.a for e in now], np.float32), counts),
            np.repeat(np.array([e.b for e in now], np.float32), counts),
            base,
            previous,
            keep,
        )
        self.spare, self.velocity = self.velocity, keep
        kept = ops.split(base, self.sizes) if base is not None else [None] * len(now)
        views = ops.split(keep, self.sizes)
        for g, e, aside, view in zip(self.generations, now, kept, views, strict=True):
            g.velocity = view
            g.base = aside if e.keeps_base else None
            g.position += 1

    @property
    def width(self) -> int:
        """C: columns of the latents."""
        return self.generations[0].channels

    def finite(self) -> list[bool]:
        """For each generation, whether its latents are all finite."""
        values = self.ops.numpy(self.latents)
        cuts = np.cumsum(self.sizes)[:-1]
        return [bool(np.isfinite(part).all()) for part in np.split(values, cuts)]
