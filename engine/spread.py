"""Pictures that differ from each other (`chaos`) and from the usual (`weird`), by styles that nobody asked for.

A number is a fixed point of a model's style space (`styles/numbers.py`), and with `chaos` every image of a generation
gets a point of its own, the more strongly the more chaos there is. With `weird` all images share one point, and away
from the model's default style: that takes the point's place in the unconditional branch of guidance, so that what is
usual is what guidance leads away from. Which points they are depends on the seed and the image alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ..bounds import CHAOS, WEIRD
from ..errors import complaint
from .errors import SpecError
from .spec import AdapterUse, GenerationSpec
from .styles import names
from .styles.choice import StyleInfo

DOMAIN: Final = 0x535052454144  # "SPREAD": keeps these streams apart from other uses of the same generator
CHAOTIC: Final = 1.0  # weight of an image's own style at the most chaos
WEIRDEST: Final = 1.0  # weight of the unusual style at the most weird


def adapters_of(spec: GenerationSpec, image: int) -> tuple[AdapterUse, ...]:
    """Return the adapters that act on one image: those of the spec, and the styles that its chaos and weird bring."""
    found = list(spec.adapters)
    if spec.chaos:
        weight = CHAOTIC * spec.chaos / CHAOS[1]
        found.append(AdapterUse(names.of_number(point(spec.seed, image, 0)), weight, names.NONE))
    if spec.weird:
        weight = WEIRDEST * spec.weird / WEIRD[1]
        found.append(AdapterUse(names.of_number(point(spec.seed, 0, 1)), weight, names.DEFAULT))
    return tuple(found)


def all_adapters(spec: GenerationSpec) -> tuple[AdapterUse, ...]:
    """Return the adapters that act on any image of a spec, each as often as it is used."""
    if not spec.chaos:
        return adapters_of(spec, 0)
    return tuple(use for image in range(spec.images) for use in adapters_of(spec, image))


def point(seed: int, image: int, which: int) -> int:
    """Return a style number that follows from a seed and an image; `which` tells several of one image apart."""
    counter = np.array([0, 0, which, DOMAIN], np.uint64)
    key = np.array([seed, image], np.uint64)
    return int(np.random.Philox(key=key, counter=counter).random_raw(1)[0] >> np.uint64(32))


def check_spread(spec: GenerationSpec, styles: StyleInfo | None) -> None:
    """Refuse chaos and weird for a model that lacks the styles.

    Args:
        spec: the spec.
        styles: facts of the model's styles; None: it has none.

    Raises:
        SpecError: there is chaos or weird, and the model has no styles, or no default style to lead away from.
    """
    for name, value in (("chaos", spec.chaos), ("weird", spec.weird)):
        if value and styles is None:
            raise SpecError(complaint(name, f"{value:g}", "0 (the model has no styles)", "leave it out"))
    if spec.weird and styles is not None and not styles.has_default:
        raise SpecError(complaint("weird", f"{spec.weird:g}", "0 (the model has no default style)", "leave it out"))
