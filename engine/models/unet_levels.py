"""Lay out the pictures of a batch at every resolution of a UNet, and how they come from one to the next.

Sides that are no multiples of 2 are halved upwards and doubled to the side that there was, as diffusers does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any, Generic, TypeVar

import numpy as np

from ...kernels.ops import Ops, Vector
from ...kernels.segments import Int32, Segments
from ..denoiser import Sample
from ..weights.unet import UNetConfig
from .low_rank import Acting
from .low_rank_conv import ImageRun, image_runs, runs_of

A = TypeVar("A")


@dataclass(frozen=True, eq=False)
class Part(Generic[A]):
    """Pictures of a level that follow one another and change their resolution in the same way.

    Attributes:
        start, stop: their rows before the change.
        grids: int32 [B, 2], their sides before it.
        rows: int32, for each row after the change the row of the part from which it comes; None: the op does that.
        after: int32 [B, 2], their sides after it.
        acting: the LoRAs that act on all of them.
    """

    start: int
    stop: int
    grids: Int32
    rows: Vector | None
    after: Int32
    acting: Acting


@dataclass(frozen=True, eq=False)
class Level(Generic[A]):
    """The pictures of a batch at one resolution, P rows in all.

    Attributes:
        grids: int32 [S, 2], height and width of each.
        segments: the rows of each, owned by its sample.
        texts: the same rows, owned by their texts.
        owners: int32 [P], the sample of each row.
        ones: compute [P, widest], of ones.
        down, up: how they come to the next coarser level, and back from it to this one.
        name: of its rows, for `UNetLayout.low_rank`.
        runs: the pictures that have LoRAs.
    """

    grids: Int32
    segments: Segments
    texts: Segments
    owners: Vector
    ones: A
    down: tuple[Part[A], ...]
    up: tuple[Part[A], ...]
    name: str
    runs: tuple[ImageRun, ...]


def levels_of(
    ops: Ops[Any, Any], config: UNetConfig, samples: Sequence[Sample], owners: Sequence[int], texts: int
) -> tuple[Level[Any], ...]:
    """Return all levels of a batch. `owners`: the text of each sample."""
    widths, acting = config.block_out_channels, [sample.loras for sample in samples]
    grids = [np.array([sample.grid for sample in samples], np.int32)]
    for _ in widths[1:]:
        grids.append((grids[-1] - 1) // 2 + 1)
    found = []
    for number, here in enumerate(grids):
        rows = here.prod(axis=1).tolist()
        coarser = grids[number + 1] if number + 1 < len(grids) else None
        widest = max(widths[max(0, number - 1) : number + 2])
        (each,) = ops.vectors(np.repeat(np.arange(len(rows), dtype=np.int32), rows))
        found.append(
            Level(
                grids=here,
                segments=ops.segments(rows),
                texts=ops.segments(rows, owners, texts),
                owners=each,
                ones=ops.array(np.ones((sum(rows), widest), np.float32)),
                down=() if coarser is None else tuple(_parts(ops, here, coarser, acting, down=True)),
                up=() if coarser is None else tuple(_parts(ops, coarser, here, acting, down=False)),
                name=f"level{number}",
                runs=image_runs(acting, here) if any(acting) else (),
            )
        )
    return tuple(found)


def in_one_form(ops: Ops[Any, Any], levels: Sequence[Level[Any]]) -> tuple[Level[Any], ...]:
    """Return levels whose pictures come from one to the next in a form that all sides can have: on the way down by the
    op, on the way up by rows. They are for recorded graphs, whose op halves sides of 1 too. There are no LoRAs."""
    made = []
    for level, coarser in pairwise(levels):
        before, after = coarser.grids, level.grids
        starts = np.cumsum(before.prod(axis=1)) - before.prod(axis=1)
        picked = [_picked(a, b, down=False) + np.int32(at) for a, b, at in zip(before, after, starts, strict=True)]
        (rows,) = ops.vectors(np.concatenate(picked))
        down: Part[Any] = Part(0, level.segments.num_rows, after, None, before, ())
        up: Part[Any] = Part(0, coarser.segments.num_rows, before, rows, after, ())
        made.append(replace(level, down=(down,), up=(up,)))
    return (*made, levels[-1])


def _parts(
    ops: Ops[Any, Any], grids: Int32, after: Int32, acting: Sequence[Acting], *, down: bool
) -> Iterator[Part[Any]]:
    """Yield the parts in which pictures go from sides to others: neighbours with the same LoRAs. An op that does all of
    it wants sides of 2 and more on the way down, and on the way up sides twice as long behind it."""
    plain = [bool((grid >= 2).all() if down else (2 * grid == to).all()) for grid, to in zip(grids, after, strict=True)]
    ends, runs = np.cumsum(grids.prod(axis=1)), runs_of(acting)
    for (by_op, _), places in groupby(range(len(grids)), key=lambda place: (plain[place], runs[place])):
        mine = list(places)
        first, last = mine[0], mine[-1]
        start, stop = int(ends[first] - grids[first].prod()), int(ends[last])
        rows = None
        if not by_op:
            picked = [_picked(grids[i], after[i], down) + np.int32(ends[i] - grids[i].prod() - start) for i in mine]
            (rows,) = ops.vectors(np.concatenate(picked))
        yield Part(start, stop, grids[first : last + 1], rows, after[first : last + 1], acting[first])


def _picked(grid: Int32, after: Int32, down: bool) -> Int32:
    """Return for each pixel of a picture after a change of its sides the pixel before that it comes from."""
    height, width = (np.arange(side) * 2 if down else np.arange(side) // 2 for side in after.tolist())
    found: Int32 = (height[:, None] * int(grid[1]) + width).astype(np.int32).reshape(-1)
    return found
