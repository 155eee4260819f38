"""Name the adapters that are styles, as specs, recipes and parked generations write them.

A name says how the tokens are made, so that the same model makes the same tokens of it anywhere.
"""

from __future__ import annotations

import re
from typing import Final

from ...bounds import CODE, MAX_STYLE_NUMBER
from ...errors import complaint
from ..errors import SpecError

PREFIX: Final = "style:"
DEFAULT: Final = "style:default"  # the checkpoint's default style
STYLE_BRANCH: Final = "style"  # the branch of the model's own style adapter, for other tokens made for it
NONE: Final = "style:none"  # the null reference, which takes a style's place in the unconditional branch
CODE_FORM: Final = "16 characters from a to z and 2 to 7"  # of a taste code, in words

_NUMBER: Final = re.compile(r"style:number:(0|[1-9][0-9]{0,19})")
_PICTURE: Final = re.compile(r"style:picture:([0-9a-f]{64})")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_TASTE: Final = re.compile(rf"style:taste:({CODE})")


def of_number(number: int) -> str:
    """Return the name of a numbered style. Raise SpecError for a number out of range."""
    if not 0 <= number <= MAX_STYLE_NUMBER:
        allowed = f"a whole number from 0 to {MAX_STYLE_NUMBER}"
        raise SpecError(complaint("style number", f"{number:d}"[:40], allowed, "choose another number"))
    return f"style:number:{number}"


def of_picture(digest: str) -> str:
    """Return the name of the style of a picture by the SHA-256 (hex) of its file.

    Raise SpecError for a malformed digest.
    """
    if not _DIGEST.fullmatch(digest):
        allowed = "64 hex digits, the SHA-256 of a picture's file"
        raise SpecError(complaint("style reference", repr(digest[:80]), allowed, "correct it"))
    return f"style:picture:{digest}"


def of_taste(code: str) -> str:
    """Return the name of the style of a taste code. Raise SpecError for a malformed code."""
    name = f"style:taste:{code}"
    if taste_of(name) is None:
        raise SpecError(complaint("taste code", repr(code[:80]), CODE_FORM, "correct it"))
    return name


def is_style(name: str) -> bool:
    """Return whether the adapter of this name is a style."""
    return name.startswith(PREFIX)


def number_of(name: str) -> int | None:
    """Return the number of a numbered style; None for another adapter."""
    match = _NUMBER.fullmatch(name)
    return int(match[1]) if match and int(match[1]) <= MAX_STYLE_NUMBER else None


def picture_of(name: str) -> str | None:
    """Return the digest of the picture that a style is taken from; None for another adapter."""
    match = _PICTURE.fullmatch(name)
    return match[1] if match else None


def taste_of(name: str) -> str | None:
    """Return the taste code that a style stands for; None for another adapter."""
    match = _TASTE.fullmatch(name)
    return match[1] if match else None


def is_known(name: str, *, numbered: bool = True) -> bool:
    """Return whether a name says how a style is made. Any engine of the model can make such a style; one without a
    style space (not `numbered`) can make those of pictures and none.

    For the style of a picture, the engine needs the picture as well, and for that of a taste code its vector.
    """
    if not numbered:
        return name == NONE or picture_of(name) is not None
    found = number_of(name) is not None, picture_of(name) is not None, taste_of(name) is not None
    return name in (DEFAULT, NONE) or any(found)
