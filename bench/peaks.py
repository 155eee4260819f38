"""What this machine can do at best: dot products of a core (Salon's own probe), memory copies of all threads.

A clock that moves, a neighbour on the machine and the heat of the moment change what "at best" is from second to
second. So a peak is never measured once and before: each probe here is a candidate of `measure.interleave`, its short
runs take turns with what it judges, and a share of the peak is the ratio of the best run to the best run.
"""

from __future__ import annotations

import time
from threading import Barrier, Thread
from typing import Literal

import numpy as np

from .measure import Samples
from .peers.base import F32

RUN_S = 0.003  # of one run
RUNS = 4  # of one turn
GFLOP, GB = 1e9, 1e9


class DotProducts:
    """FLOP/s of one core, register to register, with the best (or named) instruction set.

    Attributes:
        name: of the instruction set and dtype; "" where the kernels or the bf16 dot product are missing, and no turn
            may be taken.
    """

    def __init__(self, dtype: Literal["bfloat16", "float32"], isa: str = "") -> None:
        from ..kernels import _C

        try:
            self._backend = _C.Backend(isa, dtype, 1)
        except ValueError:  # the instruction set has no bf16 dot product
            self.name = ""
        else:
            self.name = f"{self._backend.isa} {dtype}"

    def turn(self) -> list[float]:
        """Return the milliseconds for 1 GFLOP on one core, of several short runs."""
        return [GFLOP * 1e3 / self._backend.peak(RUN_S) for _ in range(RUNS)]


class Copies:
    """Bytes read plus bytes written a second by plain copies, all threads together.

    Args:
        threads: how many copy.
        working_set: bytes of all sources and targets together. A small one stays in the caches, as an op's does that
            follows the op which wrote its input; so a share of this rate is a share of what the op could reach there.
    """

    def __init__(self, threads: int, working_set: int) -> None:
        size = max(4096, working_set // (2 * threads)) // 4
        self.arrays = [(np.ones(size, np.float32), np.zeros(size, np.float32)) for _ in range(threads)]
        self.bytes = size * 8  # of one copy of one thread
        self.repeats = max(1, int(2e10 * RUN_S / self.bytes))

    def turn(self) -> list[float]:
        """Return the milliseconds for 1 GB read and written, of several short runs."""
        return [self._run() for _ in range(RUNS)]

    def _run(self) -> float:
        barrier = Barrier(len(self.arrays) + 1)

        def work(source: F32, target: F32) -> None:
            barrier.wait()
            for _ in range(self.repeats):
                np.copyto(target, source)  # without the interpreter lock
            barrier.wait()

        workers = [Thread(target=work, args=pair) for pair in self.arrays]
        for worker in workers:
            worker.start()
        barrier.wait()
        start = time.perf_counter()
        barrier.wait()
        elapsed = time.perf_counter() - start
        for worker in workers:
            worker.join()
        return elapsed * 1e3 / (self.repeats * len(self.arrays) * self.bytes / GB)


def floor_ms(gflop: float, peak: Samples | None, threads: int) -> float | None:
    """Return the least milliseconds for so many 1e9 operations on all threads, by the best run of a `DotProducts`
    probe."""
    best = peak.best if peak is not None else None
    return None if best is None else gflop * best / threads


def gflops_per_core(peak: Samples | None, which: Literal["best", "median"] = "best") -> float | None:
    """Return the 1e9 FLOP/s of a core, by the best or the median run of a `DotProducts` probe."""
    ms = None if peak is None else getattr(peak, which)
    return None if ms is None else 1e3 / ms
