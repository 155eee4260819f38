"""Weigh the texts that guidance follows: the velocity of an image is a weighted sum over them.

With u the velocity of the unconditional input, v_0 that of the prompt and v_1, v_2, ... those of a spec's terms,

    v = u + guidance_scale * (prompt_weight (v_0 - u) + weight_1 (v_1 - u) + weight_2 (v_2 - u) + ...)

This is the conjunction of composable diffusion (2206.01714), and a negative weight leads away from its text. A prompt
alone is classifier-free guidance (2207.12598).

People give weights relative to each other. `weighted` divides them by the sum of those above 0, so that guidance keeps
its strength whatever their scale: "a cat" of weight 1 beside "a dog" of weight 0.5 pull with 2/3 and 1/3, and a
negative weight takes nothing from the others. (Dividing by the plain sum would double guidance beside a weight of -0.5,
and have no bound as the sum nears 0.) What is to be left out weighs `NO` each, beside texts that pull with 1 in all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from ..bounds import ANY_TERMS, TERM_WEIGHT
from ..errors import complaint, is_text
from ..values import number_of, shown, text_of
from .errors import SpecError

NO: Final = -0.5
FIELDS: Final = ("terms", "prompt_weight", "no")  # what a request says
_NOTHING: Final = 1e-6  # weights of three texts may sum to 0.9999999


@dataclass(frozen=True, slots=True)
class TextTerm:
    """One more text that guidance follows, or with a weight below 0 leads away from.

    Attributes:
        text: words.
        weight: its factor of guidance; 0 leaves the picture bit for bit as without it.

    Raises:
        SpecError: no words, or a weight out of range.
    """

    text: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        text = text_of(self.text)
        if text is None or not text.strip() or not is_text(text):
            raise SpecError(complaint("term", shown(self.text), "some words in Unicode", 'write some, like "a dog"'))
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "weight", weight_of("weight of a term", self.weight))


def weight_of(name: str, value: Any) -> float:
    """Return a weight as a float. Raise SpecError, which calls it `name`, for one out of range."""
    low, high = TERM_WEIGHT
    number = number_of(value)
    if number is None or not low <= number <= high:
        raise SpecError(complaint(name, shown(value), f"a number from {low:g} to {high:g}", "choose another weight"))
    return number


def interval_of(value: Any) -> tuple[float, float]:
    """Return a share of the steps as two floats. Raise SpecError unless it is (A, B) with 0 <= A < B <= 1."""
    pair = tuple(value) if isinstance(value, tuple | list) else ()
    ends = [end for end in map(number_of, pair) if end is not None]
    if len(pair) != 2 or len(ends) != 2 or not 0 <= ends[0] < ends[1] <= 1:
        allowed = "two numbers from 0 to 1, the second above the first"
        raise SpecError(complaint("guidance_interval", shown(value), allowed, "write it like (0.2, 0.8)"))
    return ends[0], ends[1]


def check_terms(terms: Any) -> None:
    """Raise SpecError unless these are the terms of a spec: a tuple of `TextTerm`, not too many."""
    if not isinstance(terms, tuple) or not all(isinstance(term, TextTerm) for term in terms):
        raise SpecError(complaint("terms", shown(terms), "a tuple of TextTerm", "wrap them"))
    if len(terms) > ANY_TERMS:
        raise SpecError(complaint("terms", f"{len(terms)}", f"up to {ANY_TERMS}", "leave some out"))


def unconditional_weight(guidance: float, prompt_weight: float, terms: Iterable[TextTerm]) -> float:
    """Return the factor of u in the sum; 0: the unconditional input is not needed. `terms`: those that act."""
    weights = [term.weight for term in terms]
    factor = 1 - guidance * math.fsum([prompt_weight, *weights])
    return 0.0 if weights and abs(factor) < _NOTHING else factor


def weighted(*, terms: Any = (), prompt_weight: Any = 1.0, no: Any = None) -> dict[str, Any]:
    """Return the fields `terms` and `prompt_weight` of a spec for weights as people give them.

    Args:
        terms: texts beside the prompt: `TextTerm`s, or pairs of text and weight.
        prompt_weight: of the prompt among them.
        no: what to leave out, as words with commas between; or a sequence of such.

    Raises:
        SpecError: no text, a weight out of range, or weights that sum to 0 or less.
    """
    texts = tuple(map(_term, _items("terms", terms)))
    own = weight_of("prompt_weight", prompt_weight)
    weights = [own, *(term.weight for term in texts)]
    if math.fsum(weights) <= 0:
        got = " + ".join(f"{weight:g}" for weight in weights).replace("+ -", "- ")
        raise SpecError(complaint("weights", got, "a sum above 0", "raise one, or leave one out"))
    whole = math.fsum(weight for weight in weights if weight > 0)
    normal = [TextTerm(term.text, term.weight / whole) for term in texts]
    return {"terms": (*normal, *(TextTerm(text, NO) for text in left_out(no))), "prompt_weight": own / whole}


def left_out(no: Any) -> tuple[str, ...]:
    """Return the things that `no` names. Raise SpecError if it is no text, or has no words."""
    if no is None:
        return ()
    found = []
    for words in (no,) if isinstance(no, str) else _items("no", no):
        text = text_of(words)
        if text is None:
            raise SpecError(complaint("no", shown(words), "words with commas between", "write what to leave out"))
        found += [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise SpecError(complaint("no", shown(no), "some words", 'say what to leave out, like "red, a hat"'))
    return tuple(found)


def _items(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes | TextTerm) or not isinstance(value, Iterable):
        raise SpecError(complaint(name, shown(value), "several, in a list", "write them like [('a dog', 0.5)]"))
    return tuple(value)


def _term(value: Any) -> TextTerm:
    if isinstance(value, TextTerm):
        return value
    pair = value if isinstance(value, tuple | list) else ()
    if len(pair) != 2:
        raise SpecError(complaint("term", shown(value), "a pair of text and weight", "write it like ('a dog', 0.5)"))
    return TextTerm(*pair)
