"""Define a request: one frozen value that, with a model and a backend, fixes the picture to the bit."""

from __future__ import annotations

import decimal
import itertools
import math
from dataclasses import dataclass, field
from typing import Any, Final

from ..bounds import (
    ANY_IMAGES,
    ANY_SIDE,
    ANY_STEPS,
    GUIDANCE,
    MAX_ASPECT,
    MAX_SEED,
    SHIFT,
    random_seed,
)
from ..errors import complaint, is_text
from ..values import number_of, shown, text_of, whole_of
from . import solvers
from .errors import PromptError, SpecError

_DIGITS: Final = decimal.Context(prec=40)


@dataclass(frozen=True, slots=True)
class AdapterUse:
    """One adapter of a generation.

    Attributes:
        adapter: the id that the adapter is registered under.
        weight: factor of the adapter's attention term; 0 leaves the picture bit for bit as without it.
        unconditional: id of the adapter that replaces it, with the same weight, in the unconditional branch of
            classifier-free guidance (a null reference that the branch was trained with); None: no adapter acts there.
    """

    adapter: str
    weight: float = 1.0
    unconditional: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "adapter", adapter_name(self.adapter))
        if self.unconditional is not None:
            object.__setattr__(self, "unconditional", adapter_name(self.unconditional))
        object.__setattr__(self, "weight", _number("adapter weight", self.weight, -10, 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSpec:
    """A request for pictures, every default filled in.

    It is checked when it is made. `Engine.open` checks what depends on the model: granularity of the size, known
    adapters, limits. Numbers and text of numpy's become Python's own, so that every spec can be sent.

    Attributes:
        prompt: the words to draw.
        negative_prompt: the words that the unconditional branch reads; empty: the model's own unconditional input. An
            engine takes a negative prompt only with guidance, since nothing else reads it.
        width, height: size in pixels.
        steps: number of solver steps.
        seed: with the image's index, the key of its noise. If it is left out, this is a random one below 2^32.
        images: number of pictures; picture i has the noise (seed, i), however many there are.
        guidance_scale: factor of classifier-free guidance; 1 means none, at one model sample an image instead of two.
        embedded_guidance: input of a model's guidance embedding; None: the model's default.
        solver: name of a solver, such as "euler" or "heun".
        shift: constant shift of the sigmas in place of the checkpoint's own; None: the checkpoint's.
        adapters: the adapters that act on every picture.

    Raises:
        SpecError: a value is out of range; the message names the field, the value, what is allowed and what to do.
        PromptError: the prompt is empty.
    """

    prompt: str
    negative_prompt: str = ""
    width: int = 128
    height: int = 128
    steps: int = 20
    seed: int = field(default_factory=random_seed)
    images: int = 1
    guidance_scale: float = 3.0
    embedded_guidance: float | None = None
    solver: str = solvers.DEFAULT
    shift: float | None = None
    adapters: tuple[AdapterUse, ...] = ()

    def __post_init__(self) -> None:
        own: dict[str, Any] = {
            "prompt": _text("prompt", self.prompt, PromptError),
            "negative_prompt": _text("negative_prompt", self.negative_prompt, SpecError),
            "width": _whole("width", self.width, 1, ANY_SIDE, "max_side"),
            "height": _whole("height", self.height, 1, ANY_SIDE, "max_side"),
            "steps": _whole("steps", self.steps, 1, ANY_STEPS, "max_steps"),
            "seed": _whole("seed", self.seed, 0, MAX_SEED),
            "images": _whole("images", self.images, 1, ANY_IMAGES, "max_images"),
            "guidance_scale": _number("guidance_scale", self.guidance_scale, *GUIDANCE),
        }
        if not own["prompt"].strip():
            raise PromptError(
                complaint("prompt", shown(self.prompt), "some words", 'say what to draw, like "a red apple"')
            )
        if self.embedded_guidance is not None:
            own["embedded_guidance"] = _number("embedded_guidance", self.embedded_guidance, *GUIDANCE)
        own["solver"] = text_of(self.solver)
        if own["solver"] not in solvers.names():
            raise SpecError(
                complaint("solver", shown(self.solver), " or ".join(solvers.names()), "choose one of these")
            )
        if self.shift is not None:
            own["shift"] = _number("shift", self.shift, *SHIFT)
        for name, value in own.items():
            object.__setattr__(self, name, value)
        if not isinstance(self.adapters, tuple) or not all(isinstance(use, AdapterUse) for use in self.adapters):
            raise SpecError(complaint("adapters", shown(self.adapters), "a tuple of AdapterUse", "wrap them"))
        names = [use.adapter for use in self.adapters]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise SpecError(complaint("adapters", f"{twice!r} twice", "each adapter once", "add up its weights"))

    @property
    def guided(self) -> bool:
        """Whether every image needs a second, unconditional sample."""
        return self.guidance_scale != 1


def size_for_aspect(width: float, height: float, *, pixels: int, granularity: int) -> tuple[int, int]:
    """Return (width, height) in pixels of aspect `width:height` and about `pixels` in area.

    Both are multiples of `granularity`.

    Raises:
        SpecError: a side is no number above 0, or the aspect is beyond 14:1.
    """
    sides = [number_of(side) or 0.0 for side in (width, height)]
    got = ":".join(shown(side) for side in (width, height))
    if not all(0 < side < math.inf for side in sides):
        raise SpecError(complaint("aspect", got, "two numbers above 0", "write it like 16:9"))
    ratio = sides[0] / sides[1]
    if not 1 / MAX_ASPECT <= ratio <= MAX_ASPECT:
        raise SpecError(complaint("aspect", got, f"1:{MAX_ASPECT:g} to {MAX_ASPECT:g}:1", "choose a less extreme one"))

    if ratio < 1:  # so that the transposed aspect is the transposed size, however rounding breaks ties
        high_side, wide_side = size_for_aspect(height, width, pixels=pixels, granularity=granularity)
        return wide_side, high_side

    def near(side: float) -> set[int]:
        units = side / granularity
        return {max(1, math.floor(units)) * granularity, max(1, math.ceil(units)) * granularity}

    wide, high = math.sqrt(pixels * ratio), math.sqrt(pixels / ratio)
    return min(
        itertools.product(sorted(near(wide)), sorted(near(high))),
        key=lambda size: abs(_log(size[0] / size[1] / ratio)) + abs(_log(size[0] * size[1] / pixels)),
    )


def _log(x: float) -> float:
    """Return the natural logarithm, rounded once.

    Sizes often tie but for rounding. Then the last bit decides, which the C library's logarithm does not promise on
    another machine.
    """
    return float(_DIGITS.ln(decimal.Decimal(x)))


def check_negative(spec: GenerationSpec) -> None:
    """Raise SpecError for a negative prompt without guidance, since nothing would read it.

    A spec does not check this itself: stored pictures and jobs have such specs, and they must still be readable.
    """
    if spec.negative_prompt.strip() and not spec.guided:
        got = f"{shown(spec.negative_prompt)} with guidance_scale 1, which reads none"
        remedy = "raise guidance_scale, or leave negative_prompt out"
        raise SpecError(complaint("negative_prompt", got, "one with guidance", remedy))


def adapter_name(name: Any) -> str:
    """Return the id of an adapter as plain text. Raise SpecError if it is no text or empty."""
    text = text_of(name)
    if not text or not is_text(text):
        raise SpecError(complaint("adapter", shown(name), "a name", "give the id of an adapter"))
    return text


def _text(name: str, value: Any, kind: type[SpecError]) -> str:
    text = text_of(value)
    if text is None:
        raise kind(complaint(name, shown(value), "text", "give words"))
    if not is_text(text):
        raise kind(complaint(name, shown(value), "text in Unicode", "decode it as what it was written in"))
    return text


def _whole(name: str, value: Any, low: int, high: int, limit: str = "") -> int:
    """Return a whole number in its range. `limit` names the field of the engine's `Limits` that bounds it too."""
    whole = whole_of(value)
    if whole is None or not low <= whole <= high:
        allowed = f"a whole number from {low} to {high}" + (f", and to the engine's Limits.{limit}" if limit else "")
        raise SpecError(complaint(name, shown(value), allowed, f"choose another {name}"))
    return whole


def _number(name: str, value: Any, low: float, high: float) -> float:
    number = number_of(value)
    if number is None or not low <= number <= high:
        raise SpecError(complaint(name, shown(value), f"a number from {low:g} to {high:g}", f"choose another {name}"))
    return number
