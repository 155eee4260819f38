"""Define inquiries: what a model is asked about a picture or a prompt, and answers with texts in place of pictures.

An inquiry is made of probes. A probe lets the model predict the velocity of one noisy sample with one text, and comes
back as one number: how far that is from the velocity that it is compared with. What is probed next depends on the
numbers so far and on nothing else, so that an inquiry is known by its numbers: it is parked as these, and goes on from
them to the same bits.

Every module of this folder is an inquiry, and its name is that of `GenerationSpec.inquiry`, of the stage that carries
it out, and of its kind of job. To add one is to add a module with

    HELP: str                                      # what it answers, in a few words
    PICTURE: bool                                  # whether it is about a picture, which is what the spec starts from
    def num_probes(prompt, names) -> int           # how many it takes, known before there is a job
    def ask(question) -> Asking                    # the probes, step by step, and at the end the answer
    PROBES: bool                                   # may be left out; False: it takes none, and needs a style encoder
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...errors import complaint
from ...plugins import Plugins, folder
from ...values import shown
from ..errors import PromptError, SpecError

if TYPE_CHECKING:
    from ..spec import GenerationSpec
    from ..text.reader import PromptReader

PIECE_ROWS: Final = 1600  # image and text rows of the probes of a piece, about: a piece takes as long as a few steps


class Text(msgspec.Struct, frozen=True, omit_defaults=True):
    """A text that an inquiry answers with.

    Attributes:
        text: the words.
        score: how much speaks for it, 0 to 1.
        role: "prompt", a whole prompt; or "word", a word of the prompt that was asked about.
        note: what is to be said of it; "" for nothing.
    """

    text: str
    score: float
    role: str = "prompt"
    note: str = ""


class Probe(NamedTuple):
    """One sample of the model.

    Attributes:
        text: the prompt that it reads; "": the unconditional input.
        noise: number of the noise sample, from 0. The same for all texts that are compared.
        sigma: the noise level, 0 to 1.
    """

    text: str
    noise: int
    sigma: float


Asking: TypeAlias = Generator[Sequence[Probe], Sequence[float], tuple[Text, ...]]


@dataclass(frozen=True)
class Question:
    """What an inquiry knows before its first probe.

    Attributes:
        prompt: of the spec.
        reader: what reads the model's prompts; None: nothing does, and nothing is probed.
        names: slot -> the names of the model's words there, in the checkpoint's order; "subject" are things.
        styles: style -> how near the picture is to it, by the model's style encoder: a cosine; empty: the model has no
            such encoder for its words, or there is no picture.
        vector: float32 [W], the style vector of the picture; None: there is no picture, or no style encoder.
    """

    prompt: str
    reader: PromptReader | None
    names: Mapping[str, Sequence[str]]
    styles: Mapping[str, float] = field(default_factory=dict)
    vector: NDArray[np.float32] | None = None

    @property
    def words(self) -> PromptReader:
        """What reads the model's prompts, of an inquiry with probes."""
        assert self.reader is not None, "probes without a reader of prompts"
        return self.reader


class Inquiry(Protocol):
    """What a module of this folder has."""

    HELP: str
    PICTURE: bool

    def num_probes(self, prompt: str, names: Mapping[str, int]) -> int:
        """Return how many probes `ask` yields in all, of the spec's prompt and the number of names of each slot."""

    def ask(self, question: Question) -> Asking:
        """Yield probes, be sent their numbers, and return the answer, the best first."""


PLUGINS: Final[Plugins[Inquiry]] = folder("inquiry", "salon.engine.inquiries")
names = PLUGINS.names


def probes_of(name: str) -> bool:
    """Return whether an inquiry of this name takes probes."""
    return bool(getattr(PLUGINS.get(name), "PROBES", True))


class Course(NamedTuple):
    """How an inquiry is cut up: so many pieces of so many probes each, but for the last; `probes` in all."""

    pieces: int
    piece: int
    probes: int


def course_of(spec: GenerationSpec, granularity: int, text_rows: int, words: Mapping[str, int]) -> Course:
    """Return the pieces of a spec's inquiry, each of about as much work.

    Args:
        granularity: pixels of a token's side.
        text_rows: of a prompt.
        words: slot -> how many words the model knows there.

    Raises:
        SpecError: the model has no list of words, of which the answer is made.
        PromptError: there is nothing to ask about in the prompt.
    """
    if not probes_of(spec.inquiry):
        return Course(1, 1, 0)
    if not words:
        got, allowed = "a model without a list of its words", "one whose prompts are clauses of known words"
        remedy = "use a checkpoint whose salon.json has text.pipeline clauses and vocabulary.concepts"
        raise SpecError(complaint(spec.inquiry, got, allowed, remedy))
    probes = PLUGINS.get(spec.inquiry).num_probes(spec.prompt, words)
    if not probes:
        remedy = 'write some, like "a red apple"'
        raise PromptError(complaint("prompt", shown(spec.prompt), "some words", remedy))
    rows = (spec.width // granularity) * (spec.height // granularity) + text_rows
    piece = max(1, PIECE_ROWS // rows)
    return Course(-(-probes // piece), piece, probes)
