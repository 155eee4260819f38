"""Build one ragged batch: what a step of a set of generations needs, kept while the same set goes on.

Samples stand in this order: every image of every generation with its prompt, then every image of the guided ones with
the unconditional input. So the latents of the batch are also the rows of its conditional samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels.ops import Ops, Vector
from .adapters.adapters import Adapters, Term
from .denoiser import AdapterTable, Denoiser, Sample
from .generation import Generation
from .solvers import Evaluation


class Batch:
    """The generations of a step and their arrays.

    Attributes:
        generations: the generations, in the order of their rows.
        latents: backend array [Ti, C] float32, the images one after another; the generations' `latents` are views of
            it.
        segments: the rows of each image.
        num_samples: S, the number of conditional and unconditional samples.
    """

    def __init__(
        self, ops: Ops[Any, Any], denoiser: Denoiser, adapters: Adapters, generations: Sequence[Generation]
    ) -> None:
        self.ops, self.denoiser, self.adapters = ops, denoiser, adapters
        self.generations = tuple(generations)
        images = [j for j, g in enumerate(self.generations) for _ in range(g.spec.images)]
        guided = [j for j in images if self.generations[j].negative is not None]
        # For each image, and for each sample, the index of its generation.
        self._images = np.array(images)
        self._samples = np.array([*images, *guided])
        self.segments = ops.segments([self.generations[j].rows for j in images])
        self.num_samples = len(self._samples)
        self._set_arrays(ops.concat([g.latents for g in self.generations]))
        self._each = ops.segments(self.sizes)  # one segment for each generation
        self.layout = denoiser.layout(ops, self._sample_inputs(images, guided), self._adapter_table(images, guided))

        rows_of_guided = np.array([self.generations[j].rows for j in guided], np.int64)
        starts = self.segments.num_rows + np.cumsum(rows_of_guided) - rows_of_guided
        uncond = np.full(len(images), -1, np.int32)
        uncond[[self.generations[j].negative is not None for j in images]] = starts
        guidance = np.array([self.generations[j].spec.guidance_scale for j in images], np.float32)
        self.cond, self.uncond, self.guidance = ops.vectors(self.segments.offsets[:-1], uncond, guidance)

    def _set_arrays(self, latents: Any) -> None:
        """Give every generation its view of the batch's latents."""
        self.latents = latents
        self.spare: Any = None  # the velocity array of the step before last, which the next step overwrites
        self.velocity: Any = None  # the velocity of the last step that this batch took
        self._finite: Any = None  # whether the latents are finite; `finite` reads it, and waits for the step
        self.sizes = [g.spec.images * g.rows for g in self.generations]
        for g, view in zip(self.generations, self.ops.split(latents, self.sizes), strict=True):
            g.latents = view
            g.batch = self

    def holds(self, generations: Sequence[Generation]) -> bool:
        """Return whether these generations, in this order, still live in this batch."""
        return self.generations == tuple(generations) and all(g.batch is self for g in generations)

    def _sample_inputs(self, images: Sequence[int], guided: Sequence[int]) -> list[Sample]:
        prompts = [self.generations[j] for j in images]
        samples = [Sample(g.grid, g.text, g.embedded_guidance) for g in prompts]
        others = [self.generations[j] for j in guided]
        return samples + [Sample(g.grid, g.negative, g.embedded_guidance) for g in others if g.negative is not None]

    def _adapter_table(self, images: Sequence[int], guided: Sequence[int]) -> AdapterTable | None:
        terms = []
        for sample, j in enumerate([*images, *guided]):
            for use in self.generations[j].spec.adapters:
                name = use.adapter if sample < len(images) else use.unconditional
                if name is not None and use.weight:
                    terms.append(Term(sample, name, use.weight))
        return self.adapters.table(terms)

    def step(self) -> None:
        """Take one evaluation of the model for every generation, and apply the solver's update."""
        now = [g.evaluations[g.position] for g in self.generations]
        sigmas, a, b = (
            np.array(values, np.float32) for values in zip(*((e.sigma, e.a, e.b) for e in now), strict=True)
        )
        times = self.denoiser.times(sigmas[self._samples])
        times, a, b = self.ops.vectors(times, a[self._images], b[self._images])
        guided = [g.latents for g in self.generations if g.negative is not None]
        latents = self.ops.concat([self.latents, *guided]) if guided else self.latents
        # The arena is asked for its arrays at every step: they change as it grows.
        velocity = self.denoiser.velocity(self.ops, self.layout, latents, times, pages=self.adapters.arena)
        self._update(now, velocity, a, b)
        self._finite = self.ops.finite(self.latents, self._each)

    def _update(self, now: Sequence[Evaluation], velocity: Any, a: Vector, b: Vector) -> None:
        """Apply the solver's update with the model's velocity [T, C], and advance every generation by one evaluation.

        Args:
            a, b: the update's factors, one of each for every image.
        """
        ops = self.ops
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
        ops.solver_step(
            self.latents,
            velocity,
            self.segments,
            self.cond,
            self.uncond,
            self.guidance,
            a,
            b,
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
        """Wait for the last step, and return for each generation whether all its latents are finite."""
        return [bool(flag) for flag in self.ops.numpy(self._finite)[:, 0]]
