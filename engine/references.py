"""Say which pictures a generation's model looks at while it draws, and at which size it sees them.

They are references: their latents stand as rows beside the picture's own in every step, and are never changed by it.
Only models that were trained so take them. In requests they are called omni references (`--oref`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..bounds import ANY_SIDE, MAX_OMNI, MAX_STYLE
from ..errors import complaint
from ..values import number_of, shown, whole_of
from .errors import SpecError
from .reference_rule import PICTURE_WORDS, ReferenceRule, TextSight
from .start import PictureForm, PictureUse, digest_named

if TYPE_CHECKING:
    from .spec import GenerationSpec

FIELDS: Final = ("omni_reference", "omni_weight")  # of a request; see `references_of`
WHOLE: Final = 100.0  # the one weight beside 0: a model looks at a picture, or it does not


@dataclass(frozen=True, slots=True)
class ReferenceUse:
    """One reference of a generation.

    Attributes:
        picture: SHA-256 (hex) of the picture's file.
        width, height: in pixels, at which the model sees it.
        whole: the whole picture is brought to that size; False: what is beyond the size's proportions is cut off.
        text: (width, height) in pixels at which the text encoder sees it; None: it does not.
        through: (width, height) to which it is brought before that.

    Raises:
        SpecError: no digest, or a side out of range.
    """

    picture: str
    width: int
    height: int
    whole: bool = False
    text: tuple[int, int] | None = None
    through: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "picture", digest_named("omni reference", self.picture))
        for name in ("width", "height"):
            object.__setattr__(self, name, _side(name, getattr(self, name)))
        for name in ("text", "through"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, _sides(name, given))
        if (self.text is None) != (self.through is None):
            raise SpecError(complaint("omni reference: through", shown(self.through), "it beside text", "give both"))

    @property
    def form(self) -> PictureForm:
        """What the engine needs of the picture, to look at it."""
        return PictureForm(self.picture, PictureUse.REFERENCE, (self.width, self.height), whole=self.whole)

    @property
    def text_form(self) -> PictureForm | None:
        """What the text encoder needs of the picture; None: nothing."""
        if self.text is None:
            return None
        return PictureForm(self.picture, PictureUse.REFERENCE, self.text, whole=True, through=self.through)

    @property
    def forms(self) -> tuple[PictureForm, ...]:
        """Both."""
        return (self.form,) if self.text_form is None else (self.form, self.text_form)


def _side(name: str, given: Any) -> int:
    side = whole_of(given)
    if side is None or not 1 <= side <= ANY_SIDE:
        allowed = f"a whole number from 1 to {ANY_SIDE}"
        raise SpecError(complaint(f"omni reference: {name}", shown(given), allowed, "correct it"))
    return side


def _sides(name: str, given: Any) -> tuple[int, int]:
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise SpecError(complaint(f"omni reference: {name}", shown(given), "width and height in pixels", "correct it"))
    return _side(name, given[0]), _side(name, given[1])


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
    through, text = (None, None) if rule.text is None else rule.text.sizes_of(sides[0] or 0, sides[1] or 0)
    return ReferenceUse(given[0], width, height, bool(rule.sizes or rule.multiple), text, through)


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
    if rule is not None and len(references) < rule.fewest:
        got, words = str(len(references) or "none"), "the model changes pictures, and draws nothing from words alone"
        allowed = f"{rule.fewest} to {rule.most}: {words}" if rule.most > rule.fewest else f"{rule.most}: {words}"
        raise SpecError(
            complaint("reference pictures", got, allowed, 'name one: salon imagine "make it night" --oref photo.png')
        )
    if rule is not None and len(references) > rule.most:
        got, allowed = f"{len(references)} pictures", f"up to {rule.most} with this model"
        raise SpecError(complaint("--oref", got, allowed, "leave some out"))
    for use in references:
        if use.width % unit or use.height % unit:
            got, allowed = f"{use.width} x {use.height} pixels", f"sides that are multiples of {unit}"
            raise SpecError(complaint("omni reference", got, allowed, "choose another size"))
        _want_text(use, None if rule is None else rule.text)


def _want_text(use: ReferenceUse, sight: TextSight | None) -> None:
    """Raise SpecError unless the text encoder sees a reference where the model's does, and at a size that it takes."""
    got = "no size for the text encoder" if use.text is None else f"{use.text[0]} x {use.text[1]} for the text encoder"
    if sight is None:
        if use.text is not None:
            raise SpecError(complaint("omni reference", got, "none: it sees no pictures", "leave it out"))
        return
    if use.text is None or any(side % sight.unit for side in use.text):
        raise SpecError(complaint("omni reference", got, f"multiples of {sight.unit} pixels", "choose another size"))
    through = (use.through or (0, 0))[0] * (use.through or (0, 0))[1]
    if use.text[0] * use.text[1] > sight.most or through > 4 * sight.area:
        raise SpecError(complaint("omni reference", got, f"up to {sight.most:,} pixels", "choose a smaller size"))


def text_rows_of(references: Iterable[ReferenceUse], rule: ReferenceRule | None) -> int:
    """Return how many text rows references add to a text at most."""
    if rule is None or rule.text is None:
        return 0
    unit = rule.text.unit
    seen = [use.text for use in references if use.text is not None]
    return sum(PICTURE_WORDS + (width // unit) * (height // unit) for width, height in seen)


def reference_grids(spec: GenerationSpec, unit: int) -> tuple[tuple[int, int], ...]:
    """Return the (height, width) in tokens of a spec's references. `unit`: the model's granularity."""
    return tuple((use.height // unit, use.width // unit) for use in spec.references)


def rows_of(grids: Iterable[tuple[int, int]]) -> int:
    """Return how many tokens grids have together."""
    return sum(height * width for height, width in grids)


def taken_by() -> str:
    """Return which models take references, in words."""
    from . import families  # which read configs, as this module does

    named = ", ".join(families.PLUGINS.constants("REFERENCES").values())
    return f"models that were trained to look at pictures: {named}"


def _untaken() -> tuple[str, str, str]:
    return "it with another model", taken_by(), "use --image to start from a picture, or --sref for its style"
