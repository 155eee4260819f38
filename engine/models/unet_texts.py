"""Compute keys and values of texts for a UNet's attention to them, or take those of a batch from the arena.

They depend on neither picture nor timestep nor company: a text alone has the bits that it has among others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...kernels.ops import Ops
from ..denoiser import KeptText, Sample
from ..weights.unet import UNetWeights
from .low_rank import low_rank, text_loras

KEYS = "text_kv"  # the linear of a layer that makes both


def text_keys(ops: Ops[Any, Any], weights: UNetWeights, readers: Sequence[Sample]) -> Iterator[tuple[Any, Any]]:
    """Yield keys and values of texts one below another, compute [R, D] each, layer by layer as they are computed.

    Args:
        readers: a sample of each text, which says the LoRAs that it is read through.
    """
    loras = text_loras(readers, [len(reader.text.tokens) for reader in readers])
    rows = ops.array(np.concatenate([reader.text.tokens for reader in readers]))
    for transformer in weights.transformers:
        width = transformer.width
        for layer in transformer.layers:
            both = ops.linear(rows, layer.text_kv, low_rank=low_rank(loras, f"{layer.name}.{KEYS}", "text"))
            yield ops.columns(both, 0, width), ops.columns(both, width, 2 * width)


def batch_keys(ops: Ops[Any, Any], weights: UNetWeights, readers: Sequence[Sample]) -> tuple[tuple[Any, Any], ...]:
    """Return the same of all layers, as far as they are kept from there: what is not is computed."""
    others = [reader for reader in readers if reader.kept_text is None]
    if len(others) == len(readers):
        return tuple(text_keys(ops, weights, readers))
    ends = np.cumsum([0, *(len(reader.text.tokens) for reader in others)]).tolist()
    places = dict(zip(map(id, others), pairwise(ends), strict=True))
    computed, found = text_keys(ops, weights, others) if ends[-1] else None, []
    for layer in range(sum(len(transformer.layers) for transformer in weights.transformers)):
        made = None if computed is None else next(computed)
        parts: list[list[Any]] = [[], []]
        for reader in readers:
            kept = reader.kept_text
            tables = made if kept is None else (kept.pages.keys[layer], kept.pages.values[layer])
            if tables is None:
                continue  # a text without rows
            runs = [places[id(reader)]] if kept is None else _runs(kept)
            for table, into in zip(tables, parts, strict=True):
                into += [ops.rows(table, start, stop) for start, stop in runs]
        found.append((ops.concat(parts[0]), ops.concat(parts[1])))
    return tuple(found)


def _runs(kept: KeptText) -> list[tuple[int, int]]:
    """Return where the rows of a text lie, as ranges of rows that follow one another."""
    cuts = np.flatnonzero(np.diff(kept.rows) != 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(kept.rows, cuts)]
