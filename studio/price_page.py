"""`docs/prices.md`, from the price list and the embedded model: `python -m salon.studio.price_page [--write]`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..engine.engine import Engine
from ..engine.info import ModelInfo
from ..parameters.request import fields_of
from ..scheduler.calendar import spoken
from ..scheduler.plans import PlanBook, load_plans
from ..scheduler.prices import Kind
from ..scheduler.tickets import Lane
from .inquiring import describing, shortening
from .pricing import work_of

PAGE: Final = Path(__file__).parents[1] / "docs" / "prices.md"

HEAD = """# Prices

What a job costs, in GPU time. That is a price and no measurement: a job costs the same on every machine and however
long it takes there, and it is known before the job is made. It is charged once, when the job is done; what fails or is
cancelled costs nothing. Where the plan is `unlimited`, as on one's own machine, nothing is charged at all, and `salon
info` only counts. Plans and prices are data, `scheduler/plans.toml`, and a server takes another file of the same form
(`--plans`). This page is written by `python -m salon.studio.price_page --write`.

## The list

"""

FORMULA = """
The list is for the model's default job: its default steps, solver and size. Other jobs cost in proportion:

    cost of a picture = list price / pictures that it is for
                        x evaluations / evaluations of the default job
                        x area, in default areas rounded to quarters (at least one quarter)

All pictures of a job are summed, and the sum is rounded up, once, to a whole millisecond. So a grid costs at most what
its pictures cost one by one, and there is no way of cutting a job up that makes it cheaper.

- **Evaluations** are those of the solver: one a step, and two a step of `heun`, except its last, which has one; `pndm`
  has one more than it has steps, if these are two or more. A negative prompt or further terms of a prompt are no
  dearer. How different the pictures of a grid are changes no cost either, nor do styles.
- **Guidance**: where the default job has guidance, an evaluation without any reads half as much, and two count as one:
  all of them with `--guidance 1`, with `--guidance-interval` those outside of the interval. Where the default job has
  none, guidance costs nothing.
- **Quality** (`--q`) makes more evaluations, and counts as that, once.
- **Progressive resolution** (`--progressive`): evaluations at half the sides count by their area, four as one.
- **Strength** (`--strength`) takes a share of the steps, and costs that: none at 0, which is the picture itself.
- **Upscaling**: the list price is for the double of a default picture, subtle or creative, at the model's own steps;
  more steps, a larger strength and larger pictures cost in proportion. There are no cheaper drafts of it.
- **Area**: `--ar` keeps the default area as nearly as whole tokens allow, and the sizes that it makes all cost alike.
"""

RULES = """- **Questions** (`salon describe`, `salon shorten`): two probes, which read one text each, count as one
  evaluation, which reads two. Describing a picture takes {probes:,} of them, which is {describing}; shortening a prompt
  of eight words {shortening}.
- **Turbo** costs {turbo}, an omni reference {omni}. A model that computes its
  references once, for all steps, costs one evaluation more with any, and not that.
- **Draft** costs {draft} for what the model's settings for drafts make, and never less than that of a default job of
  as many pictures of that size. A job of this lane with more evaluations than the default draft has costs what it
  costs in Fast, so that the same pictures cost the same. A model without settings for drafts has no cheaper drafts.
- **Relax** charges nothing. What such a job would cost in Fast is counted as the account's Relax use.
- A Turbo job that was served as Fast is charged as Fast. No job is charged more than what was set aside when it was
  accepted, also where the price list changes meanwhile.

## Examples

With the embedded model, whose default job is {pictures} pictures of {width} x {height} in {steps} steps of `{solver}`,
and whose drafts have {drafts} evaluations.

| `salon imagine "a red apple"` | pictures | size | evaluations | cost | ms |
|---|---|---|---|---|---|
"""

TAIL = """
In a program, `client.imagine("a red apple", width=256, height=256)` and the like; the last lines are such.
`Job.charged_ms`, `salon show` and the ledger (`salon ops ledger`) say what a job has cost, `salon info` what is left
and what is set aside for jobs that have not ended.
"""

NAMES: Final = {
    Kind.GRID: "pictures from a prompt (a grid), also made again with another seed, or a draft's enhanced",
    Kind.VARIATION: "variations of a picture, also zoom, pan, region and editor",
    Kind.TAKE_ONE: "one picture taken out of a grid",
    Kind.UPSCALE: "upscaling",
    Kind.VIDEO: "video: a set of clips, also extended",
}


class Example(NamedTuple):
    """A job of the table: what is typed, and the same by the parameters' names."""

    typed: str
    given: Mapping[str, Any]
    lane: Lane = Lane.FAST


EXAMPLES: Final = (
    Example("", {}),
    Example("--n 1", {"images": 1}),
    Example("--n 8", {"images": 8}),
    Example("--ar 3:2", {"aspect": (3, 2)}),
    Example("--ar 1:14", {"aspect": (1, 14)}),
    Example("--steps 10", {"steps": 10}),
    Example("--steps 40", {"steps": 40}),
    Example("--solver heun", {"solver": "heun"}),
    Example("--guidance 1", {"guidance_scale": 1.0}),
    Example("--guidance-interval 0:0.6", {"guidance_interval": (0, 0.6)}),
    Example("--lane turbo", {}, Lane.TURBO),
    Example("--lane relax", {}, Lane.RELAX),
    Example("--lane draft", {}, Lane.DRAFT),
    Example("--lane draft --n 1", {"images": 1}, Lane.DRAFT),
    Example("--lane draft --steps 2", {"steps": 2}, Lane.DRAFT),
    Example("--lane draft --steps 20", {"steps": 20}, Lane.DRAFT),
    Example("", {"width": 64, "height": 64}),
    Example("", {"width": 256, "height": 256}),
    Example("", {"width": 512, "height": 512, "steps": 50, "images": 1}),
)


def page(info: ModelInfo, book: PlanBook) -> str:
    """Return the page."""
    prices = book.prices
    rows = ["| kind | price | for |", "|---|---|---|"]
    for kind, price in prices.prices.items():
        number = "1" if price.images == 1 else str(price.images)
        rows.append(f"| {NAMES[kind]} | {spoken(price.ms) if price.ms else 'nothing'} | {number} |")
    plain = info.make_spec("a red apple", images=prices.prices[Kind.GRID].images)
    asked = describing("0" * 64, (plain.width, plain.height), info), shortening(" ".join(["apple"] * 8), info)
    spoken_costs = [spoken(prices.charge(work_of(info, spec), Lane.FAST)) for spec in asked]
    rules = RULES.format(
        probes=info.course(asked[0]).probes,
        describing=spoken_costs[0],
        shortening=spoken_costs[1],
        turbo=_times(prices.turbo_percent),
        omni=_times(prices.omni_percent),
        draft=_times(prices.draft_percent),
        pictures=plain.images,
        width=plain.width,
        height=plain.height,
        steps=plain.steps,
        solver=plain.solver,
        drafts=info.default_job.draft_evaluations,
    )
    examples = "\n".join(_row(info, book, example) for example in EXAMPLES)
    return HEAD + "\n".join(rows) + "\n" + FORMULA + rules + examples + "\n" + TAIL


def cost_of(info: ModelInfo, book: PlanBook, example: Example) -> tuple[int, int, int, int, int]:
    """Return (pictures, width, height, evaluations, ms that are charged) of an example."""
    given = fields_of(dict(example.given), info.styles is not None and info.styles.has_default)
    spec = info.make_spec("a red apple", draft=example.lane is Lane.DRAFT, **given)
    charge = book.prices.charge(work_of(info, spec), example.lane)
    return spec.images, spec.width, spec.height, len(info.evaluations(spec)), charge


def _row(info: ModelInfo, book: PlanBook, example: Example) -> str:
    images, width, height, evaluations, ms = cost_of(info, book, example)
    typed = f"`{example.typed}`" if example.typed else ""
    return f"| {typed} | {images} | {width} x {height} | {evaluations} | {spoken(ms) if ms else 'nothing'} | {ms:,} |"


def _times(percent: int) -> str:
    return {50: "half", 200: "twice the price"}.get(percent, f"{percent} % of the price")


def main(words: list[str]) -> int:
    """Print the page, or write it with `--write`."""
    text = page(Engine.load(threads=1).info, load_plans())
    if words == ["--write"]:
        PAGE.write_text(text)
        print(f"written: {PAGE}")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
