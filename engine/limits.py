"""Bound what an engine takes on. It checks every bound before it allocates anything."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..bounds import MAX_PROMPT, MAX_SIDE, MAX_STEPS, MAX_TERMS
from ..errors import complaint
from ..values import shown, whole_of
from .errors import SpecError


@dataclass(frozen=True)
class Limits:
    """The upper bounds of one engine. The defaults suit a small machine and the embedded model.

    Attributes:
        max_prompt_chars: characters of a prompt.
        max_pixels: width * height of one image.
        max_side: longer side of one image, pixels.
        max_steps: solver steps of a generation.
        max_images: images of a generation.
        max_adapters: adapters of a generation.
        max_terms: texts of a generation beside its prompt.
        max_open: generations that are open (not closed) at a time.
        max_rows: text and image rows of one step, all samples together.
        max_step_bytes: estimated activation memory of one step (see `memory.step_bytes`).
        max_decode_bytes: estimated activation memory of decoding one image; several are decoded together within it.
        arena_bytes: bytes of the keys and values of adapters, and of references and texts that are kept.
        max_registered: adapters registered at a time.
        text_cache: number of prompts whose encoding is kept.
        lora_bytes: bytes of the packed factors of LoRAs.

    Raises:
        SpecError: a bound is no whole number from 0.
    """

    max_prompt_chars: int = MAX_PROMPT
    max_pixels: int = 2**20
    max_side: int = MAX_SIDE
    max_steps: int = MAX_STEPS
    max_images: int = 64
    max_adapters: int = 16
    max_terms: int = MAX_TERMS
    max_open: int = 1_024
    max_rows: int = 65_536
    max_step_bytes: int = 2 * 2**30
    max_decode_bytes: int = 2**30
    arena_bytes: int = 256 * 2**20
    max_registered: int = 100_000
    text_cache: int = 256
    lora_bytes: int = 2 * 2**30

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            value = whole_of(given)
            if value is None or value < 0:
                raise SpecError(complaint(f"Limits.{field.name}", shown(given), "a whole number from 0", "change it"))
            object.__setattr__(self, field.name, value)


def want_limits(given: Any) -> None:
    """Raise SpecError unless this is `Limits`, or None for the defaults."""
    if given is not None and not isinstance(given, Limits):
        raise SpecError(complaint("limits", shown(given), "Limits", "make them of `engine.limits.Limits`"))
