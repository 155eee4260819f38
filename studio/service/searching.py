"""Say by which words searches find a job, and what a search means."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from ...bounds import MAX_SEARCHED
from ...engine.spec import GenerationSpec
from ...engine.styles.names import number_of, taste_of
from ...errors import complaint
from ..store.rows import JobRow
from .errors import WrongValue

_WORD: Final = re.compile(r"\w+")


def words_in(text: str) -> tuple[str, ...]:
    """Return the words of a text, each once, so that case and form of their letters do not matter."""
    return tuple(dict.fromkeys(_WORD.findall(unicodedata.normalize("NFKC", text).casefold())))


def searched(text: str) -> tuple[str, ...]:
    """Return the beginnings of words that a search wants. WrongValue: too many."""
    words = words_in(text)
    if len(words) > MAX_SEARCHED:
        raise WrongValue(complaint("search", f"{len(words)} words", f"up to {MAX_SEARCHED}", "name fewer"))
    return words


def words_of(row: JobRow, spec: GenerationSpec | None) -> str:
    """Return the words of a job as the store keeps them, with a space before each: those of its prompt, its seed, its
    id, and the codes that it was drawn with, of taste and of styles by number. `spec`: None where it cannot be read."""
    texts = [row.prompt, row.job]
    if spec is not None:
        texts += [spec.prompt, *(term.text for term in spec.terms), str(spec.seed)]
        texts += [code for use in spec.adapters if (code := taste_of(use.adapter)) is not None]
        texts += [str(number) for use in spec.adapters if (number := number_of(use.adapter)) is not None]
    return "".join(f" {word}" for word in words_in("\n".join(texts)))
