"""Read prompts for models that read them as they are: nothing is taken apart, and what is too long is cut and told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ...errors import complaint
from ...kernels.segments import Int32
from ...values import shown
from ..errors import PromptError
from .reader import PromptReading, want_length

SHOWN: Final = 60  # characters of what was cut that a note shows


class Cut(Protocol):
    """What a tokenizer made of a text: its ids, and the words that were cut off."""

    @property
    def ids(self) -> Int32: ...

    @property
    def cut(self) -> str: ...


class Tokenizer(Protocol):
    """What cuts a text into tokens."""

    def encode(self, text: str, max_length: int, *, pad: bool = False) -> Cut:
        """Return the ids of a text with special tokens, at most `max_length`, or with `pad` exactly so many."""


@dataclass(frozen=True)
class Use:
    """One text encoder's use of a prompt.

    Attributes:
        name: of the text encoder, for notes.
        tokenizer: cuts the prompt into tokens.
        length: tokens of every prompt, with special tokens and padding.
        whole: whether words that it does not read are read by none.
    """

    name: str
    tokenizer: Tokenizer
    length: int
    whole: bool

    def ids(self, prompt: str) -> Int32:
        """Return the ids of a prompt, int32 [length]."""
        return self.tokenizer.encode(prompt, self.length, pad=True).ids

    def note(self, prompt: str) -> str:
        """Return what is to be told of a prompt's length; "": nothing, it is read whole."""
        cut = " ".join(self.tokenizer.encode(prompt, self.length).cut.split())
        if not cut:
            return ""
        start = shown(cut if len(cut) <= SHOWN else f"{cut[:SHOWN]}...")
        if self.whole:
            return f"the prompt has more than the {self.length} tokens that {self.name} reads: left out is {start}"
        return f"{self.name} reads {self.length} tokens: for the picture as a whole it does not count {start}"


class PlainReader:
    """Reads prompts for a checkpoint. Safe to use from several threads.

    Args:
        uses: what each text encoder reads.
        max_chars: longest prompt taken.
    """

    def __init__(self, uses: Sequence[Use], max_chars: int) -> None:
        self.uses = tuple(uses)
        self.max_chars = max_chars

    def read(self, prompt: str, field: str = "prompt", *, beside: bool = False) -> PromptReading:
        """Read a prompt. `field`: what an error calls it. `beside` is for readers that want a thing to be named.

        Raises:
            PromptError: there are no words in it, or more than `max_chars` characters (normalised: some times that).
        """
        want_length(prompt, field, self.max_chars)
        if not prompt.strip():
            raise PromptError(complaint(field, shown(prompt), "some words", 'say what to draw, like "a red apple"'))
        notes = dict.fromkeys(use.note(prompt) for use in self.uses)  # two of a kind cut alike: that is told once
        return PromptReading({"prompt": prompt}, {}, tuple(note for note in notes if note))
