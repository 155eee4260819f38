"""From a request to the scheduler's numbers, and what is refused before it becomes a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from ..engine.admission import Admission
from ..engine.defaults import complete
from ..engine.engine import Engine
from ..engine.errors import SpecError
from ..engine.generation import Generation
from ..engine.limits import Limits
from ..engine.models.flux import FluxConfig
from ..engine.models.vae import AutoencoderConfig
from ..engine.solvers import SigmaConfig, evaluations
from ..engine.spec import GenerationSpec
from ..errors import complaint
from ..scheduler.tickets import Lane, StepShape, Ticket
from .errors import StudioError


@dataclass(frozen=True)
class _Step:
    """What `Admission.check_step` looks at in a generation."""

    text_rows: int
    image_rows: int
    num_samples: int


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be known of an engine to admit and weigh requests without it: plain data, from any process.

    Attributes:
        model: content hash of the checkpoint.
        backend: name, instruction set and dtype: with the model, what fixes pixels to the bit.
        granularity: pixels a token spans.
        text_rows, unconditional_rows: of a prompt, and of the empty unconditional input.
        itemsize: bytes of the compute dtype.
        defaults: fields of `GenerationSpec` that suit the model.
        draft: those that a draft has otherwise.
        name, version: of the model, as it calls itself.
        components: content hash of each of its components.
        ops, compute: name of the backend's op table, and its compute dtype.
    """

    model: str
    backend: str
    granularity: int
    text_rows: int
    unconditional_rows: int
    itemsize: int
    flux: FluxConfig
    autoencoder_config: AutoencoderConfig
    sigmas: SigmaConfig
    limits: Limits
    defaults: dict[str, Any]
    draft: dict[str, Any] = {}
    name: str = ""
    version: str = ""
    components: dict[str, str] = {}
    ops: str = ""
    compute: str = ""

    @classmethod
    def of(cls, engine: Engine) -> Profile:
        """Of a loaded engine. StudioError for a model without a text pipeline: jobs are made of prompts."""
        model = engine.model
        if model.text is None:
            remedy = "use a checkpoint with salon.json"
            raise StudioError(complaint("model", "one without a text pipeline", "one that reads prompts", remedy))
        return cls(
            model=model.digest,
            backend=f"{engine.ops.name} {engine.ops.compute}",
            granularity=model.granularity,
            text_rows=model.text.num_rows,
            unconditional_rows=len(model.unconditional.tokens),
            itemsize=engine.admission.itemsize,
            flux=model.flux,
            autoencoder_config=model.autoencoder_config,
            sigmas=model.sigmas,
            limits=engine.limits,
            defaults=dict(model.defaults),
            draft=dict(model.draft),
            name=model.name,
            version=model.version,
            components={name: part.content_hash for name, part in sorted(model.components.items())},
            ops=engine.ops.name,
            compute=engine.ops.compute,
        )

    @property
    def max_rows(self) -> int:
        """Rows that any step may have: the engine's limit, and what surely fits its memory bound."""
        wide = _Step(0, 1024, 0)
        a_row = Admission.step_bytes(self._admission(), [cast(Generation, wide)]) / 1024
        a_sample = self.flux.num_modulations * 4 / (self.text_rows + 1)  # a sample has more rows than its text
        return max(1, min(self.limits.max_rows, int(self.limits.max_step_bytes / (a_row + a_sample))))

    def make_spec(
        self,
        prompt: str,
        *,
        lane: Lane | None = None,
        aspect: tuple[float, float] | None = None,
        **fields: Any,
    ) -> GenerationSpec:
        """`Engine.make_spec`: a spec with the model's own defaults for what is not given; in the Draft lane with its
        settings for drafts, unless steps, solver or shift are given. SpecError as there."""
        draft = self.draft if lane is Lane.DRAFT else None
        return complete(
            prompt, fields, defaults=self.defaults, draft=draft, aspect=aspect, granularity=self.granularity
        )

    def ticket(
        self,
        spec: GenerationSpec,
        *,
        job: str,
        account: str,
        lane: Lane,
        max_running: int,
        adapters: Mapping[str, int],
    ) -> Ticket:
        """The scheduler's view of a request.

        Args:
            adapters: id -> tokens, of those that are registered.

        Raises:
            SpecError, LimitError: as `Engine.open` would.
            TicketError, UnknownLane: of `Ticket`.
        """
        admission = self._admission()
        admission.check_spec(spec, 0)
        tokens = [0, 0]  # a conditional and an unconditional image row meets so many adapter tokens
        for use in spec.adapters:
            for branch, name in enumerate((use.adapter, use.unconditional)):
                if name is not None:
                    count = known(adapters, name)
                    tokens[branch] += count if use.weight else 0
        rows = (spec.height // self.granularity) * (spec.width // self.granularity)
        texts = [self.text_rows]
        if spec.guided:
            texts.append(self.text_rows if spec.negative_prompt else self.unconditional_rows)
        samples, image_rows = spec.images * len(texts), spec.images * len(texts) * rows
        step = _Step(spec.images * sum(texts), image_rows, samples)
        admission.check_step([cast(Generation, step)])
        return Ticket(
            job=job,
            account=account,
            lane=lane,
            shape=StepShape(
                rows=step.text_rows + image_rows,
                squares=spec.images * sum((text + rows) ** 2 for text in texts),
                adapter_rows=spec.images * rows * sum(tokens[: len(texts)]),
            ),
            steps=len(evaluations(spec.solver, self.sigmas, spec.steps, rows, spec.shift)),
            images=spec.images,
            pixels=spec.width * spec.height,
            text_rows=sum(texts),
            max_running=max_running,
        )

    def _admission(self) -> Admission:
        """The engine's own arithmetic; of a model it looks at what a profile has, under the same names."""
        return Admission(cast(Any, self), self.limits, self.itemsize)


def known(adapters: Mapping[str, int], name: str) -> int:
    """Tokens of a registered adapter. SpecError for another."""
    if name not in adapters:
        allowed = f"one of the {len(adapters)} registered" if adapters else "none (nothing is registered)"
        raise SpecError(complaint("adapter", repr(name), allowed, "register it first"))
    return adapters[name]
