"""What a spec is on the price list: its effort beside that of the model's default job (docs/prices.md)."""

from __future__ import annotations

from typing import Final

from ..engine.info import DefaultJob, ModelInfo
from ..engine.progressive import FACTOR
from ..engine.spec import GenerationSpec
from ..scheduler.prices import Effort, Kind, PriceList, Work
from ..scheduler.tickets import Lane

TEXTS: Final = 2  # that an evaluation with guidance reads: the prompt, and the unconditional input


def work_of(
    info: ModelInfo,
    spec: GenerationSpec,
    *,
    kind: Kind = Kind.GRID,
    draft: bool = False,
    stealth: bool = False,
    usual: GenerationSpec | None = None,
    times: int = 1,
) -> Work:
    """Return what a job is on the price list. What is quoted, set aside and charged all comes from here.

    Evaluations are those of the solver's table: Heun's steps have two of them, and `--q` makes more of them, so that it
    counts once. Those at half the sides (`--progressive`) count by their area, four as one, and those without guidance
    (`--guidance 1`, or outside of `--guidance-interval`) two as one, where the default job has guidance; the sum is
    rounded up. Further terms of a prompt and the spread of a grid change no table and cost nothing. Of an inquiry two
    probes, which read one text each, count as one evaluation, which reads two. References that a model computes once,
    for all steps, count as one evaluation more; others are rows of every step, and have a price of their own.

    Args:
        info: of the model that draws.
        spec: what it draws, every default filled in.
        kind: the line of the price list.
        draft, stealth, times: see `Work`.
        usual: the job that the line's price is for, of which there are no cheaper drafts; None: the model's default.
    """
    default, unit, rule = info.default_job, info.architecture.granularity, info.architecture.references
    once = bool(spec.references) and rule is not None and rule.kept
    if usual is not None:
        pixels = usual.width * usual.height
        unit = round(unit * (pixels / default.pixels) ** 0.5)  # the doubles of sizes of `--ar`, too
        default = DefaultJob(len(info.evaluations(usual)), 0, pixels, usual.guided)
    if spec.inquiry:
        evaluations = max(1, -(-info.course(spec).probes // TEXTS))
    else:
        evaluations = _counted_evaluations(info, spec, default.guided) + once
    effort = Effort(
        evaluations=evaluations,
        default_evaluations=default.evaluations,
        draft_evaluations=default.draft_evaluations,
        pixels=_counted(spec, default.pixels, unit),
        default_pixels=default.pixels,
    )
    return Work(
        kind=kind, images=spec.images, omni=bool(spec.references) and not once, draft=draft, stealth=stealth,
        effort=effort, times=times,
    )  # fmt: skip


def cost_ms(
    prices: PriceList, info: ModelInfo, spec: GenerationSpec, lane: Lane = Lane.FAST, *, kind: Kind = Kind.GRID
) -> int:
    """Return the ms of GPU time that a job counts as by the price list, also in Relax, where nothing is charged.

    Raise TicketError for a cost without measure.
    """
    return prices.use(work_of(info, spec, kind=kind), lane)


def _counted_evaluations(info: ModelInfo, spec: GenerationSpec, guided: bool) -> int:
    """Return a spec's evaluations as they count, rounded up: those at half the sides by their area, and those without
    guidance as half of what they are in the default job, if that has guidance."""
    whole = TEXTS * FACTOR**2
    total = 0
    for each in info.evaluations(spec):
        plain = guided and not (spec.guided and spec.guides(each.step))
        total += whole // ((TEXTS if plain else 1) * (FACTOR**2 if each.step < spec.small_steps else 1))
    return -(-total // whole)


def _counted(spec: GenerationSpec, area: int, unit: int) -> int:
    """Return the pixels of a picture as they count: those of the default `area` for the sizes that `--ar` makes of it.

    `--ar` makes both sides multiples of `unit`, each less than one of these off, which is up to a quarter of the area
    where a model's pictures are small.
    """
    pixels = spec.width * spec.height
    low, high = (spec.width - unit) * (spec.height - unit), (spec.width + unit) * (spec.height + unit)
    return area if low < area < high and 5 * area <= 8 * pixels < 11 * area else pixels
