"""Build one ragged batch: what a step of a set of generations needs, kept while the same set goes on.

Samples stand in blocks, the images of one generation reading the same: first of every generation with its prompt, so
that the latents of the batch are also the rows of these; then, generation by generation, with the unconditional input
and with each term of those that have some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.ops import GuidanceTerms, Ops, Vector
from .adapters.adapters import Adapters, Term
from .denoiser import AdapterTable, Denoiser, KeptText, Sample
from .generation import Branch, Generation
from .graphs import StepGraphs
from .history import History
from .kept_texts import TextKeys
from .padding import NONE, filler_of, padded_table
from .recorded import RecordedSteps
from .reference_rows import ReferenceRows
from .regions import hold
from .rescaling import Rescaling
from .solvers import Evaluation
from .spread import adapters_of
from .views import View, Views


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Samples that follow one another: all images of the generation at `place`, with one of its branches."""

    place: int
    branch: Branch


class Batch:
    """The generations of a step and their arrays.

    Args:
        graphs: replays the model's evaluations; None: each is computed op by op.
        recorded: runs them as recorded graphs, on a table that does so.
        texts: keys and values of texts; None: the model keeps none.
        rescaled: whether guidance leaves each token's velocity as long as that of the prompt.

    Attributes:
        generations: the generations, in the order of their rows.
        latents: backend array [Ti, C] float32, the images one after another; the generations' `latents` are views of
            it.
        segments: the rows of each image.
        num_samples: S, the number of samples that the model sees: of all branches, each window one of its own.
    """

    def __init__(
        self,
        ops: Ops[Any, Any],
        denoiser: Denoiser,
        adapters: Adapters,
        generations: Sequence[Generation],
        graphs: StepGraphs | None = None,
        *,
        recorded: RecordedSteps | None = None,
        texts: TextKeys | None = None,
        rescaled: bool = False,
    ) -> None:
        self.ops, self.denoiser, self.adapters = ops, denoiser, adapters
        self.graphs, self.recorded, self.texts = graphs, recorded, texts
        self.generations = tuple(generations)
        self._branches = branches = [g.branches for g in self.generations]
        firsts = [_Block(j, each[0]) for j, each in enumerate(branches)]
        self._blocks = firsts + [_Block(j, branch) for j, each in enumerate(branches) for branch in each[1:]]
        self._more = [block.place for block in self._blocks[len(firsts) :]]
        # Of each image, and of each sample, the place of its generation.
        self._images = np.repeat(np.arange(len(firsts)), [g.spec.images for g in self.generations])
        places = [block.place for block in self._blocks]
        self._samples = np.repeat(places, [self.generations[j].spec.images for j in places])
        self._views = [View.of(g) for g in self.generations]
        self._seen = None
        if not all(view.whole for view in self._views):
            grids, views = [self.generations[j].grid for j in self._samples], [self._views[j] for j in self._samples]
            self._seen = Views(ops, grids, views)
        counts = [max(1, len(self._views[j].windows)) for j in self._samples]
        self._model_samples = np.repeat(self._samples, counts)
        self.segments = ops.segments([self.generations[j].rows for j in self._images])
        self.num_samples = len(self._model_samples)
        self._set_arrays(ops.concat([g.latents for g in self.generations]))
        self._each = ops.segments(self.sizes)  # one a generation
        self._history = History(ops, self.segments, self._images, self.sizes)
        samples = self._sample_inputs()
        self._beside = None
        if any(sample.references for sample in samples):
            of_samples = [self.generations[j].reference_tokens for j in self._model_samples]
            self._beside = ReferenceRows(ops, samples, of_samples)
        self._filler = NONE if graphs is None else filler_of(samples)
        self._zeros = None  # the latents of the filler
        if more := sum(self._filler.image_rows):
            self._zeros = ops.zeros(more, self.width, "float32")
        table = padded_table(self._adapter_table(), self._filler, len(samples))
        self.layout = denoiser.layout(ops, [*samples, *self._filler.samples(samples[0])], table)
        self.guidance = self._guidance()
        self._rescaling: Rescaling | None = None
        if rescaled and self._more:
            guided = [len(each) > 1 for each in branches]
            self._rescaling = Rescaling(ops, self.width, self.segments, list(zip(self.sizes, guided, strict=True)))

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
        held = self.generations == tuple(generations) and all(g.batch is self for g in generations)
        if not held or self._branches != [g.branches for g in generations]:
            return False
        return self._views == [View.of(g) for g in generations]

    def _sample_inputs(self) -> list[Sample]:
        samples = []
        lying: dict[tuple[int, int], KeptText | None] = {}  # of a generation's text, where its keys and values lie
        for number, block in enumerate(self._blocks):
            g, view = self.generations[block.place], self._views[block.place]
            prompted = number < len(self.generations)  # the first blocks are those of the prompts
            for image in range(g.spec.images):
                text = g.image_texts[image] if prompted else block.branch.text
                place = block.place, id(text)
                if self.texts is not None and place not in lying:
                    lying[place] = self.texts.kept(g, text)
                for grid in view.grids(g.grid):
                    seen = () if g.keeps_references else g.references
                    kept, kept_text = g.kept_references, lying.get(place)
                    samples.append(Sample(grid, text, g.embedded_guidance, g.loras, seen, g.beside, kept, kept_text))
        return samples

    def _adapter_table(self) -> AdapterTable | None:
        terms, sample = [], 0
        for block in self._blocks:
            spec, count = self.generations[block.place].spec, max(1, len(self._views[block.place].windows))
            for image in range(spec.images):
                uses = adapters_of(spec, image, self.adapters.styled)
                for _ in range(count):
                    for use in uses:
                        name = use.adapter if block.branch.conditional else use.unconditional
                        if name is not None and use.weight:
                            terms.append(Term(sample, name, use.weight))
                    sample += 1
        return self.adapters.table(terms)

    def _guidance(self) -> GuidanceTerms:
        """Return where the velocities of each image lie, and their weights."""
        origins: dict[int, int] = {}  # the row where the generation's block starts
        terms: dict[int, list[tuple[int, float]]] = {j: [] for j in range(len(self.generations))}
        row = 0
        for block in self._blocks:
            weight = block.branch.weight
            if weight is None:
                origins[block.place] = row
            else:
                terms[block.place].append((row, weight))
            row += self.sizes[block.place]
        starts, rows, counts, weights = [], [], [], []
        for j, g in enumerate(self.generations):
            for at in range(0, self.sizes[j], g.rows):
                starts.append(origins[j] + at)
                rows += [row + at for row, _ in terms[j]]
                weights += [weight for _, weight in terms[j]]
                counts.append(len(terms[j]))
        offsets = np.concatenate([[0], np.cumsum(counts)])
        whole = (np.array(values, np.int32) for values in (starts, offsets, rows))
        return GuidanceTerms(*self.ops.vectors(*whole, np.array(weights, np.float32)))

    def step(self) -> None:
        """Take one evaluation of the model for every generation, and apply the solver's update."""
        now = [g.evaluations[g.position] for g in self.generations]
        sigmas, a, b = (
            np.array(values, np.float32) for values in zip(*((e.sigma, e.a, e.b) for e in now), strict=True)
        )
        levels = np.pad(sigmas[self._model_samples], (0, len(self._filler.image_rows)))
        times, a, b = self.ops.vectors(self.denoiser.times(levels), a[self._images], b[self._images])
        latents = [self.latents, *(self.generations[j].latents for j in self._more)]
        if self._seen is not None:
            latents = [self._seen.split(self._joined(latents))]
        if self._beside is not None:
            latents = [self._beside.put(self._joined(latents))]
        velocity = self._evaluate(latents, times)
        if self._beside is not None:
            velocity = self._beside.take(velocity)
        if self._seen is not None:
            velocity = self._seen.join(velocity, self.width)
        self._update(now, velocity, a, b)
        hold(self.ops, self.generations, now)
        self._finite = self.ops.finite(self.latents, self._each)

    def _evaluate(self, latents: list[Any], times: Vector) -> Any:
        """Return the model's velocity of latents in parts, without that of the filler."""
        # The arena is asked for its arrays at every step: they change as it grows.
        pages = self.adapters.arena
        if self.recorded is not None:
            return self.recorded.velocity(self.layout, self._joined(latents), times, pages)
        if self.graphs is None:
            return self.denoiser.velocity(self.ops, self.layout, self._joined(latents), times, pages=pages)
        if self._zeros is None:
            return self.graphs.velocity(self.layout, latents, times, pages)
        rows = sum(part.shape[0] for part in latents)
        return self.ops.rows(self.graphs.velocity(self.layout, [*latents, self._zeros], times, pages), 0, rows)

    def _joined(self, parts: list[Any]) -> Any:
        return self.ops.concat(parts) if len(parts) > 1 else parts[0]

    def _update(self, now: Sequence[Evaluation], velocity: Any, a: Vector, b: Vector) -> None:
        """Apply the solver's update with the model's velocity [T, C], and advance every generation by one evaluation.

        Args:
            a, b: the update's factors, one of each for every image.
        """
        ops = self.ops
        base = previous = None
        remembers = any(e.keeps or e.past for e in now)
        if remembers or any(e.from_base or e.keeps_base for e in now):
            base = ops.concat(
                [g.base if e.from_base else g.latents for g, e in zip(self.generations, now, strict=True)]
            )
        if any(e.b for e in now):
            previous = self.velocity
            if previous is None:
                previous = ops.concat(
                    [g.velocity if e.b else g.latents for g, e in zip(self.generations, now, strict=True)]
                )
        start = self._mixed(now, base) if any(e.scale != 1 or e.aside for e in now) else base
        if remembers:
            start = self._history.recalled(start, self.generations, now)
        keep = self.spare if self.spare is not None else ops.empty(self.segments.num_rows, self.width, "float32")
        guidance = self.guidance
        if self._rescaling is not None:
            velocity, guidance = self._rescaling.apply(velocity, guidance)
        ops.solver_step(
            self.latents,
            velocity,
            self.segments,
            guidance,
            a,
            b,
            start,
            previous,
            keep,
        )
        for g, e in zip(self.generations, now, strict=True):
            if e.noise:
                ops.add(g.latents, ops.array(np.float32(e.noise) * g.noise(e.step + 1), "float32"))
        self.spare, self.velocity = self.velocity, keep
        kept = ops.split(base, self.sizes) if base is not None else [None] * len(now)
        views = ops.split(keep, self.sizes)
        for g, e, aside, view in zip(self.generations, now, kept, views, strict=True):
            g.velocity = view
            g.base = aside if e.keeps_base else None
            g.position += 1
        if remembers:
            self._history.keep(self.generations, now, base, keep)

    def _mixed(self, now: Sequence[Evaluation], base: Any) -> Any:
        """Return what the update of every generation starts from, where some have more than one start.

        Args:
            base: the starts; None: the latents.
        """
        ops = self.ops
        first = self.latents if base is None else base
        starts = ops.split(first, self.sizes)
        before = ops.concat([g.base if e.aside else x for g, e, x in zip(self.generations, now, starts, strict=True)])
        return self._history.mixed(first, before, [e.scale for e in now], [e.aside for e in now])

    @property
    def width(self) -> int:
        """C: columns of the latents."""
        return self.generations[0].channels

    def finite(self) -> list[bool]:
        """Wait for the last step, and return for each generation whether all its latents are finite."""
        return [bool(flag) for flag in self.ops.numpy(self._finite)[:, 0]]
