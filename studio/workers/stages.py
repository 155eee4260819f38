"""Carry out each kind of stage: one handler a kind, by name.

A stage is named by the ticket (`scheduler.tickets.StageWork.kind`), priced by its name and carried out by the handler
of that name. To add a kind is to add a handler. Encoding has none: it is the opening of the job itself. Every inquiry
(`engine/inquiries`) is a stage of its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...engine import inquiries
from ...engine.engine import Engine
from ...engine.generation import Generation, StepReport
from ...engine.inquiries import Text
from ...errors import complaint
from ...scheduler.tickets import Stage
from ..errors import StudioError


@dataclass(frozen=True)
class Outputs:
    """The results of a stage.

    Attributes:
        reports: of a step, one a generation.
        pictures: of other stages, what each generation got of this piece: uint8 [height, width, 3].
        texts: of an inquiry, what each generation answered: nothing before its last piece.
    """

    reports: Sequence[StepReport] = ()
    pictures: Sequence[Any] = ()
    texts: Sequence[tuple[Text, ...]] = ()


class StageHandler(Protocol):
    """Does one piece of a stage.

    If it raises, the plan fails; an error of `engine.errors` leaves the jobs as they were.
    """

    def __call__(self, engine: Engine, held: Sequence[Generation], piece: int) -> Outputs:
        """Work on the generations of a plan: several for a step, else one.

        `piece` is the index of the stage's piece, from 0.
        """


def step(engine: Engine, held: Sequence[Generation], piece: int) -> Outputs:
    """Take one evaluation of all of them together."""
    return Outputs(reports=engine.step(held))


def decode(engine: Engine, held: Sequence[Generation], piece: int) -> Outputs:
    """Decode one image."""
    return Outputs(pictures=[engine.decode(generation, piece) for generation in held])


def inquire(engine: Engine, held: Sequence[Generation], piece: int) -> Outputs:
    """Take the next piece of each one's inquiry."""
    for generation in held:
        engine.inquire(generation)
    return Outputs(texts=[generation.texts for generation in held])


HANDLERS: dict[str, StageHandler] = {
    Stage.STEP: step,
    Stage.DECODE: decode,
    **dict.fromkeys(inquiries.names(), inquire),
}


def handler_of(kind: str) -> StageHandler:
    """Return the handler of a kind of stage. Raise StudioError if this worker has none."""
    if kind not in HANDLERS:
        known = ", ".join(sorted({Stage.ENCODE, *HANDLERS}))
        raise StudioError(complaint("stage", repr(str(kind)), known, "use a worker that has a handler for it"))
    return HANDLERS[kind]
