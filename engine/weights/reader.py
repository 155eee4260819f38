"""Take a component's arrays in the shapes that an architecture says, and pack them for a backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...kernels.ops import Ops
from ..checkpoint import Weights
from .exact import may_round


@dataclass(frozen=True, eq=False)
class Norm:
    """Scale and offset of a layer or group norm: weight and bias, float32 [1, C]."""

    weight: Any
    bias: Any


class Reader:
    """Reads layers by their names in the file.

    Args:
        ops: backend; None: arrays are taken, and so checked, but not packed.
        weights: the component's arrays.
    """

    def __init__(self, ops: Ops[Any, Any] | None, weights: Weights) -> None:
        self.ops = ops
        self.weights = weights

    def stack(self, layers: Sequence[tuple[str, int]], inputs: int, *, bias: bool = True, gated: bool = False) -> Any:
        """Pack linear layers (name, outputs) that read the same input as one: [sum of outputs, inputs].

        Args:
            bias: whether the layers have biases.
            gated: whether they are a gate and a value of the same width, in this order.
        """
        narrowed = self.ops is not None and self.ops.compute == "bfloat16"
        weights = [self.weights.take(f"{name}.weight", outputs, inputs, narrowed=narrowed) for name, outputs in layers]
        biases = [self.weights.take(f"{name}.bias", outputs) for name, outputs in layers] if bias else None
        if self.ops is None:
            return None
        exact = not any(may_round(name) for name, _ in layers)
        return self.ops.pack_linear(weights, biases, swiglu=gated, exact=exact)

    def linear(self, name: str, outputs: int, inputs: int, *, bias: bool = True) -> Any:
        """Pack a linear layer: [outputs, inputs]."""
        return self.stack([(name, outputs)], inputs, bias=bias)

    def norm(self, name: str, width: int) -> Norm:
        """Read a norm with scale and offset."""
        return Norm(*(self.vector(f"{name}.{part}", width) for part in ("weight", "bias")))

    def vector(self, name: str, width: int) -> Any:
        """Read one vector as float32 [1, width]."""
        values = self.weights.take(name, width)
        return None if self.ops is None else self.ops.array(values, "float32")
