"""Block requests by a list of words: the small policy that needs no other service, and an example of one.

A file has a word or some words on each line, in any letter case; `*` behind a word stands for any ending. Lines in
brackets begin rules, each with the sentence that users read; `#` begins a remark.

    [weapons] Weapons are not drawn here.
    gun
    rifle*
    machine gun

Words are compared whole, without regard to letter case, accents, width and characters that are not seen. What a prompt
leads away from (`--no gun`) is not looked at. A list of words knows no meaning: people who want to get around it can.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Final

from ...errors import complaint
from ...system import explain
from ..errors import PolicyError
from .types import ALLOW, PROMPT, Decision, PolicyRequest, block

MAX_BYTES: Final = 4 * 2**20  # of a file
RULE: Final = "words"  # of words before the first line in brackets
MESSAGE: Final = "The prompt has a word that is not drawn here."
_HEAD: Final = re.compile(r"\[([^\[\]]*)\]\s*(.*)")
_WORDS: Final = re.compile(r"[^\W_]+")


class WordList:
    """A policy that blocks prompts by their words.

    Args:
        path: the file.

    Raises:
        PolicyError: it cannot be read, or a line of it is no word, or no rule.
    """

    stages = (PROMPT,)

    def __init__(self, path: Path) -> None:
        self._rules: dict[str, Decision] = {}
        self._phrases: dict[tuple[str, ...], str] = {}  # words -> name of the rule
        self._beginnings: dict[str, str] = {}
        self._longest = 1
        rule = RULE
        self._rules[rule] = block(rule, MESSAGE)
        for number, line in enumerate(_read(path).splitlines(), 1):
            if not (text := line.partition("#")[0].strip()):
                continue
            try:
                if (head := _HEAD.fullmatch(text)) is not None:
                    rule = head[1].strip()
                    self._rules[rule] = block(rule, head[2].strip() or MESSAGE)
                else:
                    self._add(text, rule)
            except PolicyError as error:
                raise PolicyError(f"policy {path}, line {number}: {error}") from error
        if not self._phrases and not self._beginnings:
            raise PolicyError(complaint(f"policy {path}", "no words", "one on each line", "write some"))

    def __call__(self, request: PolicyRequest) -> Decision:
        """Return whether a text that is to be drawn has one of the words."""
        for text in (request.prompt, *request.texts):
            words = words_of(text)
            for i, word in enumerate(words):
                for size in range(1, min(self._longest, len(words) - i) + 1):
                    if (rule := self._phrases.get(tuple(words[i : i + size]))) is not None:
                        return self._rules[rule]
                for end in range(1, len(word) + 1) if self._beginnings else ():
                    if (rule := self._beginnings.get(word[:end])) is not None:
                        return self._rules[rule]
        return ALLOW

    def _add(self, text: str, rule: str) -> None:
        words, open_end = words_of(text.removesuffix("*")), text.endswith("*")
        if not words or (open_end and len(words) > 1) or "*" in text.removesuffix("*"):
            allowed = "a word, a word with * behind it, or several words"
            raise PolicyError(complaint("word", repr(text[:60]), allowed, "correct the line"))
        if open_end:
            self._beginnings.setdefault(words[0], rule)
        else:
            self._phrases.setdefault(tuple(words), rule)
            self._longest = max(self._longest, len(words))


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are compared: small letters without accents, nothing between them."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(char for char in unicodedata.normalize("NFKD", plain) if unicodedata.category(char) not in _UNSEEN)
    return _WORDS.findall(plain)


_UNSEEN: Final = ("Mn", "Me", "Cf")  # accents, marks around a character, and what is not seen


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PolicyError(complaint(f"policy {path}", *explain(error))) from error
    if len(data) > MAX_BYTES:
        raise PolicyError(complaint(f"policy {path}", "a larger file", f"up to {MAX_BYTES:,} bytes", "shorten it"))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PolicyError(complaint(f"policy {path}", "bytes that are not UTF-8", "UTF-8", "save it so")) from error
