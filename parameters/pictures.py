"""Pictures that a prompt names: a file, a link, the SHA-256 of a file, or a picture of a job as JOB:N."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

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


def is_link(value: Any) -> bool:
    """Return whether a value that names a picture is its link."""
    return isinstance(value, str) and re.match(r"https?://", value, re.IGNORECASE) is not None


def named(text: str) -> Named | None:
    """Return the picture that a text names; None: it names none."""
    match = _FORMS.fullmatch(text)
    return None if match is None or match.lastgroup is None else Named(text, Form(match.lastgroup))
