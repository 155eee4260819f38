"""Pictures that tile: what the model sees, what comes back, and the seam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.generation import ParkedGeneration, State
from salon.engine.spec import AdapterUse
from salon.engine.tiling import Tiles, offset, shifted

from .test_course import drawn, spec


def generation(engine: Engine, **fields: Any) -> Any:
    return engine.open(spec(width=20, height=12, steps=2, **fields))


def test_a_grid_that_is_shifted_round() -> None:
    np.testing.assert_array_equal(shifted((2, 3), (0, 0)), [0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(shifted((2, 3), (0, 1)), [2, 0, 1, 5, 3, 4])
    np.testing.assert_array_equal(shifted((2, 3), (1, 0)), [3, 4, 5, 0, 1, 2])
    np.testing.assert_array_equal(shifted((1, 1), (0, 0)), [0])


def test_offsets_are_of_seed_image_and_evaluation() -> None:
    def at(seed: int, image: int, position: int, grid: tuple[int, int] = (8, 8)) -> tuple[int, int]:
        here: Any = SimpleNamespace(spec=SimpleNamespace(seed=seed), grid=grid, position=position)
        return offset(here, image)

    found = [at(seed, image, position) for seed in range(4) for image in range(4) for position in range(20)]
    assert found == [at(seed, image, position) for seed in range(4) for image in range(4) for position in range(20)]
    assert {y for y, _ in found} == {x for _, x in found} == set(range(8))
    assert len({at(seed, 0, 3, (97, 89)) for seed in range(20)}) > 15
    assert len({at(2**64 - 1, image, 3, (97, 89)) for image in range(20)}) > 15
    assert at(1, 0, 0, (1, 1)) == (0, 0)


def test_what_is_shifted_comes_back_and_the_rest_stays(engine: Engine) -> None:
    ops = engine.ops
    tiled, plain = generation(engine, tile=True, images=2), generation(engine)
    samples = [(tiled, 0), (plain, 0), (tiled, 1)]
    tiles = Tiles.of(ops, samples)
    assert tiles is not None
    assert Tiles.of(ops, [(plain, 0)]) is None
    rows = np.arange(3 * 15 * 2, dtype=np.float32).reshape(-1, 2)
    rows[15:30] = -0.0
    seen, back = tiles.shift(ops.array(rows, "float32"))
    there = ops.numpy(seen)
    np.testing.assert_array_equal(there[15:30].view(np.int32), rows[15:30].view(np.int32))
    for start, image in ((0, 0), (30, 1)):
        part = rows[start : start + 15].reshape(3, 5, 2)
        want = np.roll(part, offset(tiled, image), axis=(0, 1))
        np.testing.assert_array_equal(there[start : start + 15], want.reshape(-1, 2))
    np.testing.assert_array_equal(ops.numpy(tiles.back(seen, back)).view(np.int32), rows.view(np.int32))
    for each in (tiled, plain):
        engine.close(each)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_a_tile_is_the_same_alone_in_company_and_parked(
    engine: Engine, new_engine: Callable[..., Engine], solver: str
) -> None:
    requests = [
        spec(tile=True, images=2, solver=solver, steps=3), spec(steps=3),
        spec(width=20, tile=True, steps=3, guidance_scale=1.0, adapters=(AdapterUse("page"),)),
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


def test_the_autoencoder_does_not_know_where_a_tile_begins(engine: Engine) -> None:
    """The picture of latents that are shifted round is the picture, shifted round: there is no seam in it at all."""
    request = spec(width=20, height=24, tile=True, steps=2)
    generation = engine.open(request)
    while generation.state is State.RUNNING:
        engine.step([generation])
    whole, preview = engine.finish(generation)[0], engine.preview(generation)[0]
    np.testing.assert_array_equal(preview, whole)
    np.testing.assert_array_equal(engine.decode(generation, 0), whole)
    unit = engine.model.architecture.granularity
    latents = engine.ops.numpy(generation.latents)
    for by in ((1, 0), (2, 3)):
        generation.latents = engine.ops.array(latents[shifted(generation.grid, by)], "float32")
        moved = engine.finish(generation)[0].astype(int)
        want = np.roll(whole, (by[0] * unit, by[1] * unit), axis=(0, 1)).astype(int)
        assert np.abs(moved - want).max() <= 1, "but for the order of the group norms' sums"
    generation.spec = replace(request, tile=False)
    assert np.abs(engine.finish(generation)[0].astype(int) - moved).max() > 1
    engine.close(generation)
