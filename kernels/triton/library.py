"""Leave attention to torch's FlashAttention where that was measured to be faster; adapter terms stay with our kernel.

It takes the rows of a sample one after another, and one number for the most rows of a sample. So rows are gathered by
sample where there are several samples, and the number is that of all rows, whatever the samples are: a graph that was
captured for a batch serves another.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

TABLE: Final = Path(__file__).with_name("choices.toml")


@dataclass(frozen=True)
class Choices:
    """The ops that are left to a library.

    Attributes:
        attention: widths of heads for which it attends.
    """

    attention: frozenset[int] = frozenset()

    @classmethod
    def of(cls, label: str) -> Choices:
        """Return what was measured for a kind of device, such as "sm_90"."""
        return cls(frozenset(_table().get(label, {}).get("attention", ())))

    def __str__(self) -> str:
        """Return what a backend's name has for them: "", or "+attention128"."""
        return "".join(f"+attention{width}" for width in sorted(self.attention))


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(TABLE.read_text())


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, ends: torch.Tensor, heads: int, scale: float
) -> torch.Tensor:
    """Attend among rows that stand sample by sample.

    Args:
        q, k, v: [T, heads * E] of compute dtype.
        ends: int32 [S + 1], the first row of each sample, and T.
        scale: of scores.

    Returns:
        [T, heads * E].
    """
    count, width = q.shape
    parts = [x.reshape(count, heads, width // heads) for x in (q, k, v)]
    if q.device.type == "cuda":
        from torch.nn.attention.varlen import varlen_attn

        # One pass over the keys: to share them out among blocks is chosen by how many rows there are.
        made: torch.Tensor = varlen_attn(*parts, ends, ends, count, count, scale=scale, num_splits=1)
        return made.reshape(count, width)
    made, places = torch.empty_like(parts[0]), np.asarray(ends.numpy())
    for start, stop in zip(places[:-1].tolist(), places[1:].tolist(), strict=True):  # the interpreter's way to check it
        if start < stop:
            mine = (x[start:stop].transpose(0, 1) for x in parts)
            found = torch.nn.functional.scaled_dot_product_attention(*mine, scale=scale)
            made[start:stop] = found.transpose(0, 1)
    return made.reshape(count, width)
