"""Pictures that tile: what the model sees, what is kept of it, and the seam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import LimitError
from salon.engine.generation import ParkedGeneration, State
from salon.engine.spec import AdapterUse
from salon.engine.tiling import COMPOSED, MARGIN, framed, grid_seen, margin_of, rows_seen
from salon.engine.views import View, Views

from .test_course import drawn, spec


def test_a_grid_with_a_margin_of_what_lies_at_the_opposite_side() -> None:
    seen, kept = framed((2, 3), 1)
    np.testing.assert_array_equal(
        seen.reshape(4, 5), [[5, 3, 4, 5, 3], [2, 0, 1, 2, 0], [5, 3, 4, 5, 3], [2, 0, 1, 2, 0]]
    )
    np.testing.assert_array_equal(seen[kept], np.arange(6))
    assert [each.dtype for each in (seen, kept)] == [np.dtype(np.int32)] * 2
    for grid in ((1, 1), (2, 3), (5, 1)):
        seen, kept = framed(grid, 0)
        np.testing.assert_array_equal(seen, kept)
        seen, kept = framed(grid, MARGIN)
        assert len(seen) == rows_seen(True, grid) == np.prod(grid_seen(grid, MARGIN))
        np.testing.assert_array_equal(seen[kept], np.arange(rows_seen(False, grid)))


def test_a_margin_is_seen_once_the_picture_is_composed(engine: Engine) -> None:
    generation, plain = engine.open(spec(tile=True, steps=20)), engine.open(spec(steps=20))
    margins = []
    for generation.position in range(21):
        margins.append(margin_of(generation))
    wanted = [MARGIN if evaluation.sigma <= COMPOSED else 0 for evaluation in generation.evaluations]
    assert margins == [*wanted, 0]
    assert 0 < sum(wanted) < 20
    assert margin_of(plain) == 0
    generation.position = 0
    one = engine.open(spec(tile=True, steps=1))
    assert margin_of(one) == MARGIN, "the last evaluation is never without"
    for each in (generation, plain, one):
        engine.close(each)


def test_what_is_framed_is_cropped_again_and_the_rest_stays(engine: Engine) -> None:
    ops = engine.ops
    tiled, plain = (engine.open(spec(width=20, height=12, steps=2, tile=tile)) for tile in (True, False))
    views = Views(ops, [tiled.grid, plain.grid, tiled.grid], [View(1), View(), View(1)])
    rows = np.arange(3 * 15 * 2, dtype=np.float32).reshape(-1, 2)
    rows[15:30] = -0.0
    framed_rows = views.split(ops.array(rows, "float32"))
    there = ops.numpy(framed_rows)
    np.testing.assert_array_equal(there[35:50].view(np.int32), rows[15:30].view(np.int32))
    want = np.pad(rows[30:].reshape(3, 5, 2), ((1, 1), (1, 1), (0, 0)), mode="wrap")
    np.testing.assert_array_equal(there[50:].reshape(5, 7, 2), want)
    np.testing.assert_array_equal(ops.numpy(views.join(framed_rows, 2)).view(np.int32), rows.view(np.int32))
    for each in (tiled, plain):
        engine.close(each)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_a_tile_is_the_same_alone_in_company_and_parked(
    engine: Engine, new_engine: Callable[..., Engine], solver: str
) -> None:
    requests = [
        spec(tile=True, images=2, solver=solver, steps=3), spec(steps=3, solver=solver),
        spec(width=20, tile=True, steps=4, guidance_scale=1.0, adapters=(AdapterUse("page"),)),
    ]  # fmt: skip
    alone = [drawn(engine, request) for request in requests]
    other = new_engine()
    generations = [engine.open(request) for request in requests]
    engine.step(generations)
    moved = [other.resume(ParkedGeneration.from_bytes(engine.park(g).to_bytes())) for g in generations]
    while running := [g for g in moved if g.state is State.RUNNING]:
        other.step(running)
    for each, want in zip(moved, alone, strict=True):
        np.testing.assert_array_equal(other.ops.numpy(each.latents), want[0])
        np.testing.assert_array_equal(other.finish(each), want[1])
        other.close(each)


def test_not_tiled_is_nothing_and_tiled_is_something(engine: Engine) -> None:
    plain = drawn(engine, spec())
    np.testing.assert_array_equal(drawn(engine, spec(tile=False))[1], plain[1])
    tiled = drawn(engine, spec(tile=True))
    assert np.abs(tiled[0] - plain[0]).max() > 1e-3


def test_the_margin_counts_as_rows_of_a_step(new_engine: Callable[..., Engine]) -> None:
    limited = new_engine(max_rows=60)
    limited.close(limited.open(spec(width=16, height=16)))
    with pytest.raises(LimitError, match=r"step: got 90 rows, allowed 60"):
        limited.open(spec(width=16, height=16, tile=True))


def test_the_autoencoder_does_not_know_where_a_tile_begins(engine: Engine) -> None:
    """The picture of latents that are shifted round is the picture, shifted round: there is no seam in it at all."""
    request = spec(width=20, height=24, tile=True, steps=2)
    generation = engine.open(request)
    while generation.state is State.RUNNING:
        engine.step([generation])
    whole, preview = engine.finish(generation)[0], engine.preview(generation)[0]
    np.testing.assert_array_equal(preview, whole)
    np.testing.assert_array_equal(engine.decode(generation, 0), whole)
    unit, grid = engine.model.architecture.granularity, generation.grid
    latents = engine.ops.numpy(generation.latents)
    for by in ((1, 0), (2, 3)):
        order = np.roll(np.arange(len(latents)).reshape(grid), by, axis=(0, 1)).reshape(-1)
        generation.latents = engine.ops.array(latents[order], "float32")
        moved = engine.finish(generation)[0].astype(int)
        want = np.roll(whole, (by[0] * unit, by[1] * unit), axis=(0, 1)).astype(int)
        assert np.abs(moved - want).max() <= 1, "but for the order of the group norms' sums"
    generation.spec = replace(request, tile=False)
    assert np.abs(engine.finish(generation)[0].astype(int) - moved).max() > 1
    engine.close(generation)
