"""Read the names that profiles go by: what stands after `--p`, ids, and what owners call them."""

from __future__ import annotations

import re
import secrets
from enum import StrEnum
from typing import Final, NamedTuple

from ...bounds import CODE
from ...errors import complaint, is_text
from ...values import shown, text_of
from ..errors import TasteRefused
from .types import GLOBAL, MOODBOARD, PROFILE, TUNER

_LETTERS: Final = {GLOBAL: "p", PROFILE: "p", TUNER: "t", MOODBOARD: "m"}
_ID: Final = re.compile(r"[pmt][0-9]{10}")
_CODE: Final = re.compile(CODE)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
ALLOWED: Final = "your own by its name or id, a code, a public one by its id, or @ and a user with a public one"
REMEDY: Final = "see `salon profile list`"


class Form(StrEnum):
    """How a profile is named."""

    CODE = "code"
    ID = "id"
    USER = "user"
    NAME = "name"


class Named(NamedTuple):
    """A name and what kind of one it is; of a user without the @."""

    text: str
    form: Form


def read(name: str) -> Named:
    """Return what kind of name this is. What has no other form is the name that an owner gave a profile."""
    if name.startswith("@"):
        return Named(name[1:], Form.USER)
    if _CODE.fullmatch(name):
        return Named(name, Form.CODE)
    return Named(name, Form.ID if _ID.fullmatch(name) else Form.NAME)


def new_id(kind: str) -> str:
    """Return a random id for a profile of a kind."""
    return f"{_LETTERS[kind]}{secrets.randbelow(10**10):010d}"


def checked_name(name: object) -> str:
    """Return what an owner may call a profile. TasteRefused: it would not be found again behind `--p`."""
    text = text_of(name)
    if text is None or not is_text(text) or not _NAME.fullmatch(text):
        allowed = "a letter or digit, then up to 63 letters, digits, _ and -"
        raise TasteRefused(complaint("name", shown(name)[:80], allowed, "choose another name"))
    if (form := read(text).form) is not Form.NAME:
        got = f"{text!r}, which looks like {'a code' if form is Form.CODE else 'an id'}"
        raise TasteRefused(complaint("name", got, "one that does not", "choose another name"))
    return text


def unknown(name: str) -> TasteRefused:
    """Return the error for a name of no profile that the account may use. It is the same for one that does not exist
    and for another's private one, so that it tells nothing of others."""
    return TasteRefused(complaint("profile", repr(name[:80]), ALLOWED, REMEDY))
