"""In which precision a stage computes: bfloat16 where the machine multiplies it faster, else float32.

Weights stay float32 either way (weights in pure bfloat16 did not learn). On a CPU it is timed, once a process: on a
Xeon with AVX512-BF16 but no AMX, products in float32 run at 155 GFLOP/s a core and in bfloat16 at 85; on an EPYC of the
Zen 5 kind bfloat16 makes a step of the transformer 2.3 times as fast.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

SIZE, GAIN = 768, 1.3  # of the products that are timed, and how much faster bfloat16 must be


def _cpu_gains() -> bool:
    """Return whether this CPU multiplies bfloat16 at least `GAIN` times as fast as float32."""

    def best(dtype: torch.dtype) -> float:
        x, times = torch.ones(SIZE, SIZE, dtype=dtype), []
        for _ in range(5):
            start = time.perf_counter()
            torch.mm(x, x)
            times.append(time.perf_counter() - start)
        return min(times)

    return best(torch.float32) >= GAIN * best(torch.bfloat16)


CPU_GAINS = _cpu_gains()  # not when first asked: that is inside of compiled steps


def computes_in_bfloat16(device: torch.device) -> bool:
    """Return whether a forward pass does: on a GPU and on a CPU that gains by it."""
    return device.type != "cpu" or CPU_GAINS


def autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Return the context of a stage's forward pass: autocast to bfloat16 where that gains, else none."""
    return torch.autocast(device.type, torch.bfloat16) if computes_in_bfloat16(device) else nullcontext()
