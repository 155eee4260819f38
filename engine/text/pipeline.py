"""Define what a text pipeline does: it turns a prompt into the numbers that a model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..lora_uses import LoraUse
    from ..weights.lora import LoraWeights
    from ..weights.lora_map import LoraMap

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TextEncoding:
    """A prompt as a model reads it. An engine shares its encodings among all callers, so their arrays are read-only.

    Attributes:
        tokens: float32 [R, E], the text rows.
        pooled: float32 [P], the pooled text vector.
        clauses: slot -> the words that were encoded there.
        warnings: for the user, what was left out or replaced, one sentence each.
    """

    tokens: Float32
    pooled: Float32
    clauses: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class TextPipeline(Protocol):
    """A loaded text pipeline. All its encodings have the same number of columns."""

    @property
    def parts(self) -> Sequence[int]:
        """Text rows of each part of a prompt at most, in the order of the rows."""

    @property
    def num_rows(self) -> int:
        """Text rows of a prompt at most, which is the sum of `parts`. Pipelines that pad make so many always."""

    @property
    def widths(self) -> tuple[int, int]:
        """Columns of the text rows, and of the pooled vector."""

    @property
    def unconditional(self) -> TextEncoding:
        """Input of the unconditional branch without a negative prompt."""

    @property
    def sizes(self) -> Mapping[str, Mapping[str, Any]]:
        """For each component with weights, the numbers of its config that decide how much work it is."""

    def encode(self, prompt: str, field: str = "prompt", *, beside: bool = False) -> TextEncoding:
        """Encode a prompt.

        Args:
            field: the name of the prompt in errors.
            beside: whether the words stand beside a prompt ("pink background"), and need not say what to draw.

        Raises:
            PromptError: the prompt cannot be read, or is too long.
        """


@dataclass(frozen=True, eq=False)
class TextLoras:
    """The LoRAs through which prompts are read.

    Attributes:
        uses: what tells them apart from others.
        acting: their packed factors, each with its weight.
    """

    uses: tuple[LoraUse, ...]
    acting: tuple[tuple[LoraWeights, float], ...]


@runtime_checkable
class TakesTextLoras(Protocol):
    """A `TextPipeline` whose encoders LoRAs may change. Of any other their layers are left out, which is told."""

    def lora_map(self) -> LoraMap:
        """Return the linears of the encoders that a LoRA may change, and the names that files give them."""

    def encode_with(
        self, loras: TextLoras, prompt: str | None, field: str = "prompt", *, beside: bool = False
    ) -> TextEncoding:
        """Do as `TextPipeline.encode` does, through LoRAs; for None return what `unconditional` is through them."""


@dataclass(frozen=True, eq=False)
class ShownPicture:
    """A picture that a text encoder sees.

    Attributes:
        digest: SHA-256 (hex) of its file.
        pixels: uint8 [height, width, 3], at the size that the text encoder takes.
    """

    digest: str
    pixels: NDArray[np.uint8]

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it apart from others: its file, and its size."""
        return self.digest, self.pixels.shape[1], self.pixels.shape[0]


@runtime_checkable
class SeesPictures(Protocol):
    """A `TextPipeline` whose encoder sees the pictures that the prompt speaks of."""

    def encode_shown(
        self, pictures: Sequence[ShownPicture], prompt: str | None, field: str = "prompt", *, beside: bool = False
    ) -> TextEncoding:
        """Do as `TextPipeline.encode` does, with pictures before the prompt; for None return what `unconditional` is
        with them."""


def read_only(
    tokens: Float32, pooled: Float32, clauses: Mapping[str, str] | None = None, warnings: tuple[str, ...] = ()
) -> TextEncoding:
    """Make these arrays read-only, and return an encoding of them (not of copies)."""
    for array in (tokens, pooled):
        array.setflags(write=False)
    return TextEncoding(tokens, pooled, MappingProxyType(clauses or {}), warnings)
