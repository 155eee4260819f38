"""Keep weights as the checkpoint has them, for graphs and for the cpu kernels, which pack them when they are used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bfloat16 import holds_bits, widen
from ..ops import Float32


@dataclass(frozen=True, eq=False)
class Matrix:
    """A weight that is made of arrays of the checkpoint when it is read.

    Attributes:
        shape: its shape.
        make: returns it in float32.
        bits: returns it as bits of bfloat16, exactly; None: the checkpoint has other numbers.
    """

    shape: tuple[int, ...]
    make: Callable[[], Float32]
    exact: Callable[[], NDArray[np.uint16]] | None = None

    def read(self, *, bits: bool) -> NDArray[Any]:
        """Return it in float32, or as the bits of bfloat16, rounded to nearest even."""
        if not bits:
            return np.ascontiguousarray(self.make(), np.float32)
        if self.exact is not None:
            return np.ascontiguousarray(self.exact())
        return rounded_bits(self.make())


@dataclass(eq=False)
class LinearWeight:
    """A linear layer: matrix [N, K], bias [N], and what packs both for the cpu kernels."""

    matrix: Matrix
    bias: Matrix
    swiglu: bool
    pack: Callable[[], Any]

    @cached_property
    def packed(self) -> Any:
        """The weight of the cpu kernels. The first use packs it."""
        return self.pack()


@dataclass(eq=False)
class ConvWeight:
    """A convolution: weight [O, I, kh, kw], bias [O], and what packs both for the cpu kernels."""

    kernel: Matrix
    columns: Matrix  # [O, kh * kw * I], for inputs whose taps stand side by side
    bias: Matrix
    pack: Callable[[], Any]

    @cached_property
    def packed(self) -> Any:
        """The weight of the cpu kernels. The first use packs it."""
        return self.pack()


def rounded_bits(x: NDArray[Any]) -> NDArray[np.uint16]:
    """Return float32 numbers as the bits of bfloat16, rounded to nearest even; NaN stays NaN."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(x), np.uint32(0x7FC0), rounded).astype(np.uint16)


def linear_weight(
    weights: Sequence[NDArray[Any]],
    biases: Sequence[NDArray[Any] | None] | None,
    swiglu: bool,
    pack: Callable[[], Any],
) -> LinearWeight:
    """Return a linear layer of arrays [N_i, K], whose results stand side by side."""
    rows, given = [len(weight) for weight in weights], biases or [None] * len(weights)

    def bias() -> Float32:
        parts = [
            np.zeros(n, np.float32) if part is None else widen(part, "pack_linear: bias")
            for n, part in zip(rows, given, strict=True)
        ]
        return np.concatenate(parts)

    shape = sum(rows), weights[0].shape[1]
    wide = Matrix(
        shape,
        lambda: np.concatenate([widen(weight, "pack_linear: weight") for weight in weights]),
        (lambda: np.concatenate(weights)) if all(map(holds_bits, weights)) else None,
    )
    return LinearWeight(wide, Matrix((sum(rows),), bias), swiglu, pack)


def conv_weight(weight: NDArray[Any], bias: NDArray[Any] | None, pack: Callable[[], Any]) -> ConvWeight:
    """Return a convolution of an array [O, I, kh, kw]."""
    outputs, inputs, height, width = weight.shape

    def kernel() -> Float32:
        return widen(weight, "pack_conv: weight")

    def columns() -> Float32:
        return np.ascontiguousarray(kernel().transpose(0, 2, 3, 1)).reshape(outputs, -1)

    def shift() -> Float32:
        return np.zeros(outputs, np.float32) if bias is None else widen(bias, "pack_conv: bias")

    return ConvWeight(
        Matrix(weight.shape, kernel),
        Matrix((outputs, height * width * inputs), columns),
        Matrix((outputs,), shift),
        pack,
    )
