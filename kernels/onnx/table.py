"""Provide the op table of the backends that run graphs: what is recorded runs there, all else by the cpu kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from ..cpu import CpuOps
from ..segments import Int32
from .inputs import Feeds
from .weights import ConvWeight, LinearWeight, conv_weight, linear_weight


class Session(Protocol):
    """A graph that is ready to run."""

    def bind(self, feeds: Feeds) -> None:
        """Hold inputs for all runs that follow, until they are bound anew."""

    def run(self, feeds: Feeds) -> NDArray[Any]:
        """Run with the other inputs. Return the output."""


class GraphOps(CpuOps):
    """The op table of the cpu kernels in float32, with what runs recorded graphs.

    Args:
        label: name of the table, with what runs graphs and where: "onnx/cpu".
        start: reads a graph from a file and makes it ready.
        threads: see `CpuOps`.

    Attributes:
        start: as given.
    """

    def __init__(self, label: str, start: Callable[[Path], Session], threads: int | None = None) -> None:
        super().__init__(None, "float32", threads)
        self._label, self.start = label, start

    @property
    def name(self) -> str:
        return self._label

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user: those of `CpuOps`, and what is not promised of kernels of others."""
        return (
            *super().notes,
            f"{self._label}: a picture may depend on what is drawn with it, and differs from that of the cpu backend",
        )

    @staticmethod
    def is_array(x: Any) -> bool:
        """Return whether this is an array of the table."""
        return hasattr(x, "stride") and hasattr(x, "columns")

    def pack_linear(
        self,
        weights: Sequence[NDArray[Any]],
        biases: Sequence[NDArray[Any] | None] | None = None,
        *,
        swiglu: bool = False,
        exact: bool = False,
    ) -> Any:
        kept = list(weights)

        def pack() -> Any:
            return super(GraphOps, self).pack_linear(kept, biases, swiglu=swiglu, exact=exact)

        return linear_weight(kept, biases, swiglu, pack)

    def linear(self, x: Any, weight: Any, **options: Any) -> Any:
        return super().linear(x, weight.packed if isinstance(weight, LinearWeight) else weight, **options)

    def pack_conv(self, weight: NDArray[Any], bias: NDArray[Any] | None) -> Any:
        return conv_weight(weight, bias, lambda: super(GraphOps, self).pack_conv(weight, bias))

    def conv2d(self, x: Any, weight: Any, grids: Int32, **options: Any) -> Any:
        return super().conv2d(x, _packed(weight), grids, **options)

    def upsample(self, x: Any, weight: Any, grids: Int32, **options: Any) -> Any:
        return super().upsample(x, _packed(weight), grids, **options)

    def downsample(self, x: Any, weight: Any, grids: Int32, **options: Any) -> Any:
        return super().downsample(x, _packed(weight), grids, **options)


def _packed(weight: Any) -> Any:
    return weight.packed if isinstance(weight, ConvWeight) else weight
