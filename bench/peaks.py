"""What this machine can do at best: dot products of one core (Salon's own probe), memory copies of all threads."""

from __future__ import annotations

import time
from functools import cache
from threading import Barrier, Thread
from typing import Literal

import numpy as np

from .peers.base import F32


@cache
def flops_per_core(dtype: Literal["bfloat16", "float32"], isa: str = "") -> float | None:
    """FLOP/s of one core, register to register, with the best (or named) instruction set; None without the kernels."""
    try:
        from ..kernels import _C
    except ImportError:
        return None
    try:
        value = float(_C.Backend(isa, dtype, 1).peak(0.3))
    except ValueError:  # the instruction set has no bf16 dot product
        return None
    return value if value > 0 else None


@cache
def bytes_per_second(threads: int, working_set: int, seconds: float = 0.1) -> float:
    """Bytes read plus bytes written a second by plain copies, all threads together, best of five rounds.

    working_set: bytes of all sources and targets together. A small one stays in the caches, as an op's does that
    follows the op which wrote its input; so a share of this rate is a share of what the op could reach there.
    """
    size = max(4096, working_set // (2 * threads)) // 4
    repeats = max(1, int(2e9 * seconds / (size * 8)))
    arrays = [(np.ones(size, np.float32), np.empty(size, np.float32)) for _ in range(threads)]
    for source, target in arrays:
        np.copyto(target, source)  # touch the pages

    def once() -> float:
        barrier = Barrier(threads + 1)

        def work(source: F32, target: F32) -> None:
            barrier.wait()
            for _ in range(repeats):
                np.copyto(target, source)  # without the interpreter lock
            barrier.wait()

        workers = [Thread(target=work, args=pair) for pair in arrays]
        for worker in workers:
            worker.start()
        barrier.wait()
        start = time.perf_counter()
        barrier.wait()
        elapsed = time.perf_counter() - start
        for worker in workers:
            worker.join()
        return repeats * threads * size * 8 / elapsed

    return max(once() for _ in range(5))
