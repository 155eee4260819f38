"""Say which rows of a batch which LoRAs act on, for each linear of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ...kernels.ops import LowRankTerm
from ...kernels.segments import Segments
from ..denoiser import Sample
from ..weights.lora import LoraWeights
from .joint_rows import JointRows

Acting: TypeAlias = Sequence[tuple[LoraWeights, float]]  # the LoRAs of a sample, with their weights
Ranges: TypeAlias = Sequence[Sequence[tuple[int, int]]]  # of each sample its ranges of rows (start, stop)


class BatchLoras:
    """The LoRAs of a batch, whose terms are made once for each linear. A layout holds it, and graphs do not capture it.

    Args:
        samples: of each sample, what acts on it.
        places: names of the arrays whose rows linears read -> the samples' rows there.
    """

    def __init__(self, samples: Sequence[Acting], places: Mapping[str, Ranges]) -> None:
        self._samples = samples
        self._places = places
        self._made: dict[tuple[str, str], list[LowRankTerm]] = {}

    def terms(self, target: str, place: str) -> Sequence[LowRankTerm]:
        """Return the terms of a linear, which reads the rows of a place."""
        found = self._made.get((target, place))
        if found is None:
            found = self._made[target, place] = self._terms(target, self._places[place])
        return found

    def _terms(self, target: str, ranges: Ranges) -> list[LowRankTerm]:
        """Return terms of ranges as long as they come: neighbours with the same LoRAs are one, such as the images of a
        request."""
        joined: list[tuple[int, int, Acting]] = []
        for acting, start, stop in sorted(
            ((acting, *one) for acting, each in zip(self._samples, ranges, strict=True) for one in each),
            key=lambda item: item[1:],
        ):
            if joined and joined[-1][2] is acting and joined[-1][1] == start:
                joined[-1] = joined[-1][0], stop, acting
            else:
                joined.append((start, stop, acting))
        return [
            LowRankTerm(start, stop, lora.factors[target], weight)
            for start, stop, acting in joined
            for lora, weight in acting
            if target in lora.factors and weight and start < stop
        ]


def loras_of(samples: Sequence[Acting], places: Mapping[str, Ranges]) -> BatchLoras | None:
    """Return the LoRAs of a batch; None: no sample has any."""
    return BatchLoras(samples, places) if any(samples) else None


def joint_loras(samples: Sequence[Acting], rows: JointRows) -> BatchLoras | None:
    """Return the LoRAs of a batch of text and image rows: places "text", "image", "stream" (all of both), "sample"."""
    parts = {"text": rows.text_segments, "image": rows.image_segments, "stream": rows.segments}
    places = {name: _owned(segments, len(samples)) for name, segments in parts.items()}
    return loras_of(samples, {**places, "sample": ranges_of([1] * len(samples))})


def text_loras(readers: Sequence[Sample], lengths: Sequence[int]) -> BatchLoras | None:
    """Return the LoRAs of texts, each of which is read once (`text_readers`): place "text". `lengths`: their rows."""
    return loras_of([reader.loras for reader in readers], {"text": ranges_of(lengths)})


def low_rank(loras: BatchLoras | None, target: str, place: str) -> Sequence[LowRankTerm]:
    """Return the terms of a linear, which reads the rows of a place; none without LoRAs."""
    return () if loras is None else loras.terms(target, place)


@dataclass(frozen=True, eq=False)
class BlockLoras:
    """The LoRAs that act on a block, `at` its name, which reads the rows of a place."""

    loras: BatchLoras | None
    at: str
    place: str

    def low_rank(self, name: str) -> Sequence[LowRankTerm]:
        """Return the terms of a linear of the block."""
        return low_rank(self.loras, f"{self.at}.{name}", self.place)


def _owned(segments: Segments, count: int) -> Ranges:
    """Return the rows of each sample."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    ends = segments.offsets.tolist()
    for owner, start, stop in zip(segments.owners.tolist(), ends[:-1], ends[1:], strict=True):
        found[owner].append((start, stop))
    return found


def ranges_of(lengths: Sequence[int], start: int = 0) -> list[list[tuple[int, int]]]:
    """Return the rows of samples that stand one after another, from row `start` on."""
    found = []
    for length in lengths:
        found.append([(start, start + length)])
        start += length
    return found
