"""Say which pictures a model looks at while it draws, and at which size it sees them.

They are references: their latents stand as rows beside the picture's own in every step, and are never changed by it.
Only models that were trained so take them. In requests they are called omni references (`--oref`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..bounds import ANY_SIDE, MAX_ASPECT, MAX_OMNI, MAX_STYLE
from ..errors import complaint
from ..values import number_of, shown, whole_of
from .config import Config
from .errors import SpecError
from .start import PictureForm, PictureUse, digest_named

if TYPE_CHECKING:
    from .spec import GenerationSpec

KEY: Final = "references"  # in salon.json
FIELDS: Final = ("omni_reference", "omni_weight")  # of a request; see `references_of`
WHOLE: Final = 100.0  # the one weight beside 0: a model looks at a picture, or it does not


class ReferenceRule(msgspec.Struct, frozen=True, kw_only=True):
    """What pictures a model looks at. Either `sizes` or `area` says how large it sees one.

    Attributes:
        most: of a request.
        sizes: (width, height) in pixels that it was trained on; a picture is brought to the one whose proportions are
            nearest to its own. Empty: `area` holds.
        area: pixels above which a picture is made smaller; what its sides have beyond whole tokens is cut off.
        least: the shortest side in pixels.
        aspect: the longer side to the shorter one at most.
    """

    most: int = 1
    sizes: tuple[tuple[int, int], ...] = ()
    area: int = 0
    least: int = 1
    aspect: float = float(MAX_ASPECT)

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
        elif width * height > self.area:
            scale = math.sqrt(self.area / (width * height))
            width, height = int(width * scale), int(height * scale)
        return max(1, width // unit) * unit, max(1, height // unit) * unit

    @property
    def pixels(self) -> int:
        """Pixels of the largest picture that the model sees."""
        return max((width * height for width, height in self.sizes), default=self.area)


@dataclass(frozen=True, slots=True)
class ReferenceUse:
    """One reference of a generation.

    Attributes:
        picture: SHA-256 (hex) of the picture's file.
        width, height: in pixels, at which the model sees it.
        whole: the whole picture is brought to that size; False: what is beyond the size's proportions is cut off.

    Raises:
        SpecError: no digest, or a side out of range.
    """

    picture: str
    width: int
    height: int
    whole: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "picture", digest_named("omni reference", self.picture))
        for name in ("width", "height"):
            side = whole_of(given := getattr(self, name))
            if side is None or not 1 <= side <= ANY_SIDE:
                allowed = f"a whole number from 1 to {ANY_SIDE}"
                raise SpecError(complaint(f"omni reference: {name}", shown(given), allowed, "correct it"))
            object.__setattr__(self, name, side)

    @property
    def form(self) -> PictureForm:
        """What the engine needs of the picture."""
        return PictureForm(self.picture, PictureUse.REFERENCE, (self.width, self.height), whole=self.whole)


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
    )
    config.finish({})
    if bool(rule.sizes) == bool(rule.area):
        config.refuse("sizes", "a list of sizes, or else an area", given)
    return rule


def _size(config: Config, given: Any) -> tuple[int, int]:
    if not isinstance(given, list | tuple) or [type(side) for side in given] != [int, int] or min(given) < 1:
        config.refuse("sizes", "pairs of pixels", given)
    return given[0], given[1]


def references_of(
    rule: ReferenceRule | None, unit: int, *, omni_reference: Any = None, omni_weight: Any = None
) -> tuple[ReferenceUse, ...]:
    """Return the references of a request.

    Args:
        rule: of the model; None: it takes none.
        unit: the model's granularity.
        omni_reference: of each picture (SHA-256 of its file in hex, width, height) with its own size in pixels.
        omni_weight: 100: the model looks at them; 0: it does not. None: 100.

    Raises:
        SpecError: a value out of range, a weight without pictures, a picture that is not here, so that its size is not
            known, or one that the model cannot look at.
    """
    given = _items(omni_reference)
    if not given:
        if omni_weight is not None:
            remedy = "name a picture with --oref, or leave it out"
            raise SpecError(complaint("--ow", shown(omni_weight), "nothing without an omni reference", remedy))
        return ()
    weight = WHOLE if omni_weight is None else number_of(omni_weight)
    if weight is None or not 0 <= weight <= MAX_STYLE:
        raise SpecError(complaint("--ow", shown(omni_weight), f"a number from 0 to {MAX_STYLE}", "100 is usual"))
    if rule is None:
        raise SpecError(complaint("--oref", *_untaken()))
    if weight not in (0, WHOLE):
        allowed = f"{WHOLE:g}, or 0 for none: the model looks at a picture as a whole"
        raise SpecError(complaint("--ow", f"{weight:g}", allowed, "say in the prompt what to keep"))
    if len(given) > rule.most:
        got, allowed = f"{len(given)} pictures", f"up to {rule.most} with this model"
        raise SpecError(complaint("--oref", got, allowed, "leave some out"))
    found = tuple(_use(rule, unit, each) for each in given)
    return found if weight else ()


def _items(given: Any) -> tuple[Any, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)


def _use(rule: ReferenceRule, unit: int, given: Any) -> ReferenceUse:
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != 3:
        digest = digest_named("omni reference", given)
        got, remedy = f"picture {digest}, which is not here", "add the picture first, then ask again"
        raise SpecError(complaint("omni reference", got, "one that was added", remedy))
    sides = [whole_of(side) for side in given[1:]]
    if None in sides or min(side or 0 for side in sides) < 1:
        raise SpecError(complaint("omni reference", shown(given[1:]), "its width and height in pixels", "correct it"))
    width, height = rule.size_of(sides[0] or 0, sides[1] or 0, unit)
    return ReferenceUse(given[0], width, height, whole=bool(rule.sizes))


def check_references(references: Any, inquiry: str) -> None:
    """Raise SpecError for what is no tuple of references, too many, a picture twice, or any beside an inquiry."""
    if not isinstance(references, tuple) or not all(isinstance(use, ReferenceUse) for use in references):
        raise SpecError(complaint("references", shown(references), "a tuple of ReferenceUse", "wrap them"))
    if references and inquiry:
        raise SpecError(complaint("references", f"some with {inquiry}", "none: it draws nothing", "drop them"))
    if len(references) > MAX_OMNI:
        raise SpecError(complaint("references", f"{len(references)}", f"up to {MAX_OMNI}", "leave some out"))
    pictures = [use.picture for use in references]
    if len(set(pictures)) != len(pictures):
        raise SpecError(complaint("references", "a picture twice", "each once", "leave it out"))


def want_references(references: Sequence[ReferenceUse], rule: ReferenceRule | None, unit: int) -> None:
    """Raise SpecError unless a model takes these references: so many, with sides that are multiples of `unit`."""
    if references and rule is None:
        raise SpecError(complaint("--oref", *_untaken()))
    if rule is not None and len(references) > rule.most:
        got, allowed = f"{len(references)} pictures", f"up to {rule.most} with this model"
        raise SpecError(complaint("--oref", got, allowed, "leave some out"))
    for use in references:
        if use.width % unit or use.height % unit:
            got, allowed = f"{use.width} x {use.height} pixels", f"sides that are multiples of {unit}"
            raise SpecError(complaint("omni reference", got, allowed, "choose another size"))


def reference_grids(spec: GenerationSpec, unit: int) -> tuple[tuple[int, int], ...]:
    """Return the (height, width) in tokens of a spec's references. `unit`: the model's granularity."""
    return tuple((use.height // unit, use.width // unit) for use in spec.references)


def rows_of(grids: Iterable[tuple[int, int]]) -> int:
    """Return how many tokens grids have together."""
    return sum(height * width for height, width in grids)


def _untaken() -> tuple[str, str, str]:
    """Return what is said of references for a model that takes none, naming those that do."""
    from . import families  # which read configs, as this module does

    names = [str(name) for name in _said(families).values()]
    allowed = f"models that were trained to look at pictures: {', '.join(names)}"
    return "it with another model", allowed, "use --image to start from a picture, or --sref for its style"


def _said(families: Any) -> Mapping[str, Any]:
    """Return what each family that takes references calls those of its models that do."""
    found = {}
    for name in families.PLUGINS.names():
        try:
            found[name] = families.PLUGINS.constant(name, "REFERENCES")
        except ValueError:
            continue
    return found
