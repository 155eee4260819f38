"""Pictures as part of a prompt: what they show is where a generation starts, and how they look becomes styles.

The embedded model has no adapter for what a picture shows. So the latents of the pictures, of several their mean, take
the place of the first steps, the more of them the higher the weight; and each picture is a style reference, the
stronger the higher the weight. At weight 0 there is neither, which is the picture without them, to the bit.

The numbers were chosen by looking at pictures of the embedded model (`models/mini/recipe/image_prompt_sheets.py`). With
words, weight 1 keeps colours and layout, at 2 the things begin to mix, and 3 is near to the pictures. Without words
nothing says what to draw, and more of the pictures has to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..bounds import BLENDED, IMAGE_WEIGHT, MAX_IMAGE_PROMPTS
from ..errors import complaint
from ..values import flag_of, number_of, shown
from .errors import SpecError
from .spec import AdapterUse
from .start import Start, digest_named
from .styles import names
from .styles.choice import StyleInfo, interpolate

FIELDS: Final = ("image_prompts", "image_weight", "blend")  # of a request; see `image_prompts_of`
WEIGHT: Final = 1.0  # of a request that does not say
# (weight, share of the steps that are taken), linear between.
WITH_WORDS: Final = ((0.0, 1.0), (1.0, 0.85), (2.0, 0.75), (3.0, 0.65))
WITHOUT: Final = ((0.0, 0.9), (1.0, 0.6), (3.0, 0.4))
LOOK: Final = ((0.0, 0.0), (1.0, 0.6), (3.0, 1.2))  # (weight, weight of the styles of all pictures together)


def image_prompts_of(
    styles: StyleInfo | None,
    prompt: str,
    *,
    image_prompts: Any = None,
    image_weight: Any = None,
    blend: Any = False,
) -> tuple[Start | None, tuple[AdapterUse, ...]]:
    """Return the start and the adapters of a request's image prompts; without any, None and no adapters.

    Args:
        styles: facts of the model's styles; None: it has none, and the pictures are a start alone.
        prompt: the words beside them.
        image_prompts: SHA-256s (hex) of 1 to 5 pictures' files; of several where there are no words.
        image_weight: 0 to 3, how much they count; None: 1.
        blend: whether it is a blend: 2 to 5 pictures, and no words.

    Raises:
        SpecError: a value out of range, a picture twice, a weight or a blend without pictures, words in a blend, or
            neither words nor several pictures.
    """
    blended, digests = flag_of(blend), _digests(image_prompts)
    if blended is None:
        raise SpecError(complaint("blend", shown(blend), "True or False", "choose one"))
    words = bool(prompt.strip())
    least, most = BLENDED
    if blended and (words or not least <= len(digests) <= most):
        got = "words" if words else f"{len(digests)} pictures"
        raise SpecError(complaint("blend", got, f"{least} to {most} pictures and no words", "leave it out, or mend it"))
    if not digests:
        if image_weight is not None:
            remedy = "put pictures before the words, or leave it out"
            raise SpecError(complaint("image_weight", shown(image_weight), "nothing without image prompts", remedy))
        return None, ()
    low, high = IMAGE_WEIGHT
    weight = WEIGHT if image_weight is None else number_of(image_weight)
    if weight is None or not low <= weight <= high:
        allowed = f"a number from {low:g} to {high:g}"
        raise SpecError(complaint("image_weight", shown(image_weight), allowed, "0 is none, 1 is usual"))
    if not words and len(digests) == 1:
        raise SpecError("Cannot use a single image prompt without text: add text or a second image")
    if not weight:
        if not words:
            raise SpecError(complaint("image_weight", "0 without words", "more than 0", "raise it, or add words"))
        return None, ()
    start = Start(digests[0], interpolate(WITH_WORDS if words else WITHOUT, weight), others=digests[1:])
    if styles is None:
        return start, ()
    share = interpolate(LOOK, weight) / len(digests)
    return start, tuple(AdapterUse(names.of_picture(digest), share, names.NONE) for digest in digests)


def _digests(given: Any) -> tuple[str, ...]:
    if given is None:
        return ()
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise SpecError(complaint("image_prompts", shown(given), "several, in a list", "write them like [digest]"))
    found = tuple(digest_named("image prompt", each) for each in given)
    if len(found) > MAX_IMAGE_PROMPTS:
        got = f"{len(found)} pictures"
        raise SpecError(complaint("image_prompts", got, f"up to {MAX_IMAGE_PROMPTS}", "leave some out"))
    if len(set(found)) != len(found):
        raise SpecError(complaint("image_prompts", "a picture twice", "each once", "raise image_weight in place of it"))
    return found
