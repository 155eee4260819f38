"""What a spec costs: the default job the list price, everything else in proportion, and the page of prices says so."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.bounds import MAX_ASPECT
from salon.engine.engine import Engine
from salon.engine.info import ModelInfo
from salon.engine.spec import size_for_aspect
from salon.frontends.arguments import parse
from salon.parameters.job_request import JobRequest, Source
from salon.scheduler.plans import load_plans
from salon.scheduler.prices import Kind
from salon.scheduler.tickets import Lane
from salon.studio import price_page
from salon.studio.kinds import Asked, Input, kind_of
from salon.studio.pricing import cost_ms, work_of
from salon.studio.prompt.resolve import Facts, resolve

PRICES = load_plans().prices
MINUTE = 60_000


@pytest.fixture(scope="module")
def mini() -> ModelInfo:
    """The embedded model, whose default job is 20 steps of Euler's at 128 x 128, and whose drafts have 4."""
    return Engine.load(threads=1).info


def cost(info: ModelInfo, lane: Lane = Lane.FAST, **fields: Any) -> int:
    spec = info.make_spec("cat", draft=lane is Lane.DRAFT, **({"images": 4, "seed": 0} | fields))
    return cost_ms(PRICES, info, spec, lane)


def test_the_default_job_costs_the_list_price(mini: ModelInfo) -> None:
    spec = mini.make_spec("cat", images=4)
    for kind, price in PRICES.prices.items():
        work = work_of(mini, mini.make_spec("cat", images=price.images), kind=kind)
        assert PRICES.charge(work, Lane.FAST) == price.ms
    for lane, ms in ((Lane.TURBO, 2 * MINUTE), (Lane.FAST, MINUTE), (Lane.RELAX, MINUTE)):
        assert cost_ms(PRICES, mini, spec, lane) == ms
    assert cost(mini, Lane.DRAFT) == MINUTE // 2


def upscaled(info: ModelInfo, width: int = 128, height: int = 128, lane: Lane = Lane.FAST, **said: Any) -> int:
    """What the upscale of a picture of the embedded model costs."""
    parent = info.make_spec("cat", width=width, height=height, seed=0)
    source = Source(job="a", index=0)
    request = JobRequest(key="k", prompt="", kind="upscale", sources=(source,), parameters=said)
    picture = Input(source=source, digest="ab" * 32, width=width, height=height, spec=parent)
    asked, kind = Asked(request=request, lane=lane, inputs=(picture,)), kind_of(request)
    made = kind.spec(asked, info)
    return PRICES.charge(kind.work(asked, made, info), lane)


def test_an_upscale_costs_the_list_price_of_one(mini: ModelInfo) -> None:
    assert upscaled(mini) == upscaled(mini, creative=True) == upscaled(mini, 160, 112) == 2 * MINUTE
    assert upscaled(mini, images=2) == upscaled(mini, steps=40) == upscaled(mini, image_strength=0.6) == 4 * MINUTE
    assert upscaled(mini, 256, 256) == 8 * MINUTE
    assert upscaled(mini, lane=Lane.DRAFT) == upscaled(mini)
    assert upscaled(mini, lane=Lane.TURBO) == 4 * MINUTE


def test_price_by_steps_size_and_number(mini: ModelInfo) -> None:
    """15 s whatever the steps and the size, it was once."""
    assert [cost(mini, images=1, steps=steps) for steps in (1, 20, 200)] == [750, 15_000, 150_000]
    assert cost(mini, images=1, width=512, height=512) == 16 * 15_000
    assert cost(mini, solver="heun") == 39 * 3_000  # the last of 20 steps has one evaluation
    assert cost(mini, guidance_scale=9, negative_prompt="a dog") == MINUTE
    assert cost(mini, shift=3.0) == MINUTE


def test_evaluations_without_guidance_count_half_where_the_default_has_it(mini: ModelInfo) -> None:
    assert cost(mini, guidance_scale=1) == MINUTE // 2
    assert cost(mini, guidance_interval=(0, 0.6)) == cost(mini, guidance_interval=(0.4, 1)) == MINUTE * 16 // 20
    assert cost(mini, guidance_scale=1, steps=3) == 2 * 3_000, "one and a half, rounded up"
    assert cost(mini, guidance_scale=1, progressive=50.0) == 7 * 3_000, "ten at an eighth, ten at a half"
    plain = msgspec.structs.replace(mini, defaults=mini.defaults | {"guidance_scale": 1.0})
    assert cost(plain) == cost(plain, guidance_scale=4) == MINUTE


def test_drafts_price_only_for_what_drafts_settings_make(mini: ModelInfo) -> None:
    fast = {steps: cost(mini, steps=steps) for steps in (20, 40)}
    assert {steps: cost(mini, Lane.DRAFT, steps=steps) for steps in fast} == fast
    assert cost(mini, Lane.DRAFT, steps=1) == cost(mini, Lane.DRAFT) == MINUTE // 2
    assert cost(mini, Lane.DRAFT, images=1, width=256, height=256) == MINUTE // 2


@pytest.mark.parametrize(("side", "unit"), [(128, 16), (256, 16), (1024, 16), (512, 32)])
def test_all_aspects_cost_alike(mini: ModelInfo, side: int, unit: int) -> None:
    info = resized(mini, side, unit)
    ratios = [(w, h) for w in range(1, 33) for h in range(1, 33) if math.gcd(w, h) == 1]
    for ratio in [(w, h) for w, h in ratios if max(w, h) <= MAX_ASPECT * min(w, h)]:
        assert cost(info, aspect=ratio) == MINUTE, ratio


def test_what_no_aspect_makes_costs_by_its_area(mini: ModelInfo) -> None:
    sizes = {(144, 144): 5, (112, 112): 3, (16, 480): 2, (480, 16): 2, (16, 2048): 8, (64, 64): 1, (16, 16): 1}
    for (width, height), quarters in sizes.items():
        assert cost(mini, width=width, height=height) == quarters * MINUTE // 4, (width, height)


def resized(info: ModelInfo, side: int, unit: int) -> ModelInfo:
    """The same model with another default size."""
    architecture = msgspec.structs.replace(info.architecture, granularity=unit)
    return msgspec.structs.replace(
        info, architecture=architecture, defaults=info.defaults | {"width": side, "height": side}
    )


TOKENS = st.integers(1, 40)


@settings(deadline=None)
@given(
    steps=st.integers(1, 200),
    width=TOKENS,
    height=TOKENS,
    images=st.integers(1, 8),
    solver=st.sampled_from(["euler", "heun"]),
    lane=st.sampled_from(Lane),
    more=st.tuples(st.integers(0, 30), st.integers(0, 8), st.integers(0, 8), st.integers(0, 4)),
)
def test_a_cost_never_falls_when_a_job_grows(
    mini: ModelInfo, steps: int, width: int, height: int, images: int, solver: str, lane: Lane, more: tuple[int, ...]
) -> None:
    def of(steps: int, width: int, height: int, images: int, solver: str = solver) -> int:
        fields = {"steps": steps, "width": 16 * width, "height": 16 * height, "images": images}
        return cost(mini, lane, solver=solver, **fields)

    now = of(steps, width, height, images)
    assert type(now) is int
    assert of(steps + more[0], width + more[1], height + more[2], images + more[3]) >= now > 0
    assert of(steps, height, width, images) == now
    assert of(steps, width, height, images, "euler") <= now
    assert now <= images * of(steps, width, height, 1) < now + images


@given(st.floats(1 / MAX_ASPECT, MAX_ASPECT))
def test_any_aspect_costs_what_a_square_does(mini: ModelInfo, ratio: float) -> None:
    width, height = size_for_aspect(ratio, 1, pixels=128 * 128, granularity=16)
    assert cost(mini, width=width, height=height) == MINUTE


def test_a_model_without_settings_for_drafts(mini: ModelInfo) -> None:
    plain = msgspec.structs.replace(mini, draft={})
    assert cost(plain, Lane.DRAFT) == cost(plain) == MINUTE


# ---- the page ----------------------------------------------------------------------------------------------------


def test_the_page_of_prices_is_current(mini: ModelInfo) -> None:
    kept = Path(__file__).parents[2] / "docs" / "prices.md"  # an installed Salon has no pages
    assert kept.read_text() == price_page.page(mini, load_plans()), "write it again"


@pytest.mark.parametrize("example", [example for example in price_page.EXAMPLES if example.typed], ids=str)
def test_what_is_typed_on_the_page_is_what_is_priced(example: price_page.Example) -> None:
    options = parse(["imagine", "a red apple", *shlex.split(example.typed)], "0")
    request = resolve(options.prompts[0], Facts(default_style=True))
    assert {name: value for name, value in request.fields.items() if name != "stylize"} == {"images": 4} | dict(
        example.given
    )
    assert request.lane == example.lane


def test_kinds_have_names_on_the_page() -> None:
    assert price_page.NAMES.keys() == set(Kind)
