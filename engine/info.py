"""What is known of a loaded model without it: plain facts, which any process can be told.

`Engine.info` states them. Whoever admits, weighs or describes requests for an engine elsewhere (a studio, whose engines
may live in other processes) works with these and holds no weights.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .defaults import complete
from .limits import Limits
from .memory import MemoryCoefficients
from .sigmas import SigmaConfig
from .spec import GenerationSpec
from .styles.choice import StyleInfo
from .taught import Taught


class ModelIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Which model it is.

    Attributes:
        name, version: what the model calls itself.
        digest: content hash of everything that it draws with.
        components: content hash of each of its components.
    """

    name: str
    version: str
    digest: str
    components: dict[str, str]

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


class BackendInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What computes: with the model, it fixes pixels to the bit.

    Attributes:
        name: of the op table and its instruction set ("cpu/avx2").
        compute: dtype of products ("bfloat16", "float32").
    """

    name: str
    compute: str

    @property
    def itemsize(self) -> int:
        """Bytes of a number of the compute dtype."""
        return 2 if self.compute == "bfloat16" else 4

    def __str__(self) -> str:
        return f"{self.name} {self.compute}"


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a model that requests, text and adapters must fit.

    Attributes:
        granularity: pixels along a side of a token; the sides of a picture are multiples of it.
        token_channels: C, columns of the latents of a token.
        text_width, pooled_width: of a text token, and of the pooled text vector.
        embedded_guidance: what a guidance embedding sees by default; None: the model has none.
        adapter_layers, adapter_width: blocks that an adapter's keys and values enter, and their columns.
        sigmas: how the checkpoint spaces its sigmas.
    """

    granularity: int
    token_channels: int
    text_width: int
    pooled_width: int
    embedded_guidance: float | None
    adapter_layers: int
    adapter_width: int
    sigmas: SigmaConfig


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that has to be known of an engine to admit and weigh requests without it.

    Attributes:
        identity, backend: what pixels depend on, beside the request.
        architecture, memory, limits: what `Admission` decides by.
        text_rows: of a prompt; 0: the model reads none.
        unconditional_rows: of the empty unconditional input.
        defaults: fields of `GenerationSpec` that suit the model.
        draft: those that a draft has otherwise; empty: none.
        styles: what it knows of styles; None: nothing.
        taught: how long a picture it was taught; None: it does not say.
    """

    identity: ModelIdentity
    backend: BackendInfo
    architecture: Architecture
    memory: MemoryCoefficients
    limits: Limits
    text_rows: int
    unconditional_rows: int
    defaults: dict[str, Any]
    draft: dict[str, Any] = {}
    styles: StyleInfo | None = None
    taught: Taught | None = None

    @property
    def max_rows(self) -> int:
        """Rows that any step may have: the engine's limit, and what surely fits its memory bound."""
        a_sample = self.memory.sample / (self.text_rows + 1)  # a sample has more rows than its text
        a_row = self.memory.row + self.memory.image_row
        return max(1, min(self.limits.max_rows, int(self.limits.max_step_bytes / (a_row + a_sample))))

    def make_spec(
        self, prompt: str, *, draft: bool = False, aspect: tuple[float, float] | None = None, **fields: Any
    ) -> GenerationSpec:
        """Make a spec with the model's own defaults for what is not given.

        Args:
            draft: with the model's settings for drafts, unless steps, solver or shift are given.
            aspect: chooses width and height: about the model's default area, in this proportion.
            fields: of `GenerationSpec`, and those of `styles.choice.style_uses`.

        Raises:
            SpecError: as `GenerationSpec`; also for an unknown field, and for `aspect` together with width or height.
        """
        return complete(
            prompt, fields, defaults=self.defaults, draft=self.draft if draft else None, aspect=aspect,
            granularity=self.architecture.granularity, styles=self.styles,
        )  # fmt: skip
