"""State the plain facts of a loaded model, which any process can hold without the model.

`Engine.info` makes them. A studio, whose engines may live in other processes, admits, weighs and describes requests by
them, and holds no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from .defaults import complete
from .evaluations import evaluations_of
from .inquiries import Course, course_of
from .limits import Limits
from .memory import MemoryCoefficients
from .reference_rule import ReferenceRule
from .sigmas import SigmaConfig
from .solvers import Evaluation
from .spec import GenerationSpec
from .styles.choice import StyleInfo
from .taste.space import TasteSpace
from .taught import Taught
from .trained import TrainedSigmas


class ModelIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The identity of a model.

    Attributes:
        name, version: the checkpoint's own name and version.
        digest: content hash of everything that the model draws with.
        components: content hash of each of its components.
    """

    name: str
    version: str
    digest: str
    components: dict[str, str]

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


class BackendInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The backend that computes. Together with the model, it fixes pixels to the bit.

    Attributes:
        name: name of the op table with its instruction set ("cpu/avx2").
        compute: dtype of products ("bfloat16", "float32").
    """

    name: str
    compute: str

    @property
    def itemsize(self) -> int:
        """Bytes of a number of the compute dtype."""
        return 2 if self.compute == "bfloat16" else 4

    def __str__(self) -> str:
        return f"{self.name} {self.compute}"


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a model that requests, text and adapters must fit.

    Attributes:
        granularity: length of a token's side in pixels; the sides of a picture are multiples of it.
        token_channels: C, columns of the latents of a token.
        text_width: columns of a text token.
        pooled_width: length of the pooled text vector.
        embedded_guidance: default input of the guidance embedding; None: the model has none.
        adapter_layers: number of blocks that an adapter's keys and values enter.
        adapter_width: columns of those keys and values.
        sigmas: how the checkpoint spaces its sigmas.
        rescaled_guidance: whether guidance leaves each token's velocity as long as that of the prompt (`rescaling.py`).
        trained: the same of a model that was trained on discrete noise levels; None: `sigmas` holds.
        references: what pictures the model looks at while it draws; None: it looks at none.
        fills: it draws what a mask leaves free of a picture, and nothing without one.
    """

    granularity: int
    token_channels: int
    text_width: int
    pooled_width: int
    embedded_guidance: float | None
    adapter_layers: int
    adapter_width: int
    sigmas: SigmaConfig
    rescaled_guidance: bool = False
    trained: TrainedSigmas | None = None
    references: ReferenceRule | None = None
    fills: bool = False

    @property
    def spacing(self) -> SigmaConfig | TrainedSigmas:
        """What makes the sigmas of a generation."""
        return self.sigmas if self.trained is None else self.trained

    def noise_scale(self, solver: str, evaluations: Sequence[Evaluation]) -> float:
        """Return the factor of the noise that a generation begins with, where that is all."""
        if self.trained is None or not evaluations:
            return 1.0
        return self.trained.of(solver).noise_scale(evaluations[0].sigma)


class DefaultJob(NamedTuple):
    """What a picture of the model's default job takes, which others are compared with.

    Attributes:
        evaluations: of the solver.
        draft_evaluations: of a default draft; 0: the model has no settings for drafts.
        pixels: of the picture.
        guided: whether its evaluations have guidance.
    """

    evaluations: int
    draft_evaluations: int
    pixels: int
    guided: bool


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The facts of an engine by which requests are admitted and weighed without it.

    Attributes:
        identity, backend: with the request, they decide every pixel.
        architecture, memory, limits: `Admission` decides by them.
        text_rows: text rows of a prompt; 0: the model reads no prompts.
        unconditional_rows: text rows of the empty unconditional input.
        defaults: fields of `GenerationSpec` that suit the model.
        draft: the fields that a draft changes; empty: none.
        styles: facts of the model's styles; None: it has none.
        taught: how long a picture the model was taught; None: it does not say.
        family: a module of `engine/families`, such as "flux"; empty: unknown.
        words: slot -> how many words of prompts the model knows there, things under "subject"; empty: it has no list of
            them, and answers no inquiries that take probes.
        taste: the numbers of its style space, by which tastes are learned; None: it has no styles.
    """

    identity: ModelIdentity
    backend: BackendInfo
    architecture: Architecture
    memory: MemoryCoefficients
    limits: Limits
    text_rows: int
    unconditional_rows: int
    defaults: dict[str, Any]
    draft: dict[str, Any] = {}
    styles: StyleInfo | None = None
    taught: Taught | None = None
    family: str = ""
    words: dict[str, int] = {}
    taste: TasteSpace | None = None

    @property
    def max_rows(self) -> int:
        """Rows that any step may have: the engine's limit, or less if its memory bound allows only that."""
        a_sample = self.memory.sample / (self.text_rows + 1)  # a sample has more rows than its text
        a_row = self.memory.row + self.memory.image_row
        return max(1, min(self.limits.max_rows, int(self.limits.max_step_bytes / (a_row + a_sample))))

    def evaluations(self, spec: GenerationSpec) -> tuple[Evaluation, ...]:
        """Return the evaluations of the solver that make the pictures of a spec."""
        return evaluations_of(spec, self.architecture)

    def course(self, spec: GenerationSpec) -> Course:
        """Return how a spec's inquiry is cut up. SpecError: the model has no list of its words."""
        return course_of(spec, self.architecture.granularity, self.text_rows, self.words)

    def steps(self, spec: GenerationSpec) -> int:
        """Return the solver steps that a spec takes; of an inquiry, its pieces."""
        return self.course(spec).pieces if spec.inquiry else spec.steps_taken

    @cached_property
    def default_job(self) -> DefaultJob:
        """What a picture takes for which a request says nothing."""
        plain = self.make_spec("a picture", seed=0)
        drafted = len(self.evaluations(self.make_spec("a picture", draft=True, seed=0))) if self.draft else 0
        return DefaultJob(len(self.evaluations(plain)), drafted, plain.width * plain.height, plain.guided)

    def make_spec(
        self,
        prompt: str,
        *,
        draft: bool = False,
        quality: int = 1,
        aspect: tuple[float, float] | None = None,
        strict: bool = False,
        **fields: Any,
    ) -> GenerationSpec:
        """Return a spec with the model's own defaults for what is not given.

        Args:
            draft: whether to use the model's settings for drafts, unless steps, solver or shift are given.
            quality: 1, 2 or 4; so many times the steps are taken that are given, or that are the model's.
            aspect: (width, height) in any unit; it chooses a size of about the model's default area in this proportion.
            strict: not looked at here: the callers who can read prompts refuse by it (`reading.want_strict`).
            fields: fields of `GenerationSpec`, and those of `styles.choice.style_uses`.

        Raises:
            SpecError: as `GenerationSpec`; also for an unknown field, and for `aspect` together with width or height.
        """
        return complete(
            prompt, fields, defaults=self.defaults, draft=self.draft if draft else None, quality=quality, aspect=aspect,
            granularity=self.architecture.granularity, styles=self.styles, references=self.architecture.references,
        )  # fmt: skip
