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
    CHAOS,
    EXPERIMENTAL,
    GUIDANCE,
    MAX_ASPECT,
    MAX_SEED,
    PROGRESSIVE,
    SHIFT,
    STOP,
    WEIRD,
    WHOLE_INTERVAL,
    random_seed,
)
from ..errors import complaint, is_text
from ..values import flag_of, number_of, shown, text_of, whole_of
from . import inquiries, solvers
from .errors import PromptError, SpecError
from .guidance import TextTerm, check_terms, interval_of, unconditional_weight, weight_of
from .lora_uses import LoraUse, check_loras
from .references import ReferenceUse, check_references
from .start import Start

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
        prompt: the words to draw; empty only with a start, and then a sample reads the model's unconditional input.
        negative_prompt: the words that the unconditional branch reads; empty: the model's own unconditional input. An
            engine takes a negative prompt only with guidance, since nothing else reads it.
        width, height: size in pixels.
        steps: number of solver steps.
        seed: with the image's index, the key of its noise. If it is left out, this is a random one below 2^32.
        images: number of pictures; picture i has the noise (seed, i), however many there are.
        guidance_scale: factor of classifier-free guidance; 1 means none, and then an image has no
            unconditional sample unless terms need it.
        embedded_guidance: input of a model's guidance embedding; None: the model's default.
        solver: name of a solver, such as "euler" or "heun".
        shift: constant shift of the sigmas in place of the checkpoint's own; None: the checkpoint's.
        adapters: the adapters that act on every picture.
        chaos: 0 to 100, how different the images are from each other (`spread`).
        weird: 0 to 3,000, how far all of them are from the usual (`spread`).
        experimental: 0 to 100, how much detail they have (`course`).
        stop: 10 to 100, the percentage of the steps after which the picture is taken as it is then (`course`).
        tile: whether what leaves a picture on one side comes in on the other (`tiling`).
        terms: texts beside the prompt that guidance follows or leads away from, by their weights; see `guidance.py`.
            Each is one more model sample an image, with the adapters of the conditional one. At guidance 0 an engine
            takes none, since nothing reads them.
        prompt_weight: the prompt's own weight among them.
        start: the picture that all of them start from; None: from noise alone.
        inquiry: name of what is asked (`inquiries`) in place of drawing; "": pictures are drawn. One about a picture
            has it as its start, at strength 0, and needs no prompt.
        loras: the LoRAs that change the model for every picture; an engine has them by `Engine.add_lora`.
        guidance_interval: (A, B), the share of the steps in which guidance acts, from 0 to 1. In a step outside of it,
            by its middle, an image has the prompt's sample alone.
        references: the pictures that the model looks at while it draws (`references`).
        progressive: 0 to 90, the percentage of the steps that are taken at half the sides first (`progressive`). Not
            with a start, nor with tile.

    Raises:
        SpecError: a value is out of range; the message names the field, the value, what is allowed and what to do.
        PromptError: the prompt is empty, and there is no start.
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
    chaos: float = 0.0
    weird: float = 0.0
    experimental: float = 0.0
    stop: float = 100.0
    tile: bool = False
    terms: tuple[TextTerm, ...] = ()
    prompt_weight: float = 1.0
    start: Start | None = None
    inquiry: str = ""
    loras: tuple[LoraUse, ...] = ()
    guidance_interval: tuple[float, float] = WHOLE_INTERVAL
    references: tuple[ReferenceUse, ...] = ()
    progressive: float = 0.0

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
            "chaos": _number("chaos", self.chaos, *CHAOS),
            "weird": _number("weird", self.weird, *WEIRD),
            "experimental": _number("experimental", self.experimental, *EXPERIMENTAL),
            "stop": _number("stop", self.stop, *STOP),
            "progressive": _number("progressive", self.progressive, *PROGRESSIVE),
            "tile": flag_of(self.tile),
            "prompt_weight": weight_of("prompt_weight", self.prompt_weight),
            "guidance_interval": interval_of(self.guidance_interval),
        }
        own["inquiry"] = _inquiry(self.inquiry, self.start)
        if not own["prompt"].strip() and self.start is None:
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
        if own["tile"] is None:
            raise SpecError(complaint("tile", shown(self.tile), "True or False", "choose one"))
        if self.shift is not None:
            own["shift"] = _number("shift", self.shift, *SHIFT)
        own["prompt"] = own["prompt"] if own["prompt"].strip() else ""
        for name, value in own.items():
            object.__setattr__(self, name, value)
        if not isinstance(self.adapters, tuple) or not all(isinstance(use, AdapterUse) for use in self.adapters):
            raise SpecError(complaint("adapters", shown(self.adapters), "a tuple of AdapterUse", "wrap them"))
        names = [use.adapter for use in self.adapters]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise SpecError(complaint("adapters", f"{twice!r} twice", "each adapter once", "add up its weights"))
        check_loras(self.loras, self.inquiry)
        check_references(self.references, self.inquiry)
        check_terms(self.terms)
        if self.start is not None and not isinstance(self.start, Start):
            raise SpecError(complaint("start", shown(self.start), "a Start", "make one of the picture's digest"))
        if self.start is not None and self.tile:
            raise SpecError(complaint("tile", "it with a picture to start from", "one of them", "drop one"))
        if self.progressive and (self.start is not None or self.tile):
            got = "it with " + ("a picture to start from" if self.start is not None else "a pattern (tile)")
            raise SpecError(complaint("progressive", got, "one of them", "drop one"))
        if self.start is not None:
            self.start.want_canvas(self.width, self.height)

    @property
    def acting_terms(self) -> tuple[TextTerm, ...]:
        """The terms that do something: each needs a sample of every image."""
        return tuple(term for term in self.terms if term.weight)

    @property
    def steps_begun(self) -> int:
        """Solver steps from its start on: the last ones, where a picture stands for what the others would make."""
        if self.inquiry:
            return 0
        return self.steps if self.start is None else self.steps - self.start.first_step(self.steps)

    @property
    def steps_taken(self) -> int:
        """Solver steps that are really taken: of those from its start on, the part that `stop` says, at least one."""
        begun = self.steps_begun
        return min(begun, max(1, math.floor(begun * self.stop / 100)))

    @property
    def small_steps(self) -> int:
        """How many of the steps that are taken come first, at half the sides. The last one never does."""
        if not self.progressive:
            return 0
        return max(0, min(self.steps_taken - 1, max(1, math.floor(self.steps_taken * self.progressive / 100))))

    @property
    def guided(self) -> bool:
        """Whether every image needs an unconditional sample."""
        return unconditional_weight(self.guidance_scale, self.prompt_weight, self.acting_terms) != 0

    def guides(self, step: int) -> bool:
        """Return whether guidance acts in a step, numbered from 0 as in the table of a spec's evaluations."""
        low, high = self.guidance_interval
        return low <= (step + self.steps - self.steps_begun + 0.5) / self.steps < high

    @property
    def knobs(self) -> dict[str, float]:
        """Those of chaos, weird, experimental, stop, tile and progressive that do something, by name."""
        names = ("chaos", "weird", "experimental", "stop", "tile", "progressive")
        found = {name: float(getattr(self, name)) for name in names}
        return {name: value for name, value in found.items() if value != (100.0 if name == "stop" else 0.0)}


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


def check_guidance(spec: GenerationSpec) -> None:
    """Raise SpecError for a negative prompt without guidance, or terms at guidance 0, since nothing would read them.
    Also for an interval of guidance where there is none, or that has no step in it.

    A spec does not check this itself: stored pictures and jobs have such specs, and they must still be readable.
    """
    if spec.negative_prompt.strip() and not spec.guided:
        got = f"{shown(spec.negative_prompt)} with guidance_scale 1, which reads none"
        remedy = "raise guidance_scale, or leave negative_prompt out"
        raise SpecError(complaint("negative_prompt", got, "one with guidance", remedy))
    if spec.acting_terms and not spec.guidance_scale:
        got = f"{shown(spec.acting_terms[0].text)} with guidance_scale 0, which reads none"
        raise SpecError(complaint("terms", got, "some with guidance", "raise guidance_scale, or leave terms out"))
    if spec.guidance_interval != WHOLE_INTERVAL and not spec.inquiry:
        said = ":".join(f"{end:g}" for end in spec.guidance_interval)
        if not spec.guided and not spec.acting_terms:
            got = f"{said} with guidance_scale {spec.guidance_scale:g}, which guides nothing"
            remedy = "raise guidance_scale (embedded guidance has no interval), or leave it out"
            raise SpecError(complaint("guidance_interval", got, "one with guidance", remedy))
        if spec.steps_taken and not any(map(spec.guides, range(spec.steps_taken))):
            got = f"{said} with {spec.steps} steps, none of which has its middle in it"
            raise SpecError(complaint("guidance_interval", got, "one with a step in it", "widen it"))


def adapter_name(name: Any) -> str:
    """Return the id of an adapter as plain text. Raise SpecError if it is no text or empty."""
    text = text_of(name)
    if not text or not is_text(text):
        raise SpecError(complaint("adapter", shown(name), "a name", "give the id of an adapter"))
    return text


def _inquiry(value: Any, start: Start | None) -> str:
    """Return the name of an inquiry, or "". SpecError: there is none of that name, or its picture is not there."""
    name = text_of(value)
    if name == "":
        return name
    if name is None or name not in inquiries.names():
        raise SpecError(complaint("inquiry", shown(value), " or ".join(inquiries.names()), "choose one of these"))
    wanted = inquiries.PLUGINS.get(name).PICTURE
    if wanted and (start is None or start.strength):
        got = "nothing to start from" if start is None else f"strength {start.strength:g}"
        raise SpecError(complaint(name, got, "a picture, at strength 0", "name the picture that it is about"))
    if not wanted and start is not None:
        raise SpecError(complaint(name, "a picture to start from", "a prompt alone", "leave the picture out"))
    return name


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
