"""Estimate memory before anything is allocated: of activations, and of a model's packed weights.

The numbers of activations are upper bounds, not measurements. Weights are read from memory-mapped files, whose pages
the system takes back when it needs them, and packed for the backend one by one: what stays is the packed copy. Arrays
that are quantised are decoded when they are packed, so beside the packed ones a few of them are there as numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..kernels.rounding import LEAST
from ..system import available_memory
from .errors import NotEnoughMemory
from .weights.exact import may_round

if TYPE_CHECKING:
    from .checkpoint import Component

TOGETHER = 3  # arrays that a layer packs as one, at most: q, k and v


class MemoryCoefficients(msgspec.Struct, frozen=True, kw_only=True):
    """Activation bytes of a model on a backend, for one of each thing.

    Attributes:
        row: bytes of a step for every row.
        image_row: further bytes of a step for every image row.
        sample: bytes of a step for every sample.
        pixel: bytes of decoding for every pixel.
    """

    row: int
    image_row: int
    sample: int
    pixel: int

    def step(self, *, text_rows: int, image_rows: int, samples: int) -> int:
        """Return the activation bytes of one model evaluation of so many rows and samples."""
        return (text_rows + image_rows) * self.row + image_rows * self.image_row + samples * self.sample

    def decode(self, pixels: int) -> int:
        """Return the activation bytes of decoding so many pixels."""
        return pixels * self.pixel


def free_memory() -> int | None:
    """Return the bytes of memory that a model may take here; None if the system does not tell."""
    found = [available_memory()]
    try:
        from ..kernels.machine import memory_limit

        found.append(memory_limit())
    except ImportError:  # a bare checkout without the compiled kernels
        pass
    return min((size for size in found if size is not None), default=None)


def weight_bytes(components: Mapping[str, Component], itemsize: int, linear: int | None = None) -> dict[str, int]:
    """Return the bytes of each component's packed weights. A number of the compute dtype has `itemsize` bytes.

    Args:
        linear: bytes of a number of the linear layers that may be rounded; None: `itemsize`. Each of their rows has a
            scale besides. A layer that a backend's quality gate refuses takes more.
    """
    counts = {name: component.parameters for name, component in components.items()}
    sizes = {name: count * itemsize for name, count in counts.items() if count}
    if linear is not None:
        for name in sizes:
            sizes[name] -= _saved(components[name], itemsize, linear)
    return sizes


def _saved(component: Component, itemsize: int, linear: int) -> int:
    saved = 0
    for key, (_, shape) in component.weights().layout().items():
        if len(shape) == 2 and min(shape) >= LEAST and may_round(key):
            saved += shape[0] * (shape[1] * (itemsize - linear) - 4)
    return saved


def loading_bytes(components: Mapping[str, Component]) -> int:
    """Return the bytes that loading takes beside the packed weights: those of arrays that are decoded to be packed.

    A layer packs a few arrays as one. Larger stacks, such as all modulations of FLUX.1, are loaded first, when little
    else is packed: they are there twice then, and are less than half of their model.
    """
    largest = [component.weights().largest for component in components.values() if component.parameters]
    return max(largest, default=0) * TOGETHER * 4


def want_memory(
    path: Path,
    components: Mapping[str, Component],
    itemsize: int,
    linear: int | None = None,
    lighter: Sequence[str] = (),
) -> None:
    """Raise NotEnoughMemory if loading takes more than the memory that is free. No weight is read for it.

    Args:
        itemsize, linear: see `weight_bytes`.
        lighter: ways that take less memory, for the refusal (`backends.lighter`).
    """
    sizes, loading, free = weight_bytes(components, itemsize, linear), loading_bytes(components), free_memory()
    total = sum(sizes.values()) + loading
    if free is not None and total > free:
        parts = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in sizes.items())
        more = f", while they are loaded {loading / 1e9:.1f} more" if loading else ""
        expected = f"{total / 1e9:.1f} GB of memory for its weights ({parts}{more})"
        remedy = ", or ".join(["free some memory, or use a smaller model", *lighter])
        raise NotEnoughMemory(
            "not enough memory", path=path, expected=expected, found=f"{free / 1e9:.1f} GB free", remedy=remedy
        )
