"""The price list: what it ships, and that a cost is exact, in proportion, and the same however a job is cut up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.scheduler.errors import TicketError
from salon.scheduler.plans import DEFAULT_FILE, load_plans
from salon.scheduler.prices import MAY_BE_ZERO, Effort, Kind, Price, PriceList, Work
from salon.scheduler.tickets import Lane

BOOK = load_plans()
PRICES = BOOK.prices


def effort(evaluations: int = 20, area: int = 4, **fields: int) -> Effort:
    """Of a model whose default job has 20 evaluations and a draft 4; `area`: in quarters."""
    values = {"default_evaluations": 20, "draft_evaluations": 4, "pixels": 4096 * area, "default_pixels": 128 * 128}
    return Effort(evaluations=evaluations, **(values | fields))


def grid(evaluations: int = 20, area: int = 4, images: int | None = None, **fields: Any) -> Work:
    return Work(kind=Kind.GRID, images=images, effort=effort(evaluations, area), **fields)


def priced(ms: int, images: int) -> PriceList:
    """The shipped list with another price of a grid."""
    text = DEFAULT_FILE.read_text().replace("ms = 60_000, images = 4", f"ms = {ms}, images = {images}", 1)
    return load_plans(text).prices


@pytest.mark.parametrize(
    ("kind", "lane", "options", "ms"),
    [
        ("grid", "fast", {}, 60_000),
        ("variation", "fast", {}, 54_000),
        ("take_one", "turbo", {}, 0),
        ("upscale", "fast", {}, 120_000),
        ("video", "fast", {}, 480_000),
        ("grid", "draft", {}, 30_000),
        ("variation", "draft", {}, 27_000),
        ("grid", "turbo", {}, 120_000),
        ("variation", "turbo", {"omni": True, "quality": 4}, 864_000),
        ("grid", "fast", {"omni": True}, 120_000),
        ("grid", "fast", {"quality": 2}, 120_000),
        ("grid", "fast", {"quality": 4}, 240_000),
        ("grid", "turbo", {"draft": True}, 60_000),
        ("grid", "fast", {"images": 8}, 120_000),
        ("grid", "fast", {"images": 1}, 15_000),
        ("grid", "relax", {"quality": 4}, 0),
    ],
)
@pytest.mark.parametrize("told", [True, False])
def test_the_list_is_for_the_default_job(kind, lane, options, ms, told) -> None:
    """Also where a job says nothing of its effort, as those of before there was one."""
    draft = options.get("draft") or lane == "draft"
    work = Work(kind=kind, effort=effort(4 if draft else 20) if told else None, **options)
    got = PRICES.charge(work, Lane(lane))
    assert got == ms
    assert type(got) is int


@pytest.mark.parametrize(
    ("lane", "evaluations", "area", "images", "ms"),
    [
        ("fast", 0, 4, 4, 0),  # the pictures that it starts from
        ("fast", 1, 4, 4, 3_000),
        ("fast", 200, 4, 4, 600_000),
        ("turbo", 40, 4, 4, 240_000),
        ("fast", 20, 64, 4, 960_000),  # 512 x 512
        ("fast", 20, 1, 1, 3_750),
        ("fast", 39, 4, 1, 29_250),  # 20 steps of Heun's
        ("draft", 4, 4, 1, 7_500),
        ("draft", 1, 4, 4, 30_000),  # never below the list's
        ("draft", 5, 4, 4, 30_000),
        ("draft", 20, 4, 4, 60_000),  # what Fast makes costs what Fast costs
        ("draft", 40, 4, 4, 120_000),
        ("draft", 4, 64, 4, 480_000),
    ],
)
def test_more_costs_more(lane, evaluations, area, images, ms) -> None:
    assert PRICES.charge(grid(evaluations, area, images), Lane(lane)) == ms


def test_a_draft_of_more_than_half_the_default_evaluations() -> None:
    """Half of its own, beyond the list's draft price; and what is no draft of the model's costs as in Fast."""
    works = [Work(kind=Kind.GRID, effort=effort(n, draft_evaluations=30)) for n in (20, 30, 31)]
    assert [PRICES.charge(work, Lane.DRAFT) for work in works] == [30_000, 45_000, 93_000]
    works = [Work(kind=Kind.GRID, effort=effort(n, draft_evaluations=0)) for n in (1, 20)]
    assert [PRICES.charge(work, Lane.DRAFT) for work in works] == [30_000, 60_000]


@pytest.mark.parametrize(
    ("pixels", "quarters"),
    [(1, 1), (6143, 1), (6144, 2), (14_335, 3), (14_336, 4), (18_431, 4), (18_432, 5), (2**18, 64)],
)
def test_an_area_is_rounded_to_quarters_and_never_nothing(pixels, quarters) -> None:
    assert effort(pixels=pixels).area == quarters


def test_relax_counts_as_fast() -> None:
    work = grid(50, 7, 3)
    assert (PRICES.charge(work, Lane.RELAX), PRICES.use(work, Lane.RELAX)) == (0, PRICES.charge(work, Lane.FAST))


def test_a_part_of_a_millisecond_is_charged_as_one() -> None:
    prices = priced(10, 3)
    works = [Work(kind=Kind.GRID, images=n) for n in (1, 2, 3, 300)]
    assert [prices.charge(work, Lane.FAST) for work in works] == [4, 7, 10, 1000]
    assert prices.charge(works[0], Lane.DRAFT) == 2
    assert prices.charge(grid(7, 5, 3), Lane.FAST) == 5  # 4.375, rounded once


@given(st.sampled_from(Kind), st.integers(1, 100), st.sampled_from([1, 2, 4]), st.booleans())
def test_turbo_is_twice_fast_and_draft_half(kind, images, quality, omni) -> None:
    work = Work(kind=kind, images=images, quality=quality, omni=omni)
    assert PRICES.charge(work, Lane.TURBO) == 2 * PRICES.charge(work, Lane.FAST)
    assert 2 * PRICES.charge(work, Lane.DRAFT) == PRICES.charge(work, Lane.FAST)


SIZES = st.integers(1, 2**22)
EFFORTS = st.builds(
    Effort,
    evaluations=st.integers(1, 400),
    default_evaluations=st.integers(10, 200),
    draft_evaluations=st.integers(0, 200),
    pixels=SIZES,
    default_pixels=st.integers(2**12, 2**22),
)


def one_price(price: Price, draft: int) -> PriceList:
    return PriceList(dict.fromkeys(Kind, price), draft, 200, 200, (1, 2, 4))


LISTS = st.builds(
    one_price, st.builds(Price, ms=st.integers(1, 100_000), images=st.integers(1, 8)), st.integers(1, 300)
)
LANES = st.sampled_from(Lane)


@given(LISTS, EFFORTS, st.integers(1, 8), LANES, st.integers(0, 400), SIZES, st.integers(0, 8))
def test_a_cost_never_falls_when_something_grows(prices, effort, images, lane, steps, pixels, more) -> None:
    work = Work(kind=Kind.GRID, images=images, effort=effort)
    before = prices.use(work, lane)
    for grown in (
        replace(work, images=images + more),
        replace(work, effort=replace(effort, evaluations=effort.evaluations + steps)),
        replace(work, effort=replace(effort, pixels=effort.pixels + pixels)),
        replace(work, quality=2),
    ):
        assert prices.use(grown, lane) >= before
    assert before >= 1


@given(LISTS, EFFORTS, st.integers(1, 8), LANES)
def test_a_job_cut_up_costs_the_same_or_more_and_never_less(prices, effort, images, lane) -> None:
    whole = prices.use(Work(kind=Kind.GRID, images=images, effort=effort), lane)
    parts = images * prices.use(Work(kind=Kind.GRID, images=1, effort=effort), lane)
    assert whole <= parts < whole + images
    assert type(whole) is int


@pytest.mark.parametrize("options", [
    {"images": 0}, {"images": 1.0}, {"images": True}, {"images": 10**9}, {"quality": 3}, {"quality": 1.0},
    {"quality": True}, {"kind": "sculpture"}, {"kind": None}, {"effort": (20, 20)},
])  # fmt: skip
def test_impossible_jobs_have_no_price(options) -> None:
    with pytest.raises(TicketError, match="allowed"):
        PRICES.charge(Work(**{"kind": Kind.GRID, **options}), Lane.FAST)


@pytest.mark.parametrize("wrong", [0, -1, 1.0, True, None, 10**13, "20"])
@pytest.mark.parametrize("name", Effort.__slots__)
def test_an_impossible_effort_is_refused_by_name(name, wrong) -> None:
    wrong = -2 if wrong == 0 and name in MAY_BE_ZERO else wrong  # no settings for drafts, or nothing to draw
    with pytest.raises(TicketError, match=f"{name.replace('_', ' ')}: got"):
        effort(**{name: wrong})


def test_a_cost_without_measure() -> None:
    with pytest.raises(TicketError, match="fewer images"):
        priced(999_999_999_999, 1).charge(Work(kind=Kind.GRID, images=2), Lane.FAST)


def test_work_of_before_there_was_an_effort_is_read_and_keeps_its_price() -> None:
    old = {"kind": "grid", "images": 2, "quality": 1, "omni": False, "draft": False, "stealth": True}
    work = msgspec.msgpack.decode(msgspec.msgpack.encode(old), type=Work)
    assert work == Work(kind=Kind.GRID, images=2, stealth=True)
    assert PRICES.charge(work, Lane.FAST) == 30_000
    told = grid(39, 6, 2)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=Work) == told
