"""Evaluate the model by a recorded graph, on a table that runs graphs.

A recording takes any batch whose layout is made alike: any mix of sizes and texts, with adapters or without. It is made
of a batch of samples that no request has: sizes of theirs are equal only where they are so in every batch. Some of them
share a text, since models may read a text once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ..kernels.ops import Ops, Vector
from .denoiser import AdapterTable, Denoiser, KeptReferences, LaysOutForGraphs, Pages, Sample
from .graph_files import graph_file
from .text.pipeline import read_only

if TYPE_CHECKING:
    from ..kernels.onnx.recording import Recording
    from ..kernels.onnx.table import Session
    from .codecs import LatentCodec
    from .info import Architecture

TEXTS: Final = (5, 40, 11)  # rows of the texts of a recorded batch
READ: Final = (0, 1, 2, 1, 0)  # which of them each of its samples reads
# Sides of its images: some that are no multiple of anything, and multiples of 8. Halved three times they are not 1 yet.
GRIDS: Final = (
    ((11, 21), (33, 26), (14, 29), (9, 35), (19, 10)),
    ((8, 16), (24, 8), (16, 40), (32, 8), (40, 24)),
)
REFERENCES: Final = ((2, 3), (6, 5), (3, 3), (4, 2), (5, 7))  # sides of what its samples look at
TOKENS: Final = (3, 2, 4, 1, 2, 3, 2, 4)  # of its adapters, which two of the samples have
ROWS: Final = 137  # of the pages that hold them, or what the samples look at
DECODED: Final = (5, 7)  # sides in tokens of the picture by which a decoder is recorded


def runs_graphs(ops: Any) -> bool:
    """Return whether an op table runs recorded graphs."""
    return hasattr(ops, "start")


class Variant(NamedTuple):
    """What a recording takes: the place of its sides in `GRIDS`, whether adapters act, and whether samples look at
    pictures."""

    place: int = 0
    adapters: bool = False
    references: bool = False


@dataclass(frozen=True, eq=False)
class _Pages:
    """Keys and values of adapters, by layers."""

    keys: list[Any]
    values: list[Any]


class RecordedSteps:
    """The recorded evaluations of a model on a table that runs graphs.

    Args:
        ops: such a table (`kernels/onnx/table.py`).
        denoiser: what is evaluated.
        sizes: what it reads.
        layers: columns of each layer that adapters enter.
        joined: whether they act on text and in single blocks too (`AdapterTable.joined`).
        kept: columns of each layer's keys of references that are kept; (): references are rows, or there are none.

    Attributes:
        runs: evaluations by a graph.
        others: evaluations op by op, of batches that no recording takes: those with LoRAs.
    """

    def __init__(
        self,
        ops: Any,
        denoiser: Denoiser,
        sizes: Architecture,
        layers: Sequence[int] = (),
        *,
        joined: bool = False,
        kept: Sequence[int] = (),
    ) -> None:
        self.ops, self.denoiser, self.sizes = ops, denoiser, sizes
        self.layers, self.joined, self.kept = layers, joined, kept
        self.runs = self.others = 0
        self._sessions: list[tuple[Recording, Session]] = []
        self._skeletons: dict[Variant, Hashable] = {}
        self._begun: set[Variant] = set()
        self._bound: tuple[Any, int, Session | None] = (None, -1, None)

    @property
    def num_graphs(self) -> int:
        """How many graphs were recorded."""
        return len(self._sessions)

    @property
    def num_bytes(self) -> int:
        """Bytes of weights that were written for them."""
        return sum(recording.num_bytes for recording, _ in self._sessions)

    def velocity(self, layout: Any, latents: Any, times: Vector, pages: Any) -> Any:
        """Evaluate the model as `Denoiser.velocity` does.

        Raises:
            OutputError: it is the first of its kind, and the folder for temporary files has no room for the graph.
        """
        session = self._session_of(layout, pages)
        if session is None:
            self.others += 1
            return self.denoiser.velocity(self.ops, layout, latents, times, pages=pages)
        self.runs += 1
        found = session.run({"latents": self.ops.numpy(latents), "times": np.ascontiguousarray(times)})
        return self.ops.array(found, "float32")

    def _session_of(self, layout: Any, pages: Any) -> Session | None:
        """Return what runs batches of a layout, with it bound; None: no recording takes it."""
        last, version, session = self._bound
        if last is layout and version == pages.version:
            return session
        taken, adapters = self.formed(layout), bool(getattr(layout, "terms", None))
        arguments = {"layout": taken}
        if adapters or getattr(layout, "met", None) is not None:
            arguments["pages"] = _Pages(list(pages.keys), list(pages.values))
        session = self._find(arguments)
        if session is None:
            skeleton = self._skeleton(taken)
            for variant in self.variants(adapters):
                if skeleton is not None and variant not in self._begun and self.skeleton(variant) == skeleton:
                    self._start(variant)  # where there is no room for it now, the next step tries again
                    self._begun.add(variant)
                    session = self._find(arguments)
                    break
        self._bound = layout, pages.version, session
        return session

    def formed(self, layout: Any) -> Any:
        """Return a layout of the model in the form that its graphs take."""
        denoiser = self.denoiser
        return denoiser.graph_layout(self.ops, layout) if isinstance(denoiser, LaysOutForGraphs) else layout

    def variants(self, adapters: bool) -> Iterator[Variant]:
        """Yield what batches may be, with adapters or without: first those that most are."""
        looks = (False,) if self.sizes.references is None else (False, True)
        for references, place in product(looks, range(len(GRIDS))):
            yield Variant(place, adapters, references)

    def _find(self, arguments: dict[str, Any]) -> Session | None:
        for recording, session in self._sessions:
            if recording.arguments - {"latents", "times"} == set(arguments):
                feeds = recording.feeds(arguments)
                if feeds is not None:
                    session.bind(feeds)
                    return session
        return None

    def skeleton(self, variant: Variant) -> Hashable:
        """Return what is the same of all batches of a variant."""
        if variant not in self._skeletons:
            self._skeletons[variant] = self._skeleton(self.example(variant)[0]["layout"])
        return self._skeletons[variant]

    def _skeleton(self, layout: Any) -> Hashable | None:
        """Return a layout's skeleton; None: it has a part that no graph can take, such as LoRAs."""
        from ..kernels.onnx.inputs import Opaque, flatten

        try:
            return flatten(layout, self.ops.is_array)[1]
        except Opaque:
            return None

    def _start(self, variant: Variant) -> None:
        recording = self.record(variant)
        with graph_file(recording) as path:
            self._sessions.append((recording, self.ops.start(path)))

    def record(self, variant: Variant, **options: Any) -> Recording:
        """Record an evaluation of a variant's batch.

        Raises:
            RecordError: the model does what no graph can hold. The message names the op and the line of the model.
        """
        from ..kernels.onnx.recording import record

        arguments, velocity = self.example(variant)
        return record(self.ops, velocity, arguments, result="velocity", **options)

    def usual(self, adapters: bool = False) -> Variant:
        """Return the variant of most batches, whose sides are multiples of 8."""
        first, second = Variant(0, adapters), Variant(1, adapters)
        return first if self.skeleton(first) == self.skeleton(second) else second

    def looking(self) -> Variant | None:
        """Return the variant of batches that look at pictures; None: there are none, or they are as others."""
        usual = self.usual()
        looking = Variant(usual.place, False, references=True)
        return None if self.sizes.references is None or self.skeleton(looking) == self.skeleton(usual) else looking

    def example(self, variant: Variant) -> tuple[dict[str, Any], Callable[..., Any]]:
        """Return the arguments of an evaluation of a batch that can be recorded, by their names, and the function."""
        ops, sizes, rng = self.ops, self.sizes, np.random.default_rng(7)
        samples, order, kept = list[Sample](), rng.permutation(ROWS).astype(np.int32), None
        texts = [
            read_only(
                rng.standard_normal((rows, sizes.text_width)).astype(np.float32),
                rng.standard_normal(sizes.pooled_width).astype(np.float32),
            )
            for rows in TEXTS
        ]
        for grid, read, seen in zip(GRIDS[variant.place], READ, REFERENCES, strict=True):
            looks = (seen,) if variant.references else ()
            if looks and self.kept:
                area = seen[0] * seen[1]
                kept, order, looks = KeptReferences(looks, None, rows=order[:area]), order[area:], ()
            samples.append(Sample(grid, texts[read], sizes.embedded_guidance, references=looks, kept=kept))
        table, widths = None, () if kept is None else self.kept
        if variant.adapters:
            ends = np.cumsum([0, *TOKENS]).astype(np.int32)
            owners = np.array([0, 2] * (len(TOKENS) // 2), np.int32)
            weights = np.linspace(0.25, 1, len(TOKENS), dtype=np.float32)
            table, widths = AdapterTable(owners, ends, order[: ends[-1]], weights, self.joined), self.layers
        layout = self.formed(self.denoiser.layout(ops, samples, table))
        count = sum(sample.rows for sample in samples)
        latents = ops.array(rng.standard_normal((count, sizes.token_channels)).astype(np.float32), "float32")
        (times,) = ops.vectors(self.denoiser.times(np.linspace(0.9, 0.25, len(samples), dtype=np.float32)))
        arguments: dict[str, Any] = {"layout": layout, "latents": latents, "times": times}
        if widths:
            drawn = [[rng.standard_normal((ROWS, width)).astype(np.float32) for width in widths] for _ in range(2)]
            arguments["pages"] = _Pages(*([ops.array(each) for each in part] for part in drawn))

        def velocity(table: Ops[Any, Any], layout: Any, latents: Any, times: Vector, pages: Pages | None = None) -> Any:
            return self.denoiser.velocity(table, layout, latents, times, pages=pages)

        return arguments, velocity


def record_decoder(ops: Any, codec: LatentCodec, channels: int, **options: Any) -> Recording:
    """Record how tokens of one picture of any sides become pixels, of about -1 to 1.

    Args:
        ops: a table that runs graphs.
        channels: C, columns of a token.

    Raises:
        RecordError: the codec does what no graph can hold.
    """
    from ..kernels.onnx.recording import record

    height, width = DECODED
    latents = ops.array(np.zeros((height * width, channels), np.float32), "float32")

    def pixels(table: Any, latents: Any, grids: Any) -> Any:
        return codec.recorded(table, latents, grids)

    arguments = {"latents": latents, "grids": np.array([DECODED], np.int32)}
    return record(ops, pixels, arguments, result="pixels", **options)
