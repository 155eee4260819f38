"""Names of taste profiles, as they are typed: none for one's own, codes, ids, `m` and a moodboard's id, `@` and a user,
each perhaps with `::WEIGHT` behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from ..bounds import REFERENCE_WEIGHT
from ..errors import complaint
from ..values import number_of, shown, text_of
from .errors import ParameterError
from .kinds import NUMBER, items_of, plain_number

_NAME: Final = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Profiles:
    """Taste profiles, or none for the default one."""

    metavar: str = "PROFILE"
    many: bool = True
    none: bool = True
    short: str = ""
    allowed: str = "profiles by name, id or code, each perhaps with ::WEIGHT, or none for your own"

    def read(self, flag: str, text: str, remedy: str) -> tuple[str, float]:
        name, separator, share = text.rpartition("::")
        if not separator:
            name, share = text, "1"
        low, high = REFERENCE_WEIGHT
        if not _NAME.fullmatch(name) or not NUMBER.fullmatch(share) or not low <= float(share) <= high:
            raise ParameterError(complaint(flag, shown(text), self.allowed, remedy))
        return name, float(share)

    def check(self, name: str, value: Any, remedy: str) -> tuple[tuple[str, float], ...]:
        many, found = items_of(value), []
        for item in (value,) if many is None else many:
            code, weight = items_of(item) or (item, 1.0)
            text, share = text_of(code), number_of(weight)
            if text is None or share is None:
                raise ParameterError(complaint(name, shown(item), self.allowed, remedy))
            found.append(self.read(name, f"{text}::{plain_number(share)}", remedy))
        return tuple(found)

    def write(self, value: Any) -> str:
        return " ".join(name if weight == 1 else f"{name}::{plain_number(weight)}" for name, weight in value)
