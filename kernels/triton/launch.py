"""Launch kernels: the one door between the op table and Triton."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch

from triton.runtime.interpreter import interpreter_builder


class Launch(Protocol):
    """What starts a kernel. Benchmarks and tests put others in its place, to record or to refuse."""

    def __call__(
        self, kernel: Any, grid: tuple[int, ...], *args: Any, warps: int = 4, stages: int = 2, **constants: Any
    ) -> None:
        """Run `kernel` once for each place of `grid`; a grid with a zero in it runs nothing.

        Args:
            args: the kernel's arguments before its constants; None for a pointer that the constants make unused.
            warps, stages: of 32 threads a program; of loads that are under way.
            constants: the kernel's constants.
        """


class DeviceLaunch:
    """Launch on torch's current stream of one device, or under the interpreter."""

    def __init__(self, device: torch.device) -> None:
        self._index = device.index if device.type == "cuda" else None
        if device.type == "cpu":  # the interpreter checks every address for overflow, which takes most of its time
            interpreter_builder.options = replace(interpreter_builder.options, sanitize_overflow=False)

    def __call__(
        self, kernel: Any, grid: tuple[int, ...], *args: Any, warps: int = 4, stages: int = 2, **constants: Any
    ) -> None:
        if 0 in grid:
            return
        if self._index is None:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the interpreter computes with numpy, which warns of NaN and infinity
                kernel[grid](*args, num_warps=warps, num_stages=stages, **constants)
        elif torch.cuda.current_device() != self._index:
            with torch.cuda.device(self._index):
                kernel[grid](*args, num_warps=warps, num_stages=stages, **constants)
        else:
            kernel[grid](*args, num_warps=warps, num_stages=stages, **constants)
