"""Say which LoRAs a request draws with, and how strongly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..bounds import DIGEST, LORA_WEIGHT, MAX_LORAS
from ..errors import complaint
from ..values import number_of, shown, text_of
from .errors import SpecError


@dataclass(frozen=True, slots=True)
class LoraUse:
    """One LoRA of a generation.

    Attributes:
        digest: SHA-256 (hex) of its file.
        weight: factor of what it changes; 0 leaves the picture bit for bit as without it.

    Raises:
        SpecError: no digest, or a weight out of range.
    """

    digest: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        text = text_of(self.digest)
        if text is None or not re.fullmatch(DIGEST, text):
            allowed = "64 hex digits, the SHA-256 of its file (names of LoRAs are a server's)"
            raise SpecError(complaint("LoRA", shown(self.digest)[:80], allowed, "name its file"))
        object.__setattr__(self, "digest", text)
        weight, (low, high) = number_of(self.weight), LORA_WEIGHT
        if weight is None or not low <= weight <= high:
            allowed = f"a number from {low:g} to {high:g}"
            raise SpecError(complaint("weight of a LoRA", shown(self.weight), allowed, "choose another weight"))
        object.__setattr__(self, "weight", weight)


def check_loras(loras: Any, inquiry: str) -> None:
    """Raise SpecError for what is no tuple of LoRAs, too many of them, one twice, or any beside an inquiry."""
    if not isinstance(loras, tuple) or not all(isinstance(use, LoraUse) for use in loras):
        raise SpecError(complaint("loras", shown(loras), "a tuple of LoraUse", "wrap them"))
    if loras and inquiry:
        raise SpecError(complaint("loras", f"some with {inquiry}", "none: it asks the model itself", "drop them"))
    digests = [use.digest for use in loras]
    if len(digests) > MAX_LORAS:
        raise SpecError(complaint("loras", f"{len(digests)}", f"up to {MAX_LORAS}", "leave some out"))
    if len(set(digests)) != len(digests):
        twice = next(digest for digest in digests if digests.count(digest) > 1)
        raise SpecError(complaint("loras", f"{twice[:12]} twice", "each once", "add up its weights"))


def loras_of(given: Any) -> tuple[LoraUse, ...]:
    """Return the LoRAs of a request: `LoraUse`s, digests, or pairs of digest and weight.

    Raises:
        SpecError: one is none of these.
    """
    if given is None:
        return ()
    if isinstance(given, str | LoraUse) or not isinstance(given, Iterable):
        given = (given,)
    found = []
    for each in given:
        if isinstance(each, LoraUse):
            found.append(each)
        elif isinstance(each, Sequence) and not isinstance(each, str) and len(each) == 2:
            found.append(LoraUse(each[0], each[1]))
        else:
            found.append(LoraUse(each))
    return tuple(found)
