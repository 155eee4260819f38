"""Refuse what an engine cannot take on, from numbers alone, before anything is allocated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ..errors import complaint
from ..kernels.bfloat16 import widen
from .errors import LimitError, SpecError
from .info import Architecture
from .limits import Limits
from .memory import MemoryCoefficients
from .references import want_references
from .spec import GenerationSpec
from .text.pipeline import TextEncoding, read_only


class StepSize(Protocol):
    """The size of a generation within a step. A `Generation` is one."""

    @property
    def text_rows(self) -> int:
        """Text rows of all samples of the generation."""

    @property
    def image_rows(self) -> int:
        """Image rows of all samples of the generation."""

    @property
    def num_samples(self) -> int:
        """Model samples of one step."""


class Size(NamedTuple):
    """A `StepSize` as plain numbers."""

    text_rows: int
    image_rows: int
    num_samples: int


class Admission:
    """The limits of an engine, applied to its model's sizes.

    Args:
        architecture: the sizes that requests and text must fit.
        memory: the activation memory that requests take.
        limits: the bounds.
    """

    def __init__(self, architecture: Architecture, memory: MemoryCoefficients, limits: Limits) -> None:
        self.architecture = architecture
        self.memory = memory
        self.limits = limits

    def check_spec(self, spec: GenerationSpec, num_open: int) -> None:
        """Check a spec against the model and the limits, where `num_open` generations are open already.

        Raises:
            SpecError: a side is no multiple of the model's granularity, the model has no guidance embedding for the
                spec's `embedded_guidance`, it takes no such references, or it
                fills pictures and there is none with a mask.
            LimitError: the spec exceeds a limit.
        """
        limits, unit = self.limits, self.architecture.granularity
        for name, value in (("width", spec.width), ("height", spec.height)):
            if value % unit:
                near = max(unit, round(value / unit) * unit)
                raise SpecError(complaint(name, value, f"multiples of {unit}", f"try {near}, or give an aspect"))
        if spec.embedded_guidance is not None and self.architecture.embedded_guidance is None:
            allowed = "nothing (the model has no guidance embedding)"
            remedy = "leave it out, and set guidance_scale"
            raise SpecError(complaint("embedded_guidance", spec.embedded_guidance, allowed, remedy))
        if spec.shift is not None and self.architecture.trained is not None:
            allowed = "nothing (the model was trained on discrete noise levels, which no shift moves)"
            raise SpecError(complaint("shift", spec.shift, allowed, "leave it out, or take other steps"))
        if self.architecture.fills and (spec.inquiry or spec.start is None or not spec.start.masked):
            asked = spec.inquiry or "no picture with a mask"
            allowed = "one: the model fills what a mask leaves free of a picture"
            remedy = "name both: salon imagine WORDS --image photo.png --mask mask.png"
            raise SpecError(complaint("image", asked, allowed, remedy))
        want_references(spec.references, self.architecture.references, unit)
        smaller = "choose a smaller size"
        bounds = (
            ("prompt", len(spec.prompt), "characters", "max_prompt_chars", "shorten it"),
            ("negative_prompt", len(spec.negative_prompt), "characters", "max_prompt_chars", "shorten it"),
            ("terms", len(spec.terms), "terms", "max_terms", "leave some out"),
            *(("term", len(term.text), "characters", "max_prompt_chars", "shorten it") for term in spec.terms),
            ("width", spec.width, "pixels", "max_side", smaller),
            ("height", spec.height, "pixels", "max_side", smaller),
            ("size", spec.width * spec.height, "pixels", "max_pixels", smaller),
            ("steps", spec.steps, "steps", "max_steps", "take fewer steps, or less quality"),
            ("images", spec.images, "images", "max_images", "make them in several generations"),
            ("adapters", len(spec.adapters), "adapters", "max_adapters", "use fewer"),
            ("decoding", self.decode_bytes(spec), "bytes (estimated)", "max_decode_bytes", smaller),
            ("generations", num_open + 1, "open", "max_open", "close some first"),
        )
        for name, got, what, limit, remedy in bounds:
            most = getattr(limits, limit)
            if got > most:
                raise LimitError(complaint(name, f"{got:,} {what}", f"{most:,} (Limits.{limit})", remedy))

    def check_text(self, text: TextEncoding, name: str = "text") -> None:
        """Raise SpecError unless an encoding is finite and as wide as the model reads. The message calls it `name`."""
        tokens, pooled = self.architecture.text_width, self.architecture.pooled_width
        if text.tokens.ndim != 2 or text.tokens.shape[1] != tokens or text.pooled.shape != (pooled,):
            got = f"tokens {list(text.tokens.shape)}, pooled {list(text.pooled.shape)}"
            raise SpecError(complaint(name, got, f"tokens [n, {tokens}], pooled [{pooled}]", "encode it anew"))
        if not (np.isfinite(text.tokens).all() and np.isfinite(text.pooled).all()):
            raise SpecError(complaint(name, "NaN or infinity", "finite numbers", "look where they come from"))

    def take_text(self, text: TextEncoding, name: str) -> TextEncoding:
        """Return read-only float32 copies of an encoding that a caller made.

        Raises:
            SpecError: the arrays hold no numbers, or `check_text` refuses them.
        """
        if not isinstance(text, TextEncoding):
            raise SpecError(complaint(name, type(text).__name__, "a TextEncoding", "wrap the arrays in one"))
        try:
            tokens, pooled = (widen(np.asarray(part), name) for part in (text.tokens, text.pooled))
        except (TypeError, ValueError) as error:
            got = "arrays without numbers or of uneven rows"
            raise SpecError(complaint(name, got, "float32 arrays", "look where they come from")) from error
        taken = read_only(tokens, pooled, dict(text.clauses), tuple(text.warnings))
        self.check_text(taken, name)
        return taken

    def check_step(self, generations: Sequence[StepSize]) -> None:
        """Raise LimitError if a step of these generations takes more rows or memory than one step may."""
        remedy = "step fewer generations together, or make fewer images or smaller ones"
        bounds = (
            (self.step_rows(generations), "rows", "max_rows"),
            (self.step_bytes(generations), "bytes (estimated)", "max_step_bytes"),
        )
        for got, what, limit in bounds:
            most = getattr(self.limits, limit)
            if got > most:
                raise LimitError(complaint("step", f"{got:,} {what}", f"{most:,} (Limits.{limit})", remedy))

    def step_rows(self, generations: Sequence[StepSize]) -> int:
        """Return the text and image rows of a step."""
        return sum(g.text_rows + g.image_rows for g in generations)

    def step_bytes(self, generations: Sequence[StepSize]) -> int:
        """Estimate the activation memory of a step, in bytes."""
        return self.memory.step(
            text_rows=sum(g.text_rows for g in generations),
            image_rows=sum(g.image_rows for g in generations),
            samples=sum(g.num_samples for g in generations),
        )

    def decode_bytes(self, spec: GenerationSpec) -> int:
        """Estimate the activation memory of decoding one image, in bytes."""
        return self.memory.decode(spec.width * spec.height)
