"""Names of presets, under which an account keeps parameters on a server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..bounds import PRESET
from ..errors import complaint
from ..values import shown, text_of
from .errors import ParameterError


@dataclass(frozen=True)
class PresetName:
    """The name of a preset."""

    metavar: str = "NAME"
    many: bool = False
    short: str = ""
    allowed: str = "a name of letters, digits, _ and -, up to 64"

    def read(self, flag: str, text: str, remedy: str) -> str:
        if not re.fullmatch(PRESET, text):
            raise ParameterError(complaint(flag, shown(text), self.allowed, remedy))
        return text

    def check(self, name: str, value: Any, remedy: str) -> str:
        text = text_of(value)
        if text is None:
            raise ParameterError(complaint(name, shown(value), self.allowed, remedy))
        return self.read(name, text, remedy)

    def write(self, value: Any) -> str:
        return str(value)
