"""What a spec is on the price list: its effort beside that of the model's default job (docs/prices.md)."""

from __future__ import annotations

from ..engine.info import DefaultJob, ModelInfo
from ..engine.progressive import FACTOR
from ..engine.spec import GenerationSpec
from ..scheduler.prices import Effort, Kind, PriceList, Work
from ..scheduler.tickets import Lane


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
    counts once. Those at half the sides (`--progressive`) count by their area, four as one, rounded up. Guidance,
    further terms of a prompt and the spread of a grid change no table and cost nothing. Of an inquiry two probes, which
    read one text each, count as one evaluation, which reads two.

    Args:
        info: of the model that draws.
        spec: what it draws, every default filled in.
        kind: the line of the price list.
        draft, stealth, times: see `Work`.
        usual: the job that the line's price is for, of which there are no cheaper drafts; None: the model's default.
    """
    default, unit = info.default_job, info.architecture.granularity
    if usual is not None:
        pixels = usual.width * usual.height
        unit = round(unit * (pixels / default.pixels) ** 0.5)  # the doubles of sizes of `--ar`, too
        default = DefaultJob(len(info.evaluations(usual)), 0, pixels)
    effort = Effort(
        evaluations=max(1, -(-info.course(spec).probes // 2)) if spec.inquiry else _counted_evaluations(info, spec),
        default_evaluations=default.evaluations,
        draft_evaluations=default.draft_evaluations,
        pixels=_counted(spec, default.pixels, unit),
        default_pixels=default.pixels,
    )
    return Work(
        kind=kind, images=spec.images, omni=bool(spec.references), draft=draft, stealth=stealth, effort=effort,
        times=times,
    )  # fmt: skip


def cost_ms(
    prices: PriceList, info: ModelInfo, spec: GenerationSpec, lane: Lane = Lane.FAST, *, kind: Kind = Kind.GRID
) -> int:
    """Return the ms of GPU time that a job counts as by the price list, also in Relax, where nothing is charged.

    Raise TicketError for a cost without measure.
    """
    return prices.use(work_of(info, spec, kind=kind), lane)


def _counted_evaluations(info: ModelInfo, spec: GenerationSpec) -> int:
    """Return a spec's evaluations as they count: those of the whole size, and those of half the sides by their area."""
    evaluations = info.evaluations(spec)
    small = sum(e.step < spec.small_steps for e in evaluations)
    return len(evaluations) - small - (-small // FACTOR**2)


def _counted(spec: GenerationSpec, area: int, unit: int) -> int:
    """Return the pixels of a picture as they count: those of the default `area` for the sizes that `--ar` makes of it.

    `--ar` makes both sides multiples of `unit`, each less than one of these off, which is up to a quarter of the area
    where a model's pictures are small.
    """
    pixels = spec.width * spec.height
    low, high = (spec.width - unit) * (spec.height - unit), (spec.width + unit) * (spec.height + unit)
    return area if low < area < high and 5 * area <= 8 * pixels < 11 * area else pixels
