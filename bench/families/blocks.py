"""Give the families of this benchmark what they share: their rows, and blocks that take turns with diffusers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..peaks import GFLOP
from ..peers.base import F32


class Row(NamedTuple):
    """One comparison: `error` is the largest difference over the largest magnitude, `decibels` that of a picture."""

    what: str
    error: float | None = None
    decibels: float | None = None


class Blocks(NamedTuple):
    """Calls that compute `what`. `error`: how far Salon's is from diffusers' eager. `gflop`: 1e9 operations of the
    matrix products, convolutions and attention of one call, as diffusers computes it; 0: not counted."""

    rows: int
    turns: dict[str, Callable[[], Any]]
    error: float
    compile_seconds: float | None
    what: str
    gflop: float = 0.0


def relative(got: F32, want: F32) -> float:
    """Return the largest difference over the largest magnitude. Raise ArithmeticError for NaN and infinity."""
    if got.shape != want.shape or not np.isfinite(got).all():
        raise ArithmeticError(f"got {got.shape} of finite: {np.isfinite(got).all()}, want {want.shape}")
    return float(np.abs(got - want).max() / np.abs(want).max())


@contextmanager
def made_in(dtype: Any) -> Iterator[None]:
    """Let torch make parameters in a dtype, from seed 0."""
    import torch

    before = torch.get_default_dtype()
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def operations(call: Callable[[], Any]) -> float:
    """Return the 1e9 operations, multiply-adds x 2, of the matrix products, convolutions and attention of torch in a
    call. What an exact implementation leaves out (texts whose K and V it keeps) is part of it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        """Return what torch's own table has for GPUs' attention alone. The arguments are shapes [B, H, T, D]."""
        samples, heads, rows, width = query
        return int(2 * samples * heads * rows * key[2] * (width + value[3]))

    cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping={cpu: attention}) as counter:
        call()
    return float(counter.get_total_flops()) / GFLOP


def taking_turns(
    rows: int,
    salon: Callable[[], Any],
    theirs: Any,
    answer: Callable[[Any], Any],
    error: float,
    what: str,
    *,
    compiled: bool,
    fullgraph: bool = True,
) -> Blocks:
    """Return the calls that are timed.

    Args:
        salon: evaluates Salon's blocks.
        theirs: diffusers' module of the same weights.
        answer: evaluates such a module.
        compiled: whether it takes part under torch.compile, too, which compiles it now.
        fullgraph: whether it compiles as one graph.
    """
    import torch

    turns: dict[str, Callable[[], Any]] = {"Salon cpu": salon, "diffusers eager": partial(answer, theirs)}
    gflop = operations(turns["diffusers eager"])
    seconds = None
    if compiled:
        faster = torch.compile(theirs, fullgraph=fullgraph, dynamic=False)
        start = time.perf_counter()
        answer(faster)
        seconds = time.perf_counter() - start
        turns["diffusers compile"] = partial(answer, faster)
    return Blocks(rows, turns, error, seconds, what, gflop)
