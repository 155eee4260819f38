"""Pictures that a prompt names: a file, a link, the SHA-256 of a file, or a picture of a job as JOB:N."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from ..errors import complaint
from ..values import shown, text_of
from .errors import ParameterError

ALLOWED: Final = "a picture: a file ending in .png, .jpg, .webp, .gif or .bmp, a link, a SHA-256, or JOB:N"
_FORMS: Final = re.compile(
    r"(?P<link>https?://\S+)"
    r"|(?P<digest>[0-9a-f]{64})"
    r"|(?P<job>[0-9a-f]{24,32}:[1-9][0-9]?)"  # as ids are made: 3:2 and 12:30 are none
    r"|(?P<file>\S.*\.(?:png|jpe?g|webp|gif|bmp))",
    re.DOTALL | re.IGNORECASE,
)


class Form(StrEnum):
    """How a picture is named."""

    LINK = "link"
    DIGEST = "digest"
    JOB = "job"
    FILE = "file"


@dataclass(frozen=True)
class Named:
    """A picture by its name."""

    source: str
    form: Form


def named(text: str) -> Named | None:
    """Return the picture that a text names; None: it names none."""
    match = _FORMS.fullmatch(text)
    return None if match is None or match.lastgroup is None else Named(text, Form(match.lastgroup))


@dataclass(frozen=True)
class Picture:
    """The name of a picture."""

    metavar: str = "IMAGE"
    many: bool = False
    short: str = ""
    allowed: str = ALLOWED

    def read(self, flag: str, text: str, remedy: str) -> Named:
        found = named(text)
        if found is None:
            raise ParameterError(complaint(flag, shown(text), self.allowed, remedy))
        return found

    def check(self, name: str, value: Any, remedy: str) -> str:
        text = value.source if isinstance(value, Named) else text_of(value)
        found = None if text is None else named(text)
        if found is None or found.form not in (Form.DIGEST, Form.JOB):
            allowed = "the SHA-256 (64 hex digits) of a picture's file, or JOB:N"
            raise ParameterError(complaint(name, shown(value), allowed, "bring the picture first"))
        return found.source

    def write(self, value: Any) -> str:
        return value.source if isinstance(value, Named) else str(value)
