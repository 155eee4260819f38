"""Read LoRAs of a request, as users type them and as programs send them.

A typed LoRA is its file, its name in the folder of a server's operator, or the SHA-256 of its file, each perhaps
followed by `:WEIGHT`. A sent one is a pair of name or SHA-256 and the weight: a file has to be put where the job runs
first.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Final

from ..bounds import LORA_NAME, LORA_WEIGHT, MAX_LORAS
from ..errors import complaint
from ..system import expand_home
from ..values import number_of, shown, text_of
from .errors import ParameterError
from .kinds import NUMBER, items_of, plain_number
from .references import DIGEST, Typed

_NAME: Final = re.compile(LORA_NAME)
SUFFIX: Final = ".safetensors"


@dataclass(frozen=True)
class TypedLora(Typed):
    """A LoRA as the user typed it: `source` is a name, a SHA-256 or the path of a file, `weight` how strong it is."""


@dataclass(frozen=True)
class Loras:
    """The kind of LoRAs: files, names of a server's, or SHA-256s, each with a weight."""

    metavar: str = "LORA"
    many: bool = True
    short: str = ""
    allowed: str = (
        f"up to {MAX_LORAS} of: a file, a name, or the SHA-256 of a file, each perhaps with :WEIGHT behind it"
    )

    def read(self, flag: str, text: str, remedy: str) -> TypedLora:
        """Return one LoRA as it was typed."""
        name, separator, share = text.rpartition(":")
        number = share.removeprefix("-")
        low, high = LORA_WEIGHT
        if not separator or not NUMBER.fullmatch(number):
            if separator and os.path.isfile(name) and not os.path.exists(text):
                allowed = f"a weight from {low:g} to {high:g} behind :"
                raise ParameterError(complaint(flag, shown(share), allowed, "write it like film.safetensors:0.8"))
            name, share = text, "1"
        if not low <= float(share) <= high:
            allowed = f"a weight from {low:g} to {high:g} behind :"
            raise ParameterError(complaint(flag, shown(text), allowed, "write it like film.safetensors:0.8"))
        weight = float(share)
        if DIGEST.fullmatch(name):
            return TypedLora(name, False, weight)
        if not name or "\0" in name:
            raise ParameterError(complaint(flag, shown(text), self.allowed, "name one"))
        named = _NAME.fullmatch(name) and not name.endswith(SUFFIX)  # a server's are named without it
        if named and not os.path.exists(name):
            return TypedLora(name, False, weight)
        return TypedLora(os.path.abspath(expand_home(name, flag)), True, weight)

    def check(self, name: str, value: Any, remedy: str) -> tuple[tuple[str, float], ...]:
        """Return LoRAs that came as data: names and digests, alone or in pairs with their weights."""
        many = items_of(value)
        many = (value,) if many is None else many
        if not 1 <= len(many) <= MAX_LORAS:
            got, allowed = f"{len(many)} LoRAs", f"1 to {MAX_LORAS}"
            raise ParameterError(complaint(name, got, allowed, "leave some out" if many else "leave it out"))
        pairs = tuple(_pair(name, each) for each in many)
        sources = [source for source, _ in pairs]
        if len(set(sources)) != len(sources):
            twice = next(source for source in sources if sources.count(source) > 1)
            raise ParameterError(complaint(name, f"{twice} twice", "each once", "add up the weights"))
        return pairs

    def write(self, value: Any) -> str:
        pairs = [(each.source, each.weight) if isinstance(each, Typed) else each for each in value]
        return " ".join(f"{source}" if weight == 1 else f"{source}:{plain_number(weight)}" for source, weight in pairs)


def _pair(name: str, value: Any) -> tuple[str, float]:
    source, weight, items = value, 1.0, items_of(value)
    if items is not None:
        if len(items) != 2:
            raise ParameterError(complaint(name, shown(value), "a LoRA and its weight", "correct it"))
        source, weight = items
    text, share = text_of(source), number_of(weight)
    low, high = LORA_WEIGHT
    if share is None or not low <= share <= high:
        allowed = f"a number from {low:g} to {high:g}"
        raise ParameterError(complaint(f"{name}: weight", shown(weight), allowed, "correct it"))
    if text is None or not (DIGEST.fullmatch(text) or _NAME.fullmatch(text)):
        allowed = "the name of one in a server's folder, or the SHA-256 (64 hex digits) of its file"
        raise ParameterError(complaint(name, shown(source)[:80], allowed, "bring the file first"))
    return text, share
