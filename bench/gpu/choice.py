"""Whether torch's attention is faster than ours, a row's bits its own: what `choices.toml` is written from."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from ..runner import Bench
from .setting import Gpu

WORTH: Final = 1.05  # times as fast as ours in every case, or it is not worth other pixels


def choose(bench: Bench, gpu: Gpu, rows: int, width: int, heads: int) -> None:
    """Add a row for each width of heads, and note the entry that the figures speak for."""
    from ...kernels.triton.library import Choices

    chosen = []
    for count in dict.fromkeys((heads, 2 * heads)):
        head = width // count
        theirs: Any = copy.copy(gpu.ops)
        theirs.choices = Choices(frozenset({head}))
        gains, same = [], True
        for lengths in ([rows], [rows // 8, rows // 2, rows // 4, rows // 8]):
            parts = [gpu.tensor(sum(lengths), width) for _ in range(3)]
            segments = gpu.ops.segments(lengths)
            mine, other = (
                gpu.time(partial(ops.attention, *parts, segments, count)).median for ops in (gpu.ops, theirs)
            )
            if mine and other:
                gains.append(mine / other)
            same = same and alike(theirs, parts, lengths, count)
        bench.row(
            op="attention, torch's", shape=f"heads of {head}", by="torch varlen", gain=min(gains, default=None),
            same_bits=same,
        )  # fmt: skip
        if same and gains and min(gains) >= WORTH:
            chosen.append(head)
    if gpu.timed:
        label = gpu.ops.name.partition("/")[2]
        text = f"[{label}] attention = {sorted(chosen)}" if chosen else f"nothing for {label}"
        bench.note(f"what these figures put into kernels/triton/choices.toml: {text}")


def alike(ops: Any, parts: Sequence[Any], lengths: Sequence[int], heads: int) -> bool:
    """Return whether every sample has the bits in company that it has alone."""
    whole, start = ops.numpy(ops.attention(*parts, ops.segments(lengths), heads)), 0
    for length in lengths:
        mine = [ops.rows(part, start, start + length) for part in parts]
        alone = ops.numpy(ops.attention(*mine, ops.segments([length]), heads))
        if not np.array_equal(alone, whole[start : start + length]):
            return False
        start += length
    return True
