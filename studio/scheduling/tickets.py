"""Turn a request into the scheduler's numbers, or refuse it before it becomes a job."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from ...engine.admission import Admission, Size
from ...engine.errors import SpecError
from ...engine.info import ModelInfo
from ...engine.progressive import half
from ...engine.references import reference_grids, rows_of, text_rows_of
from ...engine.spec import GenerationSpec
from ...engine.spread import adapters_of
from ...engine.start import PictureUse, forms_of
from ...engine.styles.names import is_known
from ...engine.tiling import rows_seen
from ...engine.windows import windows_of
from ...errors import complaint
from ...scheduler.tickets import Lane, Stage, StageWork, StepShape, Ticket, drawing

PATCH: Final = 14  # pixels along the side of a token of CLIP's image encoders


def ticket_of(
    info: ModelInfo,
    spec: GenerationSpec,
    *,
    job: str,
    account: str,
    lane: Lane,
    max_running: int,
    adapters: Mapping[str, int],
    further: Sequence[StageWork] = (),
) -> Ticket:
    """Return the scheduler's view of a request.

    Args:
        info: of the engines that will take it.
        adapters: id -> tokens, of those that are registered.
        further: stages that follow those of drawing, or of an inquiry.

    Raises:
        SpecError, LimitError: as `Engine.open` would.
        TicketError, UnknownLane: as `Ticket`.
    """
    admission = Admission(info.architecture, info.memory, info.limits)
    admission.check_spec(spec, 0)
    tokens = [0, 0]  # a conditional and an unconditional image row meets so many adapter tokens
    for use in adapters_of(spec, 0, info.styles is not None and info.styles.numbered):  # every image has as many
        for branch, name in enumerate((use.adapter, use.unconditional)):
            if name is not None:
                count = known(adapters, name, info)
                tokens[branch] += count if use.weight else 0
    unit = info.architecture.granularity
    windows = windows_of(spec, unit, info.defaults["width"] * info.defaults["height"])
    grid = spec.height // unit, spec.width // unit
    parts = [window.rows for window in windows] or [rows_seen(spec.tile, grid)]
    rule, looked = info.architecture.references, rows_of(reference_grids(spec, unit))
    kept, beside = (looked, 0) if rule is not None and rule.kept else (0, looked)
    parts = [part + beside for part in parts]
    rows = sum(parts)
    texts = [info.text_rows]
    if spec.guided:
        texts.append(info.text_rows if spec.negative_prompt else info.unconditional_rows)
    terms = len(spec.acting_terms)
    texts += [info.text_rows] * terms
    shown = text_rows_of(spec.references, info.architecture.references)
    texts = [each + shown for each in texts]
    samples, image_rows = spec.images * len(texts) * len(parts), spec.images * len(texts) * rows
    step = Size(spec.images * sum(texts) * len(parts), image_rows + kept, samples)
    admission.check_step([step])
    if spec.inquiry:
        asked = inquiring(info, spec, text_rows=sum(texts), rows=rows)
        return Ticket(job=job, account=account, lane=lane, stages=(*asked, *further), max_running=max_running)
    met = (1 + terms) * tokens[0] + (tokens[1] if spec.guided else 0)
    small = [math.prod(half(grid)) + beside]

    def shape(step: int) -> StepShape:
        seen = small if step < spec.small_steps else parts
        return _shape(spec.images, *((texts, seen, met) if spec.guides(step) else (texts[:1], seen, tokens[0])), kept)

    evaluations = info.evaluations(spec)
    shapes = [shape(each.step) for each in evaluations] or [_shape(spec.images, texts, parts, met, kept)]
    changes = [i for i, (before, after) in enumerate(pairwise(shapes), 1) if before != after]
    drawn = drawing(
        shapes[0],
        steps=len(evaluations),
        later=tuple((i, shapes[i]) for i in changes),
        images=spec.images,
        pixels=spec.width * spec.height,
        text_rows=sum(texts) + kept + looking(info, spec),
    )
    return Ticket(job=job, account=account, lane=lane, stages=(*drawn, *further), max_running=max_running)


def _shape(images: int, texts: Sequence[int], parts: Sequence[int], met: int, kept: int) -> StepShape:
    """Return the weight of a step.

    Args:
        texts: text rows of each branch of an image.
        parts: image rows of each part in which the model sees an image.
        met: adapter tokens that an image row meets, in all branches together.
        kept: tokens of references whose keys and values are kept, which all rows of a sample meet.
    """
    return StepShape(
        rows=images * (sum(texts) * len(parts) + len(texts) * sum(parts)),
        squares=images * sum((text + part) * (text + part + kept) for text in texts for part in parts),
        adapter_rows=images * sum(parts) * met,
    )


def looking(info: ModelInfo, spec: GenerationSpec) -> int:
    """Return the tokens of the pictures that opening a spec encodes, by the autoencoder or by an image encoder."""
    found, unit = 0, info.architecture.granularity
    for form in forms_of(spec):
        if form.use in (PictureUse.START, PictureUse.REFERENCE) and form.size is not None:
            found += form.size[0] * form.size[1] // unit**2
        elif form.use is PictureUse.STYLE:
            side = 0 if info.styles is None else info.styles.side
            own = info.defaults["width"] * info.defaults["height"] // unit**2
            found += (side // PATCH) ** 2 if side else own
    return found


def inquiring(info: ModelInfo, spec: GenerationSpec, *, text_rows: int, rows: int) -> tuple[StageWork, ...]:
    """Return the stages of a spec's inquiry: nothing is drawn, and nothing decoded.

    Args:
        text_rows: rows that encoding has to make.
        rows: image rows of a sample.

    Raises:
        SpecError: the model has no list of its words.
    """
    course = info.course(spec)
    piece = course.piece * (rows + info.text_rows)
    return StageWork(Stage.ENCODE, 1, text_rows), StageWork(spec.inquiry, course.pieces, piece)


def known(adapters: Mapping[str, int], name: str, info: ModelInfo) -> int:
    """Return the tokens of an adapter that is registered, or a style of the model. Raise SpecError for any other."""
    if info.styles is not None and is_known(name, numbered=info.styles.numbered):
        return info.styles.tokens
    if name not in adapters:
        allowed = f"one of the {len(adapters)} registered" if adapters else "none (nothing is registered)"
        raise SpecError(complaint("adapter", repr(name), allowed, "register it first"))
    return adapters[name]
