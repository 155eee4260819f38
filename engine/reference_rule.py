"""Say what pictures models look at while they draw, and at which size: `salon.json` says it, or a family."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from ..bounds import ANY_SIDE, MAX_ASPECT, MAX_OMNI
from ..errors import complaint
from .config import Config
from .errors import SpecError

KEY: Final = "references"  # in salon.json
PICTURE_WORDS: Final = 16  # text rows of the words around a picture that a text encoder sees, at most


class TextSight(msgspec.Struct, frozen=True, kw_only=True):
    """At which size a text encoder sees pictures. A whole picture is brought to about `area`, as the model's own
    pipeline does, then to what the text encoder takes, as its own processor does.

    Attributes:
        area: in pixels.
        multiple: of the sides that the pipeline brings it to.
        unit: length in pixels of a side of what becomes one text row; the sides are multiples of it.
        least, most: pixels that the text encoder takes.
    """

    area: int
    multiple: int
    unit: int
    least: int
    most: int

    def sizes_of(self, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the (width, height) to which a picture is brought first, and then."""
        first = _near(self.area, self.multiple, width, height)
        wide, high = (round(side / self.unit) * self.unit for side in first)
        area = first[0] * first[1]
        if wide * high > self.most:
            scale = math.sqrt(area / self.most)
            wide, high = (max(self.unit, math.floor(side / scale / self.unit) * self.unit) for side in first)
        elif wide * high < self.least:
            scale = math.sqrt(self.least / area)
            wide, high = (math.ceil(side * scale / self.unit) * self.unit for side in first)
        return first, (wide, high)


class ReferenceRule(msgspec.Struct, frozen=True, kw_only=True):
    """What pictures a model looks at. Either `sizes` or `area` says how large it sees one.

    Attributes:
        most: of a request.
        sizes: (width, height) in pixels that it was trained on; a picture is brought to the one whose proportions are
            nearest to its own. Empty: `area` holds.
        area: pixels above which a picture is made smaller; what its sides have beyond whole tokens is cut off.
        least: the shortest side in pixels.
        aspect: the longer side to the shorter one at most.
        fewest: of a request; 1: the model draws nothing without one.
        multiple: a whole picture is brought to `area`, larger or smaller, with sides that are multiples of this; 0: one
            with fewer pixels is seen as it is.
        text: at which size the text encoder sees it too; None: it sees no pictures.
        last: whether what is drawn has the proportions of the last one where nothing is said, and not of the first.
        kept: keys and values of references are computed once, and are no rows of the steps (`kept_references`).
    """

    most: int = 1
    sizes: tuple[tuple[int, int], ...] = ()
    area: int = 0
    least: int = 1
    aspect: float = float(MAX_ASPECT)
    fewest: int = 0
    multiple: int = 0
    text: TextSight | None = None
    last: bool = False
    kept: bool = False

    def size_of(self, width: int, height: int, unit: int) -> tuple[int, int]:
        """Return the (width, height) at which the model sees a picture. Raise SpecError for one out of bounds.

        Args:
            width, height: of the picture, in pixels.
            unit: the model's granularity.
        """
        got, least = f"a picture of {width} x {height} pixels", max(self.least, 1 if self.sizes else unit)
        if min(width, height) < least:
            raise SpecError(complaint("--oref", got, f"sides from {least} pixels", "give a larger one"))
        if max(width, height) > self.aspect * min(width, height):
            allowed = f"sides of at most {self.aspect:g}:1"
            raise SpecError(complaint("--oref", got, allowed, "cut off what is beyond"))
        if self.sizes:
            near = min((abs(width / height - wide / high), wide, high) for wide, high in self.sizes)
            width, height = near[1:]
        elif self.multiple:
            width, height = _near(self.area, self.multiple, width, height)
        elif width * height > self.area:
            scale = math.sqrt(self.area / (width * height))
            width, height = int(width * scale), int(height * scale)
        return max(1, width // unit) * unit, max(1, height // unit) * unit

    @property
    def pixels(self) -> int:
        """Pixels of the largest picture that the model sees."""
        return max((width * height for width, height in self.sizes), default=self.area)

    @property
    def text_rows(self) -> int:
        """Text rows of a picture, about."""
        return 0 if self.text is None else PICTURE_WORDS + self.text.area // self.text.unit**2


def read_rule(salon: Config) -> ReferenceRule | None:
    """Return what `salon.json`, or the family in its place, says of references; None: the model takes none.

    Raises:
        WrongConfig: what it says makes no sense.
    """
    values = salon.mapping(KEY)
    if not values:
        return None
    config = Config(salon.path, values)
    given = config.raw("sizes")
    sizes = given if isinstance(given, list | tuple) else ()
    rule = ReferenceRule(
        most=config.integer("most", 1, high=MAX_OMNI),
        sizes=tuple(_size(config, each) for each in sizes),
        area=config.integer("area", 0, low=0, high=ANY_SIDE**2),
        least=config.integer("least", 1, high=ANY_SIDE),
        aspect=config.number("aspect", float(MAX_ASPECT), low=1, high=1000),
        fewest=config.integer("fewest", 0, low=0, high=MAX_OMNI),
        multiple=config.integer("multiple", 0, low=0, high=ANY_SIDE),
        text=_text_sight(config),
        last=config.boolean("last", False),
        kept=config.boolean("kept", False),
    )
    config.finish({})
    if bool(rule.sizes) == bool(rule.area):
        config.refuse("sizes", "a list of sizes, or else an area", given)
    return rule


def _text_sight(rule: Config) -> TextSight | None:
    values = rule.mapping("text")
    if not values:
        return None
    config = Config(rule.path, values)
    found = TextSight(
        area=config.integer("area", high=ANY_SIDE**2),
        multiple=config.integer("multiple", high=ANY_SIDE),
        unit=config.integer("unit", high=ANY_SIDE),
        least=config.integer("least", 1, high=ANY_SIDE**2),
        most=config.integer("most", ANY_SIDE**2, high=ANY_SIDE**2),
    )
    config.finish({})
    return found


def _near(area: int, multiple: int, width: int, height: int) -> tuple[int, int]:
    """Return (width, height) of about `area` pixels in a picture's proportions, each a multiple."""
    ratio = width / height
    wide = math.sqrt(area * ratio)
    return (max(1, round(wide / multiple)) * multiple, max(1, round(wide / ratio / multiple)) * multiple)


def _size(config: Config, given: Any) -> tuple[int, int]:
    if not isinstance(given, list | tuple) or [type(side) for side in given] != [int, int] or min(given) < 1:
        config.refuse("sizes", "pairs of pixels", given)
    return given[0], given[1]
