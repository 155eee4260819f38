"""The words of a model: what it draws by which names, and which of them are near to a word."""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import complaint
from ..kernels import backends
from .config import Config
from .errors import SpecError
from .files.opening import ModelPath, open_checkpoint, salon_of
from .limits import Limits
from .reading import load_reader
from .text.clauses import SUBJECT, normalise, without_article
from .text.heads import head_of
from .text.neighbours import Neighbours, load_neighbours, names_of
from .text.pipelines import reader_of, settings_of
from .text.reader import PromptReader, ReadsPrompts

THINGS: Final = "things"  # what the list calls the names of the subject's slot
NEAR: Final = 10  # names that are told


class Near(msgspec.Struct, frozen=True):
    """A name near to a word. `similarity`: the cosine of their vectors, 1 for the same."""

    name: str
    similarity: float


class WordList(msgspec.Struct, frozen=True, kw_only=True):
    """What a model draws.

    Attributes:
        slots: "things", "styles", ... -> its entries, each a name and then other words for the same.
        drawn: what is drawn for the word that was asked about; empty: nothing, or none was.
        near: names near to that word, the nearest first.
    """

    slots: dict[str, tuple[tuple[str, ...], ...]]
    drawn: str = ""
    near: tuple[Near, ...] = ()


class Words:
    """Answers what a model's words are. Nothing is read before it is asked; safe to use from several threads.

    Args:
        model: where the model lies; None: the embedded one.
        reader: what reads the model's prompts; None: it is loaded when first needed.
        limits: what the engine takes on; None: `Limits()`.
    """

    def __init__(
        self,
        model: str | Path | ModelPath | None = None,
        *,
        reader: ReadsPrompts | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._model = ModelPath.of(model)
        self._given = reader
        self._limits = limits
        self._lock = threading.Lock()  # the text encoder's backend is one thread's at a time

    def look(self, like: str = "") -> WordList:
        """Return all words by slot; with `like`, also the names near to that word.

        Raises:
            SpecError: the model has no list of words, or `like` has no letters.
            CheckpointError: the folder cannot be loaded.
        """
        with self._lock:
            if not like:
                return WordList(slots=self._slots)
            noun = without_article(normalise(like))
            if not noun:
                raise SpecError(complaint("like", repr(like[:40]), "a word", "write one, or leave it out"))
            nouns = None if self._reader is None else self._reader.nouns
            head = None if nouns is None else head_of(noun, nouns)
            drawn = head.match.name or "" if head is not None else ""
            return WordList(slots=self._slots, drawn=drawn, near=self._near(noun))

    def _near(self, noun: str) -> tuple[Near, ...]:
        pipeline, known = self._encoder
        found = known.ranked(pipeline.pooled_of(noun), NEAR)
        return tuple(Near(name, round(cosine, 3)) for name, cosine in found)

    @cached_property
    def _salon(self) -> Config:
        salon = salon_of(open_checkpoint(self._model))
        names = names_of(salon.mapping("vocabulary"))
        if getattr(reader_of(salon), "reader", None) is None or not names:
            allowed = "one that lists its words (text pipeline clauses, vocabulary.concepts)"
            raise SpecError(complaint("model", f"{self._model.path.name}, which has no list", allowed, "use another"))
        return salon

    @cached_property
    def _reader(self) -> PromptReader | None:
        reader = self._given or load_reader(self._model, self._limits)
        return reader if isinstance(reader, PromptReader) else None

    @cached_property
    def _slots(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        concepts = self._salon.mapping("vocabulary")["concepts"]
        found = {THINGS: tuple(sorted((one["name"], *one["synonyms"]) for one in concepts))}
        assert self._reader is not None, "a list without a reader"
        text = settings_of(self._salon).values
        for slot in self._reader.slots:
            if slot.name != SUBJECT:
                words = text.get(slot.table, ())
                forms = words if isinstance(words, dict) else dict.fromkeys(words, ())
                found[slot.table] = tuple((name, *others) for name, others in forms.items())
        return found

    @cached_property
    def _encoder(self) -> tuple[Any, Neighbours]:
        """The model's text pipeline, and the names' vectors."""
        salon, checkpoint = self._salon, open_checkpoint(self._model)
        module = reader_of(salon)
        assert module is not None, "a list without a pipeline"
        components = {name: checkpoint.component(name) for name in module.COMPONENTS}
        pipeline: Any = module.load(backends.create("cpu", threads=1), components, salon, self._limits or Limits())
        known = load_neighbours(salon, pipeline.encoder.width)
        if known is None:
            got = f"{self._model.path.name}, which has no vectors of its names"
            raise SpecError(complaint("like", got, "a model with text.neighbours", "leave it out"))
        return pipeline, known
