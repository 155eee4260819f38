"""Encode prompts clause by clause.

Each clause is encoded on its own. Its token states, without the two special tokens, are brought to mean 0 and deviation
1 per dimension and written into the clause's slots. Empty slots are zeros. The pooled vector is the mean state of the
subject clause, brought to mean 0 and deviation 1 with its own statistics. The nearest known subject replaces one that
the model does not know (see `neighbours.py`). The data are the checkpoint's (`salon.json`, `text_stats.safetensors`).
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NoReturn, Protocol

import numpy as np

from ....errors import complaint
from ....kernels.bfloat16 import widen
from ....kernels.ops import Ops
from ....values import shown
from ...checkpoint import Component, file_named
from ...config import Config
from ...errors import MalformedFile, PromptError, WrongShape
from ...limits import Limits
from ...safetensors_file import SafetensorsFile
from ...weights.bert import load_bert
from ..bert import COMPONENTS as COMPONENTS
from ..bert import BertEncoder
from ..clauses import SUBJECT, ClauseReader, Slot, Vocabulary
from ..neighbours import Neighbours, load_neighbours
from ..pipeline import Float32, TextEncoding, read_only
from . import settings_of

HELP = "a prompt is taken apart into clauses, and each is encoded on its own"
STATS: Final = "text_stats.safetensors"  # unless `salon.json` names another file
VERSION: Final = 1  # version of the "text" part of salon.json
WORDS: Final = {  # keys of that part which are read elsewhere
    "pipeline": "text/pipelines/__init__.py",
    "slots": "below",
    "stats": "below",
    "neighbours": "text/neighbours.py",
    "natural_palette": "text/clauses.py",
    **dict.fromkeys(("styles", "backgrounds", "palettes", "finishes"), "known words, of a slot that a model may lack"),
}
# Normalising (NFKC) makes up to 18 characters of one. Honest text hardly grows: an ellipsis becomes three dots.
MAX_GROWTH: Final = 4


class TokenEncoder(Protocol):
    """A checkpoint's tokenizer and text encoder."""

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of a text, without special tokens."""
        ...

    def encode(self, clauses: Sequence[Sequence[int]]) -> list[Float32]:
        """Return the token states float32 [n, E] of each clause.

        Each clause is encoded on its own between special tokens, whose states are left out.
        """
        ...


@dataclass(frozen=True, eq=False)
class TextStats:
    """Mean and deviation per dimension, float32 [E], of token states and of mean states of a clause."""

    token_mean: Float32
    token_std: Float32
    pooled_mean: Float32
    pooled_std: Float32


class ClausePipeline:
    """A `TextPipeline` that encodes prompts clause by clause and keeps the results of the last prompts.

    Args:
        encoder: tokenizer and text encoder.
        slots, vocabulary, stats, neighbours: the checkpoint's data.
        max_chars: characters of the longest prompt that is accepted.
        cache_size: number of prompts whose encoding is kept; the least recently used is dropped first.
        sizes: the value of `TextPipeline.sizes`.
    """

    def __init__(
        self,
        encoder: TokenEncoder,
        slots: Sequence[Slot],
        vocabulary: Vocabulary,
        stats: TextStats,
        *,
        neighbours: Neighbours | None = None,
        max_chars: int,
        cache_size: int,
        sizes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.encoder = encoder
        self.slots = tuple(slots)
        self.stats = stats
        self.neighbours = neighbours
        self.max_chars = max_chars
        self.cache_size = cache_size
        self.sizes = sizes or {}
        self.parts = tuple(slot.tokens for slot in self.slots)
        self.reader = ClauseReader(self.slots, vocabulary, lambda text: len(encoder.tokenize(text)))
        self._cache: OrderedDict[tuple[str, bool], TextEncoding] = OrderedDict()
        width, pooled = len(stats.token_mean), len(stats.pooled_mean)
        rows = np.zeros((self.num_rows, width), np.float32)
        self.unconditional = read_only(rows, np.zeros(pooled, np.float32))  # what training saw for a dropped caption

    @property
    def num_rows(self) -> int:
        """Text rows of every prompt."""
        return sum(self.parts)

    def encode(self, prompt: str, field: str = "prompt", *, beside: bool = False) -> TextEncoding:
        """Encode a prompt.

        Args:
            field: the name of the prompt in errors.
            beside: whether the words stand beside a prompt. If they are all attributes, no subject is made of them.

        Raises:
            PromptError: the prompt has no words, or more than `max_chars` characters (normalised: `MAX_GROWTH` times
                that).
        """
        if len(prompt) > self.max_chars:
            self._refuse_length(field, f"{len(prompt):,} characters", f"{self.max_chars:,}")
        key = prompt, beside
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        grown, most = len(unicodedata.normalize("NFKC", prompt)), MAX_GROWTH * self.max_chars
        if grown > most:
            self._refuse_length(
                field, f"{grown:,} characters once normalised", f"{MAX_GROWTH} times {self.max_chars:,}"
            )
        encoding = self._encode(prompt, field, beside)
        self._cache[key] = encoding
        while len(self._cache) > self.cache_size:
            self._cache.popitem(last=False)
        return encoding

    def _refuse_length(self, field: str, got: str, allowed: str) -> NoReturn:
        raise PromptError(complaint(field, got, f"{allowed} (Limits.max_prompt_chars)", "shorten it"))

    def _encode(self, prompt: str, field: str, beside: bool) -> TextEncoding:
        try:
            clauses = self.reader.read(prompt, beside=beside)
        except ValueError as error:
            remedy = 'say what to draw, like "a red apple"'
            raise PromptError(complaint(field, shown(prompt), "some words", remedy)) from error
        stats, warnings = self.stats, list(clauses.warnings)
        texts, ids = dict(clauses.texts), []
        filled = [slot for slot in self.slots if texts.get(slot.name)]
        for slot in filled:
            tokens = self.encoder.tokenize(texts[slot.name])
            if len(tokens) > slot.tokens:
                kept = self._words_that_fit(texts[slot.name], slot.tokens)
                warnings.append(
                    f"the {slot.name} {texts[slot.name]!r} has {len(tokens)} tokens, and {slot.tokens} fit: "
                    f"only {kept!r} is used (shorten it)"
                )
                texts[slot.name], tokens = kept, self.encoder.tokenize(kept)[: slot.tokens]
            if not tokens:
                raise PromptError(complaint(field, shown(prompt), "letters or figures", "say what to draw in words"))
            ids.append(tokens)
        states = dict(zip((slot.name for slot in filled), self.encoder.encode(ids), strict=True))
        pooled = self._pooled(states[SUBJECT]) if SUBJECT in states else self.unconditional.pooled
        if SUBJECT in states and self.neighbours is not None and not self.neighbours.knows(texts[SUBJECT]):
            name = self.neighbours.nearest(pooled)
            if name is not None:
                warnings.append(f"{texts[SUBJECT]!r} is drawn as {name!r}, the nearest thing that the model knows")
                texts[SUBJECT] = name
                room = next(slot.tokens for slot in self.slots if slot.name == SUBJECT)
                (states[SUBJECT],) = self.encoder.encode([self.encoder.tokenize(name)[:room]])
                pooled = self._pooled(states[SUBJECT])
        rows = np.zeros((self.num_rows, len(stats.token_mean)), np.float32)
        start = 0
        for slot in self.slots:
            if slot.name in states:
                state = states[slot.name]
                rows[start : start + len(state)] = (state - stats.token_mean) / stats.token_std
            start += slot.tokens
        return read_only(rows, pooled, {name: text for name, text in texts.items() if text}, tuple(warnings))

    def _pooled(self, states: Float32) -> Float32:
        pooled: Float32 = (states.mean(axis=0) - self.stats.pooled_mean) / self.stats.pooled_std
        return pooled.astype(np.float32)

    def _words_that_fit(self, text: str, limit: int) -> str:
        """Return the longest run of words from the start that has at most `limit` tokens.

        If not even the first word fits, return the start of it that does.
        """
        words = text.split()

        def fit(count: int) -> bool:
            return len(self.encoder.tokenize(" ".join(words[:count]))) <= limit

        # Nearly every word has at least one token. (Control characters have none.) So doubling from `limit` words finds
        # where they cease to fit without reading the rest of a long text, and halving finds the very word.
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

        def tokens(length: int) -> list[int]:
            return self.encoder.tokenize(word[:length])

        length, read = limit, self.encoder.tokenize(word)[:limit]
        while length < len(word) and len(tokens(length)) <= limit:
            length *= 2
        length = min(length, len(word))
        return next((word[:end] for end in range(length, 0, -1) if tokens(end) == read), word[:limit])


def files(salon: Config) -> Mapping[str, Any]:
    """See `Reader`."""
    return {"text.stats": settings_of(salon).values.get("stats", STATS)}


def load(ops: Ops[Any, Any], components: Mapping[str, Component], salon: Config, limits: Limits) -> ClausePipeline:
    """See `Reader`."""
    settings = settings_of(salon)
    settings.only("version", (VERSION,))
    text = settings.values
    ((key, name),) = files(salon).items()
    stats_path = file_named(salon.path, key, name)
    weights = load_bert(ops, components["text_encoder"])
    encoder = BertEncoder(ops, weights, components["tokenizer"].path / "tokenizer.json")
    try:
        slots = [Slot(**slot) for slot in text["slots"]]
        settings.finish(WORDS | {slot.table: "known words of a slot" for slot in slots})
        vocabulary = Vocabulary.from_json(text)
        stats = _load_stats(SafetensorsFile(stats_path), encoder.width)
        neighbours = load_neighbours(salon, encoder.width)
        longest = max(slot.tokens for slot in slots)
        if longest > encoder.max_tokens:
            most = f"at most {encoder.max_tokens} (the text encoder's positions)"
            raise ValueError(f"a slot of {longest} tokens, want {most}")
        return ClausePipeline(
            encoder, slots, vocabulary, stats, neighbours=neighbours, max_chars=limits.max_prompt_chars,
            cache_size=limits.text_cache, sizes={"text_encoder": _sizes(encoder)},
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedFile(f"text pipeline: {error!r}", path=salon.path, key="text") from error


def _sizes(encoder: BertEncoder) -> dict[str, Any]:
    """Return the numbers of the text encoder's config that decide how much work it is."""
    return {key: value for key, value in asdict(encoder.weights.config).items() if key != "layer_norm_eps"}


def _load_stats(file: SafetensorsFile, width: int) -> TextStats:
    """Load the statistics of a text encoder of this width."""
    stats = {name: widen(file.array(name), name) for name in TextStats.__dataclass_fields__}
    for name, values in stats.items():
        if values.shape != (width,):
            expected = f"[{width}], the width of the text encoder"
            found = str(list(values.shape))
            raise WrongShape("wrong statistics", path=file.path, key=name, expected=expected, found=found)
        if not np.isfinite(values).all() or (name.endswith("_std") and values.min() <= 0):
            raise MalformedFile("wrong statistics", path=file.path, key=name, expected="finite, deviations above 0")
    return TextStats(**stats)
