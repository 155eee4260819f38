"""Encode prompts clause by clause.

Each clause is encoded on its own. Its token states, without the two special tokens, are brought to mean 0 and deviation
1 per dimension and written into the clause's slots. Empty slots are zeros. The pooled vector is the mean state of the
subject clause, brought to mean 0 and deviation 1 with its own statistics. `PromptReader` says which words go where. A
model with a table of nouns draws the head noun or what the table says (`nouns.py`). Without a table, the nearest known
subject replaces one that the model does not know (`neighbours.py`). The data are the checkpoint's (`salon.json`,
`text_stats.safetensors`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import numpy as np

from ....kernels.bfloat16 import widen
from ....kernels.ops import Ops
from ...checkpoint import Component, file_named
from ...config import Config
from ...errors import MalformedFile, WrongShape
from ...limits import Limits
from ...safetensors_file import SafetensorsFile
from ...weights.bert import BertConfig, load_bert
from ..bert import COMPONENTS as COMPONENTS
from ..bert import BertEncoder, BertTokenizer
from ..clauses import SUBJECT, Slot, Vocabulary
from ..neighbours import Neighbours, load_neighbours
from ..nouns import Nouns, load_nouns
from ..pipeline import Float32, TextEncoding, read_only
from ..reader import PromptReader, PromptReading
from . import settings_of

HELP = "a prompt is taken apart into clauses, and each is encoded on its own"
STATS: Final = "text_stats.safetensors"  # unless `salon.json` names another file
VERSION: Final = 1  # version of the "text" part of salon.json
WORDS: Final = {  # keys of that part which are read elsewhere
    "pipeline": "text/pipelines/__init__.py",
    "slots": "below",
    "stats": "below",
    "neighbours": "text/neighbours.py",
    "nouns": "text/nouns.py",
    "natural_palette": "text/clauses.py",
    **dict.fromkeys(("styles", "backgrounds", "palettes", "finishes"), "known words, of a slot that a model may lack"),
}


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
        slots, vocabulary, stats, neighbours, nouns: the checkpoint's data.
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
        nouns: Nouns | None = None,
        max_chars: int,
        cache_size: int,
        sizes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.encoder = encoder
        self.slots = tuple(slots)
        self.stats = stats
        self.neighbours = neighbours
        self.cache_size = cache_size
        self.sizes = sizes or {}
        self.parts = tuple(slot.tokens for slot in self.slots)
        self.reader = PromptReader(encoder.tokenize, self.slots, vocabulary, nouns, max_chars)
        self._cache: OrderedDict[tuple[str, bool], TextEncoding] = OrderedDict()
        width, pooled = len(stats.token_mean), len(stats.pooled_mean)
        rows = np.zeros((self.num_rows, width), np.float32)
        self.unconditional = read_only(rows, np.zeros(pooled, np.float32))  # what training saw for a dropped caption

    @property
    def widths(self) -> tuple[int, int]:
        """See `TextPipeline`."""
        return len(self.stats.token_mean), len(self.stats.pooled_mean)

    @property
    def num_rows(self) -> int:
        """Text rows of every prompt."""
        return sum(self.parts)

    def encode(self, prompt: str, field: str = "prompt", *, beside: bool = False) -> TextEncoding:
        """Encode a prompt. Arguments and errors are those of `PromptReader.read`."""
        key = prompt, beside
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        encoding = self._encode(self.reader.read(prompt, field, beside=beside))
        self._cache[key] = encoding
        while len(self._cache) > self.cache_size:
            self._cache.popitem(last=False)
        return encoding

    def encode_read(self, readings: Sequence[PromptReading]) -> list[TextEncoding]:
        """Encode prompts that the reader has read, all clauses at once, to the bits of `encode`; none is kept."""
        clauses = dict.fromkeys(tuple(ids) for reading in readings for ids in reading.ids.values())
        states = dict(zip(clauses, self.encoder.encode(list(clauses)) if clauses else (), strict=True))
        return [
            self._of_states(reading, {name: states[tuple(ids)] for name, ids in reading.ids.items()})
            for reading in readings
        ]

    def pooled_of(self, text: str) -> Float32:
        """Return the pooled vector [E] of a subject, whatever its words are."""
        (states,) = self.encoder.encode([self.encoder.tokenize(text)])
        return self._pooled(states)

    def _encode(self, reading: PromptReading) -> TextEncoding:
        ids = [reading.ids[name] for name in reading.texts]
        return self._of_states(reading, dict(zip(reading.texts, self.encoder.encode(ids) if ids else (), strict=True)))

    def _of_states(self, reading: PromptReading, states: dict[str, Float32]) -> TextEncoding:
        """Return the encoding of what was read, of the token states float32 [n, E] of each slot."""
        stats, warnings, texts = self.stats, list(reading.warnings), dict(reading.texts)
        pooled = self._pooled(states[SUBJECT]) if SUBJECT in states else self.unconditional.pooled.copy()
        measured = self.neighbours if self.reader.nouns is None else None  # with a table nothing is left to measure
        if SUBJECT in states and measured is not None and not measured.knows(texts[SUBJECT]):
            name = measured.nearest(pooled)
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
        return read_only(rows, pooled, texts, tuple(warnings))

    def _pooled(self, states: Float32) -> Float32:
        pooled: Float32 = (states.mean(axis=0) - self.stats.pooled_mean) / self.stats.pooled_std
        return pooled.astype(np.float32)


def files(salon: Config) -> Mapping[str, Any]:
    """See `Reader`."""
    return {"text.stats": settings_of(salon).values.get("stats", STATS)}


def widths(components: Mapping[str, Component], salon: Config) -> tuple[int, int]:
    """See `Reader`. The statistics have as many columns as the text encoder, which `load` checks."""
    width = BertConfig.read(components["text_encoder"].config).hidden_size
    return width, width


def load(ops: Ops[Any, Any], components: Mapping[str, Component], salon: Config, limits: Limits) -> ClausePipeline:
    """See `Reader`."""
    ((key, name),) = files(salon).items()
    stats_path = file_named(salon.path, key, name)
    weights = load_bert(ops, components["text_encoder"])
    encoder = BertEncoder(ops, weights, components["tokenizer"].path / "tokenizer.json")
    try:
        slots, vocabulary, nouns = _tables(salon)
        stats = _load_stats(SafetensorsFile(stats_path), encoder.width)
        neighbours = load_neighbours(salon, encoder.width)
        longest = max(slot.tokens for slot in slots)
        if longest > encoder.max_tokens:
            most = f"at most {encoder.max_tokens} (the text encoder's positions)"
            raise ValueError(f"a slot of {longest} tokens, want {most}")
        return ClausePipeline(
            encoder, slots, vocabulary, stats, neighbours=neighbours, nouns=nouns, max_chars=limits.max_prompt_chars,
            cache_size=limits.text_cache, sizes={"text_encoder": _sizes(encoder)},
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedFile(f"text pipeline: {error!r}", path=salon.path, key="text") from error


def reader(components: Mapping[str, Component], salon: Config, limits: Limits) -> PromptReader:
    """See `Reader`."""
    tokenizer = BertTokenizer(components["tokenizer"].path / "tokenizer.json")
    try:
        slots, vocabulary, nouns = _tables(salon)
        return PromptReader(tokenizer.tokenize, slots, vocabulary, nouns, limits.max_prompt_chars)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedFile(f"text pipeline: {error!r}", path=salon.path, key="text") from error


def _tables(salon: Config) -> tuple[list[Slot], Vocabulary, Nouns | None]:
    """Return what the "text" part of `salon.json` says of words. Raise whatever its values cause."""
    settings = settings_of(salon)
    settings.only("version", (VERSION,))
    slots = [Slot(**slot) for slot in settings.values["slots"]]
    settings.finish(WORDS | {slot.table: "known words of a slot" for slot in slots})
    return slots, Vocabulary.from_json(settings.values), load_nouns(salon)


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
