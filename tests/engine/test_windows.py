"""Enlarged pictures: the windows in which large ones are drawn, and the projection that holds them to their source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import LimitError, SpecError
from salon.engine.generation import ParkedGeneration, State
from salon.engine.projection import halved, projected
from salon.engine.spec import AdapterUse
from salon.engine.start import PictureForm, PictureUse, Start, forms_of
from salon.engine.views import View, Views
from salon.engine.windows import MOST, Window, cut, places_of, tokens_of, weights_of, windows_of

from .conftest import add_pictures
from .test_start import PICTURE, drawn, spec

ENLARGED = Start(PICTURE, 0.5, enlarge=2)
UNIT, AREA = 4, 256  # of the tiny model
LARGE = 48  # pixels of a side that needs windows there


@pytest.mark.parametrize(
    ("grid", "side"), [((4, 4), 8), ((12, 12), 8), ((9, 8), 8), ((5, 40), 8), ((7, 7), 1), ((3, 5), 2)]
)
def test_windows_cover_a_grid_and_their_weights_sum_to_1(grid: tuple[int, int], side: int) -> None:
    windows = cut(grid, side)
    total = np.zeros(grid[0] * grid[1])
    for window, share in zip(windows, weights_of(grid, windows), strict=True):
        assert max(window.grid) <= side
        assert len(share) == window.rows
        assert share.min() > 0
        total[tokens_of(grid, window)] += share[:, 0]
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-6)
    edges = {(window.top, window.left) for window in windows}
    assert len(edges) == len(windows), "no window twice"


def test_the_edge_of_a_window_lies_within_another() -> None:
    assert cut((8, 20), 8) == (Window(0, 0, 8, 8), Window(0, 6, 8, 8), Window(0, 12, 8, 8))
    for length in range(9, 64):
        windows = cut((8, length), 8)
        assert all(after.left - before.left <= 6 for before, after in zip(windows, windows[1:], strict=False))
        assert windows[-1].left + windows[-1].width == length


def test_cost_grows_with_the_area_alone() -> None:
    rows = [sum(window.rows for window in cut((side, side), 16)) / side**2 for side in (40, 80, 160, 320)]
    assert all(row <= (1 / 0.75) ** 2 + 1.0 for row in rows)
    assert abs(rows[-1] - (16 / 12) ** 2) < 0.1


def test_only_large_enlarged_pictures_have_windows() -> None:
    assert windows_of(spec(width=256, height=256), UNIT, AREA) == ()
    assert windows_of(spec(Start(PICTURE, 0.5), width=256, height=256), UNIT, AREA) == ()
    assert windows_of(spec(ENLARGED, width=32, height=32), UNIT, AREA) == (), "the double of a default picture"
    assert 32 * 32 <= MOST * AREA < LARGE**2
    assert windows_of(spec(ENLARGED, width=LARGE, height=LARGE), UNIT, AREA) == cut((12, 12), 8)


def test_what_is_split_is_joined_again_and_the_rest_stays(engine: Engine) -> None:
    """A velocity that says the same of a token in each of its windows comes out as it is."""
    ops, grid = engine.ops, (5, 9)
    windows = cut(grid, 4)
    views = Views(ops, [(3, 3), grid, (3, 3)], [View(), View(0, windows), View(1)])
    rows = np.random.default_rng(0).standard_normal((9 + 45 + 9, 4)).astype(np.float32)
    rows[:3] = -0.0
    seen = views.split(ops.array(rows, "float32"))
    there = ops.numpy(seen)
    first = there[9 : 9 + windows[0].rows]
    np.testing.assert_array_equal(first, rows[9:54].reshape(5, 9, 4)[:4, :4].reshape(-1, 4))
    joined = ops.numpy(views.join(seen, 4))
    np.testing.assert_allclose(joined, rows, rtol=0, atol=1e-6)
    for part in (slice(0, 9), slice(54, 63)):
        np.testing.assert_array_equal(joined[part].view(np.int32), rows[part].view(np.int32))
    places = places_of(grid, windows)
    assert places.shape[1] == 45
    assert (places[0] >= 0).all()


def same(engine: Engine, new_engine: Callable[..., Engine], requests: list[Any]) -> None:
    """Draw requests alone, and then together, parked and resumed elsewhere on the way: the same bits."""
    alone = [drawn(engine, request) for request in requests]
    other = new_engine()
    for request in requests:
        add_pictures(engine, request)
        add_pictures(other, request)
    generations = [engine.open(request) for request in requests]
    engine.step(generations)
    moved = [other.resume(ParkedGeneration.from_bytes(engine.park(g).to_bytes())) for g in generations]
    while running := [g for g in moved if g.state is State.RUNNING]:
        other.step(running)
    for each, want in zip(moved, alone, strict=True):
        np.testing.assert_array_equal(other.finish(each), want)
        other.close(each)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_windows_are_the_same_alone_in_company_and_parked(
    engine: Engine, new_engine: Callable[..., Engine], solver: str
) -> None:
    large: dict[str, Any] = {"width": LARGE, "height": LARGE, "steps": 4, "solver": solver}
    requests = [
        spec(Start(PICTURE, 0.7, enlarge=2, project=True), **large, images=2),
        spec(steps=3, solver=solver),
        spec(ENLARGED, **large | {"steps": 6, "width": 64}, guidance_scale=1.0, adapters=(AdapterUse("page"),)),
        spec(steps=3, tile=True),
    ]
    assert all(windows_of(request, UNIT, AREA) for request in requests[::2])
    same(engine, new_engine, requests)


def test_windows_count_as_samples_and_rows(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    request = spec(ENLARGED, width=LARGE, height=LARGE, images=2)
    generation = engine.open(add_pictures(engine, request))
    assert len(generation.windows) == 4
    assert generation.num_samples == 2 * 2 * 4
    assert generation.image_rows == 2 * 2 * 4 * 64
    engine.step([generation])
    rows = engine.step_rows([generation])
    engine.close(generation)
    limited = new_engine(max_rows=rows - 1)
    with pytest.raises(LimitError, match=f"step: got {rows:,} rows"):
        limited.open(add_pictures(limited, request))


def test_a_projected_picture_brought_down_again_is_its_source(engine: Engine) -> None:
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (16, 20, 3)).astype(np.uint8)
    for pictures in (
        rng.integers(0, 256, (2, 32, 40, 3)).astype(np.uint8),
        np.full((1, 32, 40, 3), 255, np.uint8),
        source.repeat(2, axis=0).repeat(2, axis=1)[None],
    ):
        made = projected(pictures, source)
        assert (made.shape, str(made.dtype)) == (pictures.shape, "uint8")
        for picture in made:
            assert np.sqrt(((halved(picture) - source) ** 2).mean()) < 4.5  # 35 dB
    np.testing.assert_array_equal(made, pictures)  # what is right already stays
    request = spec(Start(PICTURE, 0.5, enlarge=2, project=True), width=32, height=32)
    (large,) = drawn(engine, request)
    own = engine.start_pictures.source(request)
    assert own.shape == (16, 16, 3)
    assert np.sqrt(((halved(large) - own) ** 2).mean()) < 4.5
    (free,) = drawn(engine, spec(ENLARGED, width=32, height=32))
    assert np.sqrt(((halved(free) - own) ** 2).mean()) > 10


def test_what_an_enlarged_start_needs() -> None:
    request = spec(Start(PICTURE, 0.5, enlarge=2, project=True), width=32, height=24)
    sizes = [(32, 24), (16, 12)]
    assert forms_of(request) == tuple(PictureForm(PICTURE, PictureUse.START, size) for size in sizes)
    for fields, words in (
        ({"enlarge": 3}, "enlarge: got 3, allowed 1 or 2"),
        ({"enlarge": 2, "mask": PICTURE}, "enlarge: got 2, allowed .* 1 with a mask, a place or other"),
        ({"enlarge": 2, "others": ("b" * 64,)}, "enlarge: got 2"),
        ({"project": True}, "project: got True, allowed .* false of a picture that is not enlarged"),
    ):
        with pytest.raises(SpecError, match=words):
            Start(PICTURE, 0.5, **fields)
    with pytest.raises(SpecError, match="enlarge: got 33 x 24 pixels, allowed sides that are multiples of 2"):
        spec(ENLARGED, width=33, height=24)
