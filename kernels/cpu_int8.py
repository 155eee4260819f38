"""Keep the weights of linear layers in int8, on the kernels of the cpu backend.

A weight has a scale for each of its rows, rounded once when it is packed. Of a product's input every 512 numbers of a
row are rounded to int16 by a scale of their own, found anew at every call. Products are summed as integers, so a result
has the same bits on every instruction set, in any company and on any number of threads; `reference/int8.py` defines it.

The quality gate: where rounding changes a layer's weights by more than `GATE` of their root mean square, or where one
of them is not finite, the layer stays in the compute dtype. So do layers with a side below `LEAST`, and those that a
model packs as `exact`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from numpy.typing import NDArray

from .cpu import CpuOps, Weight
from .ops import Dtype
from .rounding import LEAST

GATE: Final = 0.05  # rounding to int8 changes normal numbers by 0.01


class Int8Ops(CpuOps):
    """The op table on C++ kernels, with weights of linear layers in int8.

    Args:
        isa, dtype, threads: see `CpuOps`.
        gate, least: the bounds, see the module.

    Attributes:
        layers: how many linear layers were tried.
        kept: how many are in int8.
        worst: by how much rounding changed the weights of the worst of these, as a share.
    """

    BACKEND = "cpu_int8"
    linear_bytes = 1

    def __init__(
        self,
        isa: str | None = None,
        dtype: Dtype | None = None,
        threads: int | None = None,
        *,
        gate: float = GATE,
        least: int = LEAST,
    ) -> None:
        super().__init__(isa, dtype, threads)
        self.gate, self.least = gate, least
        self.layers = self.kept = 0
        self.worst = 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user: those of `CpuOps`, and what int8 does to layers."""
        return (
            *super().notes,
            f"int8: {self.kept} of {self.layers} linear layers, whose weights are off by {self.worst:.1%} at most "
            f"(allowed {self.gate:.0%}); the others stay as they were",
        )

    def pack_linear(
        self,
        weights: Sequence[NDArray[Any]],
        biases: Sequence[NDArray[Any] | None] | None = None,
        *,
        swiglu: bool = False,
        exact: bool = False,
    ) -> Weight:
        self.layers += 1
        shapes = [w.shape for w in weights if w.ndim == 2]
        large = bool(shapes) and min(sum(n for n, _ in shapes), shapes[0][1]) >= self.least
        if large and not exact:
            packed = self._packed(weights, biases, swiglu, int8=True)
            if packed.error <= self.gate:  # NaN is not
                self.kept += 1
                self.worst = max(self.worst, packed.error)
                return packed
        return super().pack_linear(weights, biases, swiglu=swiglu)
