"""Define what a turn of a conversation starts from, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ...parameters.job_request import IMAGINE, Source
from ...parameters.language.prompt import Prompt

VARY: Final = "vary"
RULES: Final = "rules"
MODEL: Final = "model"
USER: Final = "user"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a turn starts from.

    Attributes:
        prompt: of the turn before, with the seed that its picture has.
        source: the picture that it was made of; None: of none.
        job: the job whose pictures the user sees; empty: there is none.
        pictures: how many they are.
        earlier: the scene before this one; None: this is the first.
    """

    prompt: Prompt
    source: Source | None = None
    job: str = ""
    pictures: int = 0
    earlier: Scene | None = None


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """What becomes of a turn.

    Attributes:
        prompt: to be drawn.
        source: the picture that is varied; None: it is drawn anew.
        notes: what was not understood, or understood in some way that is to be told: a sentence each.
    """

    prompt: Prompt
    source: Source | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def kind(self) -> str:
        """The kind of job."""
        return IMAGINE if self.source is None else VARY
