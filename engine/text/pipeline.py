"""What a text pipeline is: it turns a prompt into the numbers that a model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TextEncoding:
    """A prompt as a model reads it. Whatever an engine holds is shared by all who asked for it, and read-only.

    Attributes:
        tokens: float32 [R, E] text rows.
        pooled: float32 [P].
        clauses: slot -> the words that were encoded there.
        warnings: what was left out or replaced, one sentence each, for the user to see.
    """

    tokens: Float32
    pooled: Float32
    clauses: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class TextPipeline(Protocol):
    """A loaded text pipeline. All its encodings have the same numbers of columns."""

    @property
    def parts(self) -> Sequence[int]:
        """Text rows of each part of a prompt, in the order of the rows."""

    @property
    def num_rows(self) -> int:
        """Text rows of every prompt: the sum of `parts`."""

    @property
    def unconditional(self) -> TextEncoding:
        """What the unconditional branch reads where there is no negative prompt."""

    @property
    def sizes(self) -> Mapping[str, Mapping[str, Any]]:
        """Of each component with weights, the numbers of its config that decide how much work it is."""

    def encode(self, prompt: str, field: str = "prompt", *, avoided: bool = False) -> TextEncoding:
        """Encode a prompt; `avoided`: it says what is not to be drawn, and need not name a thing. PromptError, which
        calls it `field`, for one that cannot be read or is too long."""


def read_only(
    tokens: Float32, pooled: Float32, clauses: Mapping[str, str] | None = None, warnings: tuple[str, ...] = ()
) -> TextEncoding:
    """Return an encoding of these very arrays, and make them read-only."""
    for array in (tokens, pooled):
        array.setflags(write=False)
    return TextEncoding(tokens, pooled, MappingProxyType(clauses or {}), warnings)
