"""What a model reads of a prompt: which words go into which slot, what is left out or replaced, and what is refused.

Tokenizer and tables are enough for it, no weights. So the same reading can be had before there is a job, wherever a
request is taken, and by the engine that draws it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NoReturn, Protocol

from ...errors import complaint
from ...values import shown
from ..errors import PromptError
from .clauses import SUBJECT, ClauseReader, Slot, Vocabulary
from .nouns import Nouns
from .subjects import NotDrawn, avoided_of, subject_of

# Normalising (NFKC) makes up to 18 characters of one. Honest text hardly grows: an ellipsis becomes three dots.
MAX_GROWTH: Final = 4
LIST: Final = "`salon words` lists what it draws"


@dataclass(frozen=True)
class PromptReading:
    """What is read of a prompt.

    Attributes:
        texts: slot -> the words there, for slots that have some.
        ids: slot -> the token ids of these.
        warnings: what was left out or replaced, one sentence each, for the user to see.
    """

    texts: Mapping[str, str]
    ids: Mapping[str, Sequence[int]]
    warnings: tuple[str, ...]


class ReadsPrompts(Protocol):
    """What reads prompts for a checkpoint. Safe to use from several threads."""

    @property
    def max_chars(self) -> int:
        """Characters of the longest prompt taken."""

    def read(self, prompt: str, field: str = "prompt", *, beside: bool = False) -> PromptReading:
        """Read a prompt, see `PromptReader.read`. Raise PromptError for one that cannot be read."""


class PromptReader:
    """Reads prompts for a checkpoint, clause by clause. Safe to use from several threads.

    Args:
        tokenize: token ids of a text, without special tokens.
        slots, vocabulary: the checkpoint's data.
        nouns: what it draws; None: any words are taken for a thing.
        max_chars: longest prompt taken.
    """

    def __init__(
        self,
        tokenize: Callable[[str], Sequence[int]],
        slots: Sequence[Slot],
        vocabulary: Vocabulary,
        nouns: Nouns | None,
        max_chars: int,
    ) -> None:
        self.slots = tuple(slots)
        self.vocabulary = vocabulary
        self.nouns = nouns
        self.max_chars = max_chars
        self._tokenize = tokenize
        make = partial(ClauseReader, self.slots, vocabulary, lambda text: len(tokenize(text)))
        self._wanted = make(None if nouns is None else lambda clauses: subject_of(clauses, nouns))
        self._beside = make(None if nouns is None else lambda clauses: avoided_of(clauses, nouns))

    def read(self, prompt: str, field: str = "prompt", *, beside: bool = False) -> PromptReading:
        """Read a prompt.

        Args:
            field: what an error calls it.
            beside: whether the words stand beside a prompt ("pink background", "people"), and need not name a thing.

        Raises:
            PromptError: no words in it, no thing that the model draws, or longer than `max_chars` characters
                (normalised: `MAX_GROWTH` times that).
        """
        want_length(prompt, field, self.max_chars)
        reader = self._beside if beside else self._wanted
        try:
            clauses = reader.read(prompt, beside=beside)
        except NotDrawn as error:
            self._refuse_thing(field, prompt, error)
        except ValueError as error:
            remedy = 'say what to draw, like "a red apple"'
            raise PromptError(complaint(field, shown(prompt), "some words", remedy)) from error
        warnings, texts, ids = list(clauses.warnings), {}, {}
        for slot in self.slots:
            if not (text := clauses.texts.get(slot.name)):
                continue
            tokens = self._tokenize(text)
            if len(tokens) > slot.tokens:
                kept = self._words_that_fit(text, slot.tokens)
                warnings.append(
                    f"the {slot.name} {text!r} has {len(tokens)} tokens, and {slot.tokens} fit: "
                    f"only {kept!r} is used (shorten it)"
                )
                text, tokens = kept, self._tokenize(kept)[: slot.tokens]
            if not tokens:
                raise PromptError(complaint(field, shown(prompt), "letters or figures", "say what to draw in words"))
            texts[slot.name], ids[slot.name] = text, tokens
        return PromptReading(texts, ids, tuple(warnings))

    def _refuse_thing(self, field: str, prompt: str, error: NotDrawn) -> NoReturn:
        near = [repr(name) for name in error.near]
        offer = f"did you mean {' or '.join([', '.join(near[:-1]), near[-1]] if near[1:] else near)}? " if near else ""
        got = shown(error.noun or prompt)
        raise PromptError(complaint(field, got, "a thing that the model was taught", f"{offer}{LIST}")) from None

    def _words_that_fit(self, text: str, limit: int) -> str:
        """Return the longest run of words from the start that has at most `limit` tokens.

        If not even the first word fits, return the start of it that does.
        """
        words = text.split()

        def fit(count: int) -> bool:
            return len(self._tokenize(" ".join(words[:count]))) <= limit

        # A word has a token at least, but for oddities like control characters. So doubling from `limit` words finds
        # where they stop to fit without reading the rest of a long text, and halving the very word.
        most, more = 0, limit + 1
        while more <= len(words) and fit(more):
            most, more = more, 2 * more
        more = min(more, len(words) + 1)
        while more - most > 1:
            middle = (most + more) // 2
            most, more = (middle, more) if fit(middle) else (most, middle)
        return " ".join(words[:most]) if most else self._part_that_fits(words[0], limit)

    def _part_that_fits(self, word: str, limit: int) -> str:
        """Return the start of a word that has the word's first `limit` tokens.

        In a script without spaces the word is a whole text.
        """

        def tokens(length: int) -> Sequence[int]:
            return self._tokenize(word[:length])

        length, read = limit, self._tokenize(word)[:limit]
        while length < len(word) and len(tokens(length)) <= limit:
            length *= 2
        length = min(length, len(word))
        return next((word[:end] for end in range(length, 0, -1) if tokens(end) == read), word[:limit])


def words_of(reader: ReadsPrompts | None, vocabulary: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Return slot -> a model's own words there, things under "subject"; empty for a model without a list of its words.

    Args:
        reader: of the model's prompts, if it has one.
        vocabulary: of `salon.json`.
    """
    things = tuple(concept["name"] for concept in vocabulary.get("concepts", ()))
    if not isinstance(reader, PromptReader) or not things:
        return {}
    tables, names = reader.vocabulary.tables, [slot.name for slot in reader.slots]
    return {name: tuple(dict.fromkeys(filter(None, tables.get(name, {}).values()))) for name in names} | {
        SUBJECT: things
    }


def want_length(prompt: str, field: str, most: int) -> None:
    """Raise PromptError for a prompt of more characters than `most`, or normalised than `MAX_GROWTH` times that."""
    if len(prompt) > most:
        _refuse_length(field, f"{len(prompt):,} characters", f"{most:,}")
    grown = len(unicodedata.normalize("NFKC", prompt))
    if grown > MAX_GROWTH * most:
        _refuse_length(field, f"{grown:,} characters once normalised", f"{MAX_GROWTH} times {most:,}")


def _refuse_length(field: str, got: str, allowed: str) -> NoReturn:
    raise PromptError(complaint(field, got, f"{allowed} (Limits.max_prompt_chars)", "shorten it"))
