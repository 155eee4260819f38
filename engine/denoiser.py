"""Define what an engine needs of the model that it steps, of any family.

A step is two calls. `Denoiser.layout` prepares everything of a batch that stays the same from step to step, once for
each set of generations that step together. `Denoiser.velocity` evaluates the model on the present latents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..kernels.ops import Ops, Vector
from ..kernels.segments import Int32
from .text.pipeline import TextEncoding

if TYPE_CHECKING:
    from .adapters.adapters import AdapterBranch
    from .codecs import LatentCodec
    from .info import Architecture
    from .memory import MemoryCoefficients
    from .sigmas import SigmaConfig
    from .weights.ip_adapter import IpAdapter
    from .weights.lora import LoraWeights
    from .weights.lora_map import LoraMap

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class KeptReferences:
    """References whose keys and values a model computes once, for all steps and all samples that look at them.

    Attributes:
        grids: (height, width) in tokens of each picture.
        tokens: backend array float32 [n, C], their clean latents one after another.
        loras: the LoRAs that they are read through, each with its weight.
        rows: int32 [n], where their keys and values lie in `Pages`; None: nowhere, so that each step computes them.
    """

    grids: tuple[tuple[int, int], ...]
    tokens: Any
    loras: tuple[tuple[LoraWeights, float], ...] = ()
    rows: Int32 | None = None

    def __len__(self) -> int:
        """Return n, their tokens."""
        return sum(height * width for height, width in self.grids)


@dataclass(frozen=True, slots=True, eq=False)
class KeptText:
    """A text whose keys and values were computed once, for all steps and all samples that read it.

    Attributes:
        rows: int32 [n], where they lie in `pages`, for each row of the text.
        pages: the arena.
    """

    rows: Int32
    pages: Pages


@dataclass(frozen=True, slots=True)
class Sample:
    """The part of one sample of a batch that stays the same from step to step.

    Attributes:
        grid: (height, width) of its image in tokens.
        text: the text rows; samples with the same text share the object.
        guidance: the input of a guidance embedding; None: the model has none.
        loras: the LoRAs that act on it, each with its weight; samples with the same ones share the object. Only a model
            that `TakesLoras` is given any.
        references: (height, width) in tokens of each picture that the model looks at, whose rows follow those of the
            image. Only a model of which the checkpoint says that it takes references is given any.
        beside: float32 [rows of the image, channels], what a model that fills pictures reads beside each token; samples
            with the same share the object. None: it is zeros, or no such model.
        kept: the pictures that the model looks at, where it `KeepsReferences`: they have no rows then. Samples with the
            same share the object.
        kept_text: where keys and values of the text lie, where the model `KeepsTexts`; None: its layout computes them.
    """

    grid: tuple[int, int]
    text: TextEncoding
    guidance: float | None = None
    loras: tuple[tuple[LoraWeights, float], ...] = ()
    references: tuple[tuple[int, int], ...] = ()
    beside: Float32 | None = None
    kept: KeptReferences | None = None
    kept_text: KeptText | None = None

    @property
    def rows(self) -> int:
        """Rows of its image and its references."""
        return sum(height * width for height, width in (self.grid, *self.references))


@dataclass(frozen=True, eq=False)
class AdapterTable:
    """Which adapter acts on which sample of a batch: M terms, the same for every layer.

    Attributes:
        samples: int32 [M], the sample that a term acts on.
        offsets: int32 [M + 1]; term m uses `rows[offsets[m]:offsets[m + 1]]`.
        rows: int32 [sum], rows of the layers' key and value arrays.
        weights: float32 [M], the factor of each term.
        joined: whether the terms are those of InstantX's adapters of FLUX.1, see `AdapterBranch`.
    """

    samples: Int32
    offsets: Int32
    rows: Int32
    weights: Float32
    joined: bool = False


class Pages(Protocol):
    """Keys and values of adapters, and of references and texts that are kept: for each layer a backend array [R, D] of
    compute dtype."""

    @property
    def keys(self) -> Sequence[Any]: ...

    @property
    def values(self) -> Sequence[Any]: ...


class Denoiser(Protocol):
    """A loaded model of one family."""

    @property
    def codec(self) -> LatentCodec:
        """The codec that turns the model's latents into pictures."""

    @property
    def sizes(self) -> Mapping[str, Mapping[str, Any]]:
        """For each component with weights, the numbers of its config that decide how much work it is."""

    def architecture(self, sigmas: SigmaConfig) -> Architecture:
        """Return the sizes that requests, text and adapters must fit.

        `sigmas` says how the checkpoint spaces its sigmas.
        """

    def memory(self, itemsize: int) -> MemoryCoefficients:
        """Return the activation memory that the model takes. A number of compute dtype has `itemsize` bytes."""

    def times(self, sigmas: Float32) -> Float32:
        """Return the model's inputs for noise levels: float32 [S] of sigmas float32 [S]."""

    def layout(self, ops: Ops[Any, Any], samples: Sequence[Sample], adapters: AdapterTable | None = None) -> Any:
        """Prepare what stays the same while these samples step together. There is at least one.

        Raises:
            ValueError: a part of a sample, or an adapter's sample, does not fit the model.
        """

    def velocity(self, ops: Ops[Any, Any], layout: Any, latents: Any, times: Vector, pages: Pages | None = None) -> Any:
        """Evaluate the model.

        Args:
            layout: the result of `Denoiser.layout`.
            latents: backend array float32 [T, C], the tokens of all samples' images one after another, each followed
                by those of the sample's references.
            times: the result of `Denoiser.times`, as a vector of `ops`.
            pages: the arrays in which the rows of the layout's adapter table lie, if it has one.

        Returns:
            dx/dsigma, backend array float32 [T, C]; what stands in the rows of references is not read.
        """

    def adapter_branch(self, ops: Ops[Any, Any], weights: Mapping[str, NDArray[Any]]) -> AdapterBranch:
        """Pack an adapter branch. Raise CheckpointError unless names and shapes are those of this model."""

    def adapter_file(self, ops: Ops[Any, Any], path: str | Path) -> IpAdapter:
        """Read an adapter file.

        Raise CheckpointError if anything is wrong with it, or if it is made for another model.
        """


@runtime_checkable
class KeepsReferences(Protocol):
    """A denoiser that can compute keys and values of references once. Its layout takes `Sample.kept`."""

    @property
    def reference_widths(self) -> tuple[int, ...]:
        """Columns of the keys of each layer, in the order of computation; (): these weights were not made for it."""

    def reference_keys(self, ops: Ops[Any, Any], references: KeptReferences) -> Iterator[tuple[Any, Any]]:
        """Yield keys and values of references, backend arrays [n, D] of compute dtype each, layer by layer."""


@runtime_checkable
class KeepsTexts(Protocol):
    """A denoiser whose layers read a text by keys and values that depend on the text alone, and on LoRAs. They can be
    computed once; its layout takes `Sample.kept_text`."""

    @property
    def text_widths(self) -> tuple[int, ...]:
        """Columns of the keys of each layer, in the order of computation. Adapters enter the same layers."""

    def text_keys(
        self, ops: Ops[Any, Any], text: TextEncoding, loras: tuple[tuple[LoraWeights, float], ...] = ()
    ) -> Iterator[tuple[Any, Any]]:
        """Yield keys and values of a text as it is read through LoRAs, backend arrays [n, D] of compute dtype each,
        layer by layer."""

    def changes_texts(self, lora: LoraWeights) -> bool:
        """Return whether a LoRA changes keys and values of texts."""


@runtime_checkable
class LaysOutForGraphs(Protocol):
    """A denoiser whose layouts are made in several ways, by the samples' sides, where one serves all of them."""

    def graph_layout(self, ops: Ops[Any, Any], layout: Any) -> Any:
        """Return a layout in the form that recorded graphs take, which may be a slower one."""


@runtime_checkable
class TakesLoras(Protocol):
    """A denoiser whose layout takes `Sample.loras`. For any other every LoRA is refused, by the name of its family."""

    def lora_map(self) -> LoraMap:
        """Return the linears that a LoRA may change, and the names that files give them."""
