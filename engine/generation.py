"""Keep the state of one request on its way from noise to pictures, and its parked form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from ..errors import complaint
from .errors import NumericalError, SpecError, StateError
from .solvers import Evaluation
from .spec import GenerationSpec
from .text.pipeline import TextEncoding

PARKED_VERSION: Final = 1


class State(StrEnum):
    """The states of a generation.

    RUNNING -> DONE (all evaluations taken) or FAILED (its numbers became NaN or infinite); RUNNING or DONE -> PARKED;
    any -> CLOSED. `step` needs RUNNING, `finish` DONE, `preview` RUNNING after a step or DONE, `park` RUNNING or DONE.
    """

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    PARKED = "parked"
    CLOSED = "closed"


@dataclass(eq=False)
class Generation:
    """An open generation. `Engine.open` and `Engine.resume` make it, and only the engine writes to it.

    Attributes:
        spec: the request.
        number: index of the generation among those of its engine, from 0.
        text: the encoded prompt, with the text pipeline's warnings in `text.warnings`.
        negative: the unconditional input; None without guidance.
        notes: what the user is to know of the pictures' size.
        own_text: whether the caller gave encoded text, so that the spec alone does not say what it is.
        evaluations: the model calls of the whole generation, in order.
        grid: (height, width) of one image in tokens.
        channels: C, columns of the latents.
        embedded_guidance: the input of the model's guidance embedding; None for models without one.
        latents: backend array [images * rows, C] float32; after a step, a view into a batch. None when parked or
            closed.
        batch: the `Batch` whose arrays the latents lie in, if any.
        velocity: the velocity of the last evaluation, same shape; None before the first.
        base: latents set aside for the next evaluation (`Evaluation.from_base`), same shape, or None.
        position: number of evaluations taken.
        state: see `State`.
        error: the reason of a failure, or None.
    """

    spec: GenerationSpec
    number: int
    text: TextEncoding
    negative: TextEncoding | None
    own_text: bool
    evaluations: tuple[Evaluation, ...]
    grid: tuple[int, int]
    channels: int
    embedded_guidance: float | None
    latents: Any
    notes: tuple[str, ...] = ()
    batch: Any = None
    velocity: Any = None
    base: Any = None
    position: int = 0
    state: State = State.RUNNING
    error: NumericalError | None = None

    @property
    def rows(self) -> int:
        """Image rows (tokens) of one image."""
        return self.grid[0] * self.grid[1]

    @property
    def text_rows(self) -> int:
        """Text rows of all samples."""
        unconditional = len(self.negative.tokens) if self.negative is not None else 0
        return self.spec.images * (len(self.text.tokens) + unconditional)

    @property
    def image_rows(self) -> int:
        """Image rows of all samples."""
        return self.num_samples * self.rows

    @property
    def clauses(self) -> Mapping[str, str]:
        """Slot -> the words of the prompt that the model reads there."""
        return self.text.clauses

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of its texts was left out or replaced, and what is to be said of its size, one sentence each, for the
        user to see."""
        negative = () if self.negative is None else self.negative.warnings
        return (*self.text.warnings, *negative, *self.notes)

    def release(self, state: State) -> None:
        """Release the arrays and enter a state that has none."""
        self.latents = self.velocity = self.base = self.batch = None
        self.state = state

    @property
    def num_samples(self) -> int:
        """Model samples of one step: one for each image, two with guidance."""
        return self.spec.images * (2 if self.negative is not None else 1)

    @property
    def step(self) -> int:
        """Solver steps completed."""
        return self.spec.steps if self.position == len(self.evaluations) else self.evaluations[self.position].step

    @property
    def progress(self) -> float:
        """Share of the evaluations that are taken, 0..1."""
        return self.position / len(self.evaluations)

    def want(self, action: str, *states: State) -> None:
        """Raise StateError unless the generation is in one of `states`.

        The message calls the caller's step `action`.
        """
        if self.state not in states:
            hint = {
                State.RUNNING: f"it has {len(self.evaluations) - self.position} evaluations to go: step it first",
                State.DONE: "finish it, or open a new one",
                State.FAILED: f"close it ({self.error})",
                State.PARKED: "resume it from its parked form",
                State.CLOSED: "open a new one",
            }[self.state]
            wanted = " or ".join(states)
            raise StateError(f"{action}: got generation {self.number}, which is {self.state}, allowed {wanted}; {hint}")


@dataclass(frozen=True)
class StepReport:
    """The result of one step for one generation.

    Attributes:
        generation: the generation.
        position: number of evaluations taken.
        num_evaluations: number of evaluations in all.
        step: solver steps completed, of `generation.spec.steps`.
        state: RUNNING, DONE or FAILED.
        error: the reason of a failure, or None.
    """

    generation: Generation
    position: int
    num_evaluations: int
    step: int
    state: State
    error: NumericalError | None

    @property
    def done(self) -> bool:
        """Whether the pictures are ready for `Engine.finish`."""
        return self.state is State.DONE


class ParkedGeneration(msgspec.Struct, frozen=True, kw_only=True):
    """A generation as plain data, with which another process can go on bit for bit on the same model and backend.

    Attributes:
        version: version of this layout.
        spec: the request.
        model: content hash of the checkpoint.
        adapters: id -> content hash of every adapter that the generation uses with a weight other than 0.
        position: number of evaluations taken.
        latents, velocity, base: little-endian float32 bytes of [images * rows, C]; empty if the array does not exist.
    """

    version: int = PARKED_VERSION
    spec: GenerationSpec
    model: str
    adapters: Mapping[str, str]
    position: int
    latents: bytes
    velocity: bytes = b""
    base: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the generation as msgpack."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> ParkedGeneration:
        """Read the bytes of `to_bytes`.

        Raises:
            StateError: the bytes are anything else, their spec is out of range, or they are of another version.
        """
        try:
            version = msgspec.msgpack.decode(data, type=_Version).version
            if version == PARKED_VERSION:
                return msgspec.msgpack.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, SpecError) as error:
            raise StateError(f"parked generation: got bytes that cannot be read ({error}); open it anew") from error
        remedy = "resume it with the Salon that parked it"
        raise StateError(complaint("parked generation", f"version {version}", str(PARKED_VERSION), remedy))


class _Version(msgspec.Struct):
    version: int
