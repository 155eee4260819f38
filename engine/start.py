"""The picture that a generation starts from in place of noise alone: how much of it is left, and where it stays."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..bounds import DIGEST, MAX_FEATHER, MAX_PLACE
from ..errors import complaint
from ..values import flag_of, number_of, shown, text_of, whole_of
from .errors import SpecError
from .styles.names import picture_of, taste_of

if TYPE_CHECKING:
    from .spec import GenerationSpec

FIELDS: Final = ("image", "image_strength", "mask", "feather")  # of a request; see `start_of`
STRENGTH: Final = 0.75  # of a request that does not say
FEATHER: Final = 8  # of a request with a mask that does not say

ENLARGE: Final = (1, 2)

Place = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Start:
    """What a generation starts from.

    Attributes:
        picture: SHA-256 (hex) of the picture's file.
        strength: share of the steps that are taken. 1 begins with noise alone, as without a picture; 0 takes no step,
            and gives the picture's own pixels. Between them at least one step is taken.
        mask: SHA-256 (hex) of the file of a mask: pixels are new where it is white, and those of the picture where it
            is black. None: new everywhere.
        feather: pixels around what is new in which old ones fade in; beyond, every pixel is the picture's own.
        place: (left, top, width, height) of the picture on the canvas, in pixels; it may reach beyond. What it leaves
            free is new, as if the mask were white there. None: the picture fills the canvas.
        others: SHA-256s (hex) of the files of further pictures: the generation starts from the mean of the latents of
            all. With any there is neither mask nor place, and a step is taken.
        enlarge: 2: the picture is half as wide and half as high as the canvas, enlarged to fill it; large ones are then
            drawn in windows (`windows`). 1: it is not enlarged.
        project: of an enlarged picture: what is drawn, brought down again, is the picture (`projection`).
        flat: the shapes of the picture alone, as shades on white, so that colour and light are the prompt's.

    Raises:
        SpecError: a value out of range.
    """

    picture: str
    strength: float = STRENGTH
    mask: str | None = None
    feather: int = 0
    place: Place | None = None
    others: tuple[str, ...] = ()
    enlarge: int = 1
    project: bool = False
    flat: bool = False

    def __post_init__(self) -> None:
        own: dict[str, Any] = {"picture": digest_named("start picture", self.picture)}
        own["mask"] = None if self.mask is None else digest_named("mask", self.mask)
        own["strength"] = number_of(self.strength)
        if own["strength"] is None or not 0 <= own["strength"] <= 1:
            raise SpecError(complaint("image_strength", shown(self.strength), "a number from 0 to 1", "0 is the image"))
        own["feather"] = whole_of(self.feather)
        if own["feather"] is None or not 0 <= own["feather"] <= MAX_FEATHER:
            allowed = f"a whole number from 0 to {MAX_FEATHER}"
            raise SpecError(complaint("feather", shown(self.feather), allowed, "choose another feather"))
        own["place"] = None if self.place is None else _place(self.place)
        own["others"] = tuple(digest_named("start picture", each) for each in self.others)
        self._check_others(own)
        own["enlarge"], own["project"] = whole_of(self.enlarge), flag_of(self.project)
        if own["enlarge"] not in ENLARGE or own["enlarge"] > 1 and (self.masked or own["others"]):
            allowed = f"{' or '.join(map(str, ENLARGE))}, and 1 with a mask, a place or other pictures"
            raise SpecError(complaint("enlarge", shown(self.enlarge), allowed, "correct it"))
        if own["project"] is None or own["project"] and own["enlarge"] == 1:
            allowed = "true or false, and false of a picture that is not enlarged"
            raise SpecError(complaint("project", shown(self.project), allowed, "correct it"))
        own["flat"] = flag_of(self.flat)
        if own["flat"] is None or own["flat"] and (self.masked or own["project"]):
            allowed = "true or false, and false of a picture whose pixels stay"
            raise SpecError(complaint("flat", shown(self.flat), allowed, "correct it"))
        for name, value in own.items():
            object.__setattr__(self, name, value)

    @staticmethod
    def _check_others(own: dict[str, Any]) -> None:
        """Raise SpecError for further pictures beside what one picture alone can have."""
        if not own["others"]:
            return
        if len({own["picture"], *own["others"]}) != 1 + len(own["others"]):
            raise SpecError(complaint("start pictures", "one of them twice", "each once", "leave it out"))
        if own["mask"] is not None or own["place"] is not None or not own["strength"]:
            got = "several with a mask, a place or strength 0"
            raise SpecError(complaint("start pictures", got, "one with these", "leave the others out"))

    @property
    def pictures(self) -> tuple[str, ...]:
        """SHA-256s of the files of all pictures that it begins with, without the mask."""
        return (self.picture, *self.others)

    def want_canvas(self, width: int, height: int) -> None:
        """Raise SpecError unless the picture lies on a canvas of this size, or some of it; enlarged, it has to fill it
        in whole pixels."""
        if width % self.enlarge or height % self.enlarge:
            got, allowed = f"{width} x {height} pixels", f"sides that are multiples of {self.enlarge}"
            raise SpecError(complaint("enlarge", got, allowed, "choose another size"))
        if self.place is not None:
            left, top, wide, high = self.place
            if left >= width or top >= height or left + wide <= 0 or top + high <= 0:
                allowed = f"one that lies on the canvas of {width} x {height}, or some of it"
                raise SpecError(complaint("place", shown(self.place), allowed, "move it back"))

    @property
    def masked(self) -> bool:
        """Whether some pixels stay what they are in the picture."""
        return self.mask is not None or self.place is not None

    def first_step(self, steps: int) -> int:
        """Return which of the steps is the first one taken, from 0; `steps`: none is."""
        if not self.strength:
            return steps
        return steps - max(1, math.floor(self.strength * steps + 1e-9))  # so that .3 of 10 is 3


class PictureUse(StrEnum):
    """What a picture is used as."""

    STYLE = "style"  # pixels [height, width, 3] of about the model's default area, in the picture's own proportions
    START = "start"  # pixels [height, width, 3] of the size of the generation
    MASK = "mask"  # pixels [height, width] likewise, 255 where pixels are new
    TASTE = "taste"  # no picture, but the style vector of a taste code: its bytes [4 W], as float32 [W] has them
    LORA = "lora"  # no picture, but a LoRA: the path of its file, as bytes
    REFERENCE = "reference"  # pixels [height, width, 3] of the size at which it is looked at


_LABELS: Final = {
    PictureUse.STYLE: "style reference",
    PictureUse.START: "start picture",
    PictureUse.MASK: "mask",
    PictureUse.TASTE: "taste code",
    PictureUse.LORA: "LoRA",
    PictureUse.REFERENCE: "omni reference",
}


class PictureForm(msgspec.Struct, frozen=True):
    """What a generation needs of a picture.

    Attributes:
        digest: SHA-256 (hex) of its file; of a taste code the code.
        use: what as.
        size: (width, height) in pixels; None: of a style, a taste code or a LoRA, see `PictureUse`.
        place: where it lies on a canvas of that size, see `Start`.
        flat: as shades on white, see `Start`.
        whole, through: of a reference, see `ReferenceUse`; `through` is what the text encoder's has.
    """

    digest: str
    use: PictureUse
    size: tuple[int, int] | None = None
    place: Place | None = None
    flat: bool = False
    whole: bool = False
    through: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """What a message calls it."""
        return _LABELS[self.use]

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of its pixels; None: that depends on the picture, or on the model."""
        if self.size is None:
            return None
        height, width = self.size[::-1]
        return (height, width) if self.use is PictureUse.MASK else (height, width, 3)


def start_forms(spec: GenerationSpec) -> tuple[PictureForm, ...]:
    """Return what a spec needs of its start pictures, in their order and at the size of the canvas; then of one that
    what is drawn has to agree with, at its own size; then of its mask."""
    start, size = spec.start, (spec.width, spec.height)
    if start is None:
        return ()
    forms = tuple(PictureForm(digest, PictureUse.START, size, start.place, start.flat) for digest in start.pictures)
    if start.project:
        own = spec.width // start.enlarge, spec.height // start.enlarge
        return (*forms, PictureForm(start.picture, PictureUse.START, own))
    return forms if start.mask is None else (*forms, PictureForm(start.mask, PictureUse.MASK, size))


def forms_of(spec: GenerationSpec) -> tuple[PictureForm, ...]:
    """Return what a spec needs of all the pictures that it refers to, each once."""
    names = [use.adapter for use in spec.adapters if use.weight]
    styles = (PictureForm(digest, PictureUse.STYLE) for digest in map(picture_of, names) if digest is not None)
    tastes = (PictureForm(code, PictureUse.TASTE) for code in map(taste_of, names) if code is not None)
    loras = (PictureForm(use.digest, PictureUse.LORA) for use in spec.loras)
    references = (form for use in spec.references for form in use.forms)
    return tuple(dict.fromkeys((*styles, *tastes, *loras, *start_forms(spec), *references)))


def path_bytes(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Return the path of a LoRA's file in the form of `PictureUse.LORA`: absolute, uint8 [n]."""
    return np.frombuffer(os.fsencode(os.path.abspath(path)), np.uint8)


def start_of(
    image: str | None = None,
    image_strength: float | None = None,
    mask: str | None = None,
    feather: int | None = None,
) -> Start | None:
    """Return the start of a request; None: it has none.

    Args:
        image: SHA-256 (hex) of the picture's file.
        image_strength: see `Start`; None: 0.75, or 1 with a mask, which says itself what stays.
        mask: SHA-256 (hex) of the mask's file.
        feather: see `Start`; None: 8 with a mask.

    Raises:
        SpecError: a value out of range, or one that nothing would read: without an image, or a feather without a mask.
    """
    if image is None:
        for name, value in (("image_strength", image_strength), ("mask", mask), ("feather", feather)):
            if value is not None:
                remedy = "name the image that it is for, or leave it out"
                raise SpecError(complaint(name, shown(value), "nothing without an image", remedy))
        return None
    if mask is None and feather is not None:
        raise SpecError(complaint("feather", shown(feather), "nothing without a mask", "name a mask, or leave it out"))
    if image_strength is None:
        image_strength = STRENGTH if mask is None else 1.0
    if feather is None:
        feather = 0 if mask is None else FEATHER
    return Start(image, image_strength, mask, feather)


def digest_named(name: str, value: Any) -> str:
    """Return the digest of a picture's file as plain text. SpecError, which names it, for what is none."""
    text = text_of(value)
    if text is None or not re.fullmatch(DIGEST, text):
        allowed = "64 hex digits, the SHA-256 of a picture's file (a job's JOB:NUMBER only with a server)"
        raise SpecError(complaint(name, shown(value)[:80], allowed, "correct it"))
    return text


def _place(given: Any) -> Place:
    items = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else ()
    sides = [whole_of(side) for side in items]
    whole = [side for side in sides if side is not None]
    if len(sides) != 4 or len(whole) != 4 or min(whole[2:]) < 1 or max(map(abs, whole)) > MAX_PLACE:
        allowed = f"left, top, width, height in whole pixels, up to {MAX_PLACE:,}"
        raise SpecError(complaint("place", shown(given), allowed, "correct it"))
    left, top, width, height = whole
    return left, top, width, height
