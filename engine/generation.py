"""Keep the state of one request on its way from noise to pictures, and its parked form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import complaint
from .admission import Size
from .errors import NumericalError, SpecError, StateError
from .noise import normal
from .progressive import is_due
from .references import rows_of
from .solvers import Evaluation
from .spec import GenerationSpec
from .spread import text_of
from .text.pipeline import TextEncoding
from .tiling import rows_seen
from .windows import Window

if TYPE_CHECKING:
    from .denoiser import KeptReferences
    from .inquiries import Text
    from .probing import Probing
    from .regions import Region
    from .weights.lora import LoraWeights

Float32 = NDArray[np.float32]

PARKED_VERSION: Final = 1
INQUIRE: Final = "inquire"  # the one action of generations that do not draw


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


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One of the samples that every image of a generation has.

    Attributes:
        text: what it reads.
        weight: of its velocity's difference from the origin's; None: it is the origin (`GuidanceTerms`).
        conditional: it has the adapters as they were asked for, not those of the unconditional branch.
    """

    text: TextEncoding
    weight: float | None
    conditional: bool = True


@dataclass(eq=False)
class Generation:
    """An open generation. `Engine.open` and `Engine.resume` make it, and only the engine writes to it.

    Attributes:
        spec: the request.
        number: index of the generation among those of its engine, from 0.
        text: the encoded prompt.
        negative: the unconditional input; None where guidance needs none.
        terms: the encoded texts of `spec.acting_terms`, in their order.
        notes: what the user is to know of the pictures' size.
        own_text: whether the caller gave encoded text, so that the spec alone does not say what it is.
        evaluations: the model calls of the whole generation, in order.
        grid: (height, width) of one image in tokens, as the latents are now.
        channels: C, columns of the latents.
        embedded_guidance: the input of the model's guidance embedding; None for models without one.
        latents: backend array [images * rows, C] float32; after a step, a view into a batch. None when parked or
            closed.
        batch: the `Batch` whose arrays the latents lie in, if any.
        velocity: the velocity of the last evaluation, same shape; None before the first.
        base: latents set aside for the next evaluation (`Evaluation.from_base`), same shape, or None.
        kept: what the next evaluation reads of earlier ones (`Evaluation.past`), each of the same shape.
        region: what holds the generation to its start picture outside of a mask; None: all of it is new.
        windows: the parts in which the model sees an image; (): as a whole.
        probing: of an inquiry how far it is; None: the generation draws.
        loras: the packed LoRAs that act on it, with their weights.
        position: number of evaluations taken; of an inquiry, of pieces.
        state: see `State`.
        error: the reason of a failure, or None.
        noise_scale: factor of the noise, where it is all that the generation begins with.
        references: (height, width) in tokens of each picture that the model looks at.
        reference_tokens: backend array [rows, C] float32, their clean latents one after another; None: there are none.
        whole: the grid that the images will have, while they are small (`progressive`); None: they are not.
        beside: float32 [rows of one image, channels], what a model that fills pictures reads beside each token.
        keeps_references: whether the model keeps keys and values of references, so that they have no rows in a step.
        kept_references: the same references, as such a model meets them.
    """

    spec: GenerationSpec
    number: int
    text: TextEncoding
    negative: TextEncoding | None
    terms: tuple[TextEncoding, ...]
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
    kept: tuple[Any, ...] = ()
    region: Region | None = None
    windows: tuple[Window, ...] = ()
    probing: Probing | None = None
    loras: tuple[tuple[LoraWeights, float], ...] = ()
    position: int = 0
    state: State = State.RUNNING
    error: NumericalError | None = None
    noise_scale: float = 1.0
    references: tuple[tuple[int, int], ...] = ()
    reference_tokens: Any = None
    whole: tuple[int, int] | None = None
    beside: Float32 | None = None
    keeps_references: bool = False
    kept_references: KeptReferences | None = None

    @property
    def branches(self) -> tuple[Branch, ...]:
        """What the samples of an image read at the next evaluation: all, or outside of the guidance interval the prompt
        alone."""
        if self.position < len(self.evaluations) and not self.spec.guides(self.evaluations[self.position].step):
            return self._unguided
        return self.all_branches

    @cached_property
    def all_branches(self) -> tuple[Branch, ...]:
        """The prompt, the unconditional input where there is one, the terms."""
        spec, guided = self.spec, self.negative is not None
        scale = spec.guidance_scale
        found = [Branch(self.text, scale * spec.prompt_weight if guided else None)]
        if self.negative is not None:
            found.append(Branch(self.negative, None, conditional=False))
        acting = zip(self.terms, spec.acting_terms, strict=True)
        return (*found, *(Branch(text, scale * term.weight) for text, term in acting))

    @cached_property
    def _unguided(self) -> tuple[Branch, ...]:
        return (Branch(self.text, None),)

    @cached_property
    def image_texts(self) -> tuple[TextEncoding, ...]:
        """What each image reads of the prompt, see `spread.text_of`."""
        return tuple(text_of(self.text, self.spec, image) for image in range(self.spec.images))

    @property
    def texts_read(self) -> tuple[TextEncoding, ...]:
        """Every text that a sample of the generation reads."""
        return (*self.image_texts, *(branch.text for branch in self.all_branches[1:]))

    @property
    def clauses(self) -> Mapping[str, str]:
        """What was read of the prompt: slot -> words."""
        return self.text.clauses

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out or replaced of the spec's texts, and what the user is to know of the size."""
        negative = () if self.negative is None else self.negative.warnings
        beside = [("negative_prompt", negative)]
        terms = zip(self.spec.acting_terms, self.terms, strict=True)
        beside += [(repr(term.text), text.warnings) for term, text in terms]
        said = (f"{name}: {warning}" for name, warnings in beside for warning in warnings)
        return (*self.text.warnings, *said, *self.notes)

    @property
    def rows(self) -> int:
        """Image rows (tokens) of one image."""
        return self.grid[0] * self.grid[1]

    def noise(self, step: int) -> Float32:
        """Return the noise of all images at one step, float32 [images * rows, C]; 0: what they begin with."""
        seed, images = self.spec.seed, range(self.spec.images)
        return np.concatenate([normal(seed, image, step, self.rows, self.channels) for image in images])

    @property
    def text_rows(self) -> int:
        """Text rows of all samples of the next evaluation."""
        return self.size_of(self.branches).text_rows

    @property
    def image_rows(self) -> int:
        """Image rows of all samples of the next evaluation, those of references too, as many as the model sees."""
        return self.size_of(self.branches).image_rows

    @property
    def largest(self) -> Size:
        """The size of the generation within its largest step."""
        return self.size_of(self.all_branches, self.whole or self.grid)

    def size_of(self, branches: Sequence[Branch], grid: tuple[int, int] | None = None) -> Size:
        """Return the size of the generation within a step whose samples read these. `grid`: None: the next step's."""
        if grid is None:
            grid = self.whole if self.whole is not None and is_due(self) else self.grid
        images, parts = self.spec.images, max(1, len(self.windows))
        seen = sum(window.rows for window in self.windows) or rows_seen(self.spec.tile, grid)
        beside, once, kept = rows_of(self.references), 0, self.kept_references
        if not self.keeps_references:
            seen += beside * parts
        elif kept is None or kept.rows is None:  # they may have to be computed within the step
            once = beside
        texts = sum(len(branch.text.tokens) for branch in branches)
        return Size(images * texts * parts, images * len(branches) * seen + once, images * len(branches) * parts)

    def release(self, state: State) -> None:
        """Release the arrays and enter a state that has none."""
        self.latents = self.velocity = self.base = self.region = self.batch = self.probing = None
        self.reference_tokens = self.beside = self.kept_references = None
        self.loras = self.kept = ()
        self.__dict__.pop("image_texts", None)
        self.state = state

    @property
    def texts(self) -> tuple[Text, ...]:
        """The answer of an inquiry; nothing before it is done."""
        return () if self.probing is None else self.probing.answer or ()

    @property
    def num_samples(self) -> int:
        """Model samples of the next evaluation: one for each image, two with guidance, one more for each term; so many
        for each window."""
        return self.size_of(self.branches).num_samples

    @property
    def step(self) -> int:
        """Solver steps completed; of an inquiry, pieces."""
        if self.spec.inquiry:
            return self.position
        done = self.position == len(self.evaluations)
        return self.spec.steps_taken if done else self.evaluations[self.position].step

    @property
    def progress(self) -> float:
        """Share of the evaluations, or of an inquiry's pieces, that are taken, 0..1."""
        if self.probing is not None:
            return self.position / self.probing.course.pieces
        return self.position / len(self.evaluations) if self.evaluations else 1.0

    def want(self, action: str, *states: State) -> None:
        """Raise StateError unless the generation is in one of `states`.

        The message calls the caller's step `action`. What draws wants a generation that does, and `inquire` one that
        does not.
        """
        if action != "park" and (action == INQUIRE) != bool(self.spec.inquiry):
            got, allowed = ("a generation that draws", "an inquiry")[:: -1 if self.spec.inquiry else 1]
            raise StateError(complaint(action, got, allowed, "open another"))
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
        step: solver steps completed, of `generation.spec.steps_taken`.
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
        numbers: of an inquiry, of all probes so far, as little-endian float64 bytes.
        kept: the generation's `kept`, as `latents`.
    """

    version: int = PARKED_VERSION
    spec: GenerationSpec
    model: str
    adapters: Mapping[str, str]
    position: int
    latents: bytes
    velocity: bytes = b""
    base: bytes = b""
    numbers: bytes = b""
    kept: tuple[bytes, ...] = ()

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
