"""Pictures that differ from each other (`chaos`) and from the usual (`weird`).

With `chaos` every image reads its text with some noise of its own in it, as condition-annealed sampling has it
(2310.17347, there only for the first steps): what is asked for blurs, and images part. A model that has styles gives
each image a style of its own beside, a fixed point of its style space (`styles/numbers.py`), the more strongly the more
chaos there is. With `weird` all images share one such point, and the model's default style takes its place in the
unconditional branch of guidance: what is usual is what guidance leads away from. Noise and points follow from the seed
and the image alone.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..bounds import CHAOS, WEIRD
from ..errors import complaint
from . import noise
from .errors import SpecError
from .spec import AdapterUse, GenerationSpec
from .styles import names
from .styles.choice import StyleInfo
from .text.pipeline import Float32, TextEncoding, read_only

DOMAIN: Final = 0x535052454144  # "SPREAD": keeps these streams apart from other uses of the same generator
TEXT_STEP: Final = 2**64 - 1  # the step of the noise in texts, which no solver takes
NOISY: Final = 0.5  # share of noise in the text at the most chaos
CHAOTIC: Final = 1.0  # weight of an image's own style at the most chaos
WEIRDEST: Final = 1.0  # weight of the unusual style at the most weird


def text_of(text: TextEncoding, spec: GenerationSpec, image: int) -> TextEncoding:
    """Return what one image reads of a text: the text itself, unless there is chaos. Its empty rows stay empty."""
    if not spec.chaos:
        return text
    share = NOISY * math.sqrt(spec.chaos / CHAOS[1])  # the noise's power grows with chaos
    rows, width = len(text.tokens), max(text.tokens.shape[1], len(text.pooled))
    drawn = noise.normal(spec.seed, image, TEXT_STEP, rows + 1, width)
    tokens = _noisy(text.tokens, drawn[:rows, : text.tokens.shape[1]], share)
    pooled = _noisy(text.pooled[None], drawn[rows:, : len(text.pooled)], share)[0]
    return read_only(tokens, pooled, dict(text.clauses), text.warnings)


def adapters_of(spec: GenerationSpec, image: int, styled: bool) -> tuple[AdapterUse, ...]:
    """Return the adapters that act on one image: those of the spec, and the styles that its chaos and weird bring.

    Args:
        spec: the spec.
        image: index of the image.
        styled: whether the model has styles.
    """
    found = list(spec.adapters)
    if spec.chaos and styled:
        weight = CHAOTIC * spec.chaos / CHAOS[1]
        found.append(AdapterUse(names.of_number(point(spec.seed, image, 0)), weight, names.NONE))
    if spec.weird and styled:
        weight = WEIRDEST * spec.weird / WEIRD[1]
        found.append(AdapterUse(names.of_number(point(spec.seed, 0, 1)), weight, names.DEFAULT))
    return tuple(found)


def all_adapters(spec: GenerationSpec, styled: bool) -> tuple[AdapterUse, ...]:
    """Return the adapters that act on any image of a spec, each as often as it is used."""
    if not spec.chaos:
        return adapters_of(spec, 0, styled)
    return tuple(use for image in range(spec.images) for use in adapters_of(spec, image, styled))


def point(seed: int, image: int, which: int) -> int:
    """Return a style number that follows from a seed and an image; `which` tells several of one image apart."""
    counter = np.array([0, 0, which, DOMAIN], np.uint64)
    key = np.array([seed, image], np.uint64)
    return int(np.random.Philox(key=key, counter=counter).random_raw(1)[0] >> np.uint64(32))


def check_spread(spec: GenerationSpec, styles: StyleInfo | None) -> None:
    """Refuse weird for a model that has no usual style to lead away from.

    Args:
        spec: the spec.
        styles: facts of the model's styles; None: it has none.

    Raises:
        SpecError: there is weird, and the model has no default style.
    """
    if spec.weird and (styles is None or not styles.has_default):
        raise SpecError(complaint("weird", f"{spec.weird:g}", "0 (the model has no default style)", "leave it out"))


def _noisy(rows: Float32, drawn: Float32, share: float) -> Float32:
    """Return rows with a share of noise, each of the root mean square that it had; the sums are exact, so that every
    machine has the same bits. A row may have no columns: not every model reads a pooled vector."""
    kept = math.sqrt(1.0 - share * share)
    squares = (math.fsum((row.astype(np.float64) ** 2).tolist()) / max(1, len(row)) for row in rows)
    sizes: list[float] = [math.sqrt(square) for square in squares]
    scale: NDArray[np.float64] = share * np.array(sizes, np.float64)[:, None]
    mixed: Float32 = (kept * rows.astype(np.float64) + scale * drawn.astype(np.float64)).astype(np.float32)
    return mixed
