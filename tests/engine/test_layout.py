"""A batch is laid out once: what its steps hand to the op table was bound before, or comes in one call."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.limits import Limits
from salon.engine.loading import load_model
from salon.engine.spec import AdapterUse, GenerationSpec
from salon.kernels import backends
from salon.kernels.ops import AdapterTerms
from salon.kernels.segments import Segments

from .conftest import TEXT, branch_weights


class Watched:
    """A backend that notes its calls, and refuses segments and vectors that it did not bind itself."""

    def __init__(self, ops: Any) -> None:
        self.ops = ops
        self.bound: list[Any] = []  # kept, so that no other object gets the place of one of them
        self.calls: Counter[str] = Counter()
        self.uploads: Counter[tuple[int, ...]] = Counter()  # shapes of arrays
        self.strict = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.ops, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            if name == "array":
                self.uploads[arguments[0].shape] += 1
            if self.strict and name not in ("vectors", "array", "pack_linear"):
                for value in (*arguments, *named.values()):
                    self.look(name, value)
            result = found(*arguments, **named)
            if name in ("segments", "vectors"):
                self.bound += result if isinstance(result, list) else [result]
            return result

        return call

    def look(self, name: str, value: Any) -> None:
        if isinstance(value, list | tuple):
            for part in value:
                self.look(name, part)
        elif isinstance(value, AdapterTerms):
            for part in (value.segments, value.offsets, value.rows, value.weights):
                self.look(name, part)
        elif isinstance(value, Segments | np.ndarray):
            assert any(value is bound for bound in self.bound), f"{name}: {value!r} was not bound"


def open_mixed(engine: Engine) -> list[Any]:
    """Generations that differ in size, solver, guidance and adapters."""
    engine.add_branch(branch_weights())
    for name, rows in (("style", 3), ("null", 5)):
        engine.register_adapter(name, np.full((rows, TEXT), 0.5, np.float32))
    style = AdapterUse("style", 0.5, "null")
    requests: list[dict[str, Any]] = [
        {"width": 16, "height": 12, "images": 2, "guidance_scale": 2.0, "adapters": (style,)},
        {"width": 8, "height": 20, "guidance_scale": 1.0, "adapters": (style,)},
        {"width": 4, "height": 4, "solver": "heun", "guidance_scale": 3.0},
    ]
    return [
        engine.open(GenerationSpec(prompt="a red apple", steps=9, seed=seed, **fields))
        for seed, fields in enumerate(requests)
    ]


@pytest.fixture
def watched(tiny_model: Path) -> tuple[Watched, Engine]:
    pytest.importorskip("salon.kernels._C")
    ops: Any = Watched(backends.create("cpu", threads=1))
    return ops, Engine(ops, load_model(ops, tiny_model, Limits()), Limits())


def test_the_second_step_of_a_batch_binds_and_uploads_nothing_but_its_numbers(watched: tuple[Watched, Engine]) -> None:
    ops, engine = watched
    generations = open_mixed(engine)
    ops.strict = True
    engine.step(generations)
    engine.step(generations)
    ops.calls.clear()
    engine.step(generations)
    assert {name: ops.calls[name] for name in ("vectors", "segments", "array", "embed", "numpy", "finite")} == {
        "vectors": 1, "segments": 0, "array": 0, "embed": 0, "numpy": 1, "finite": 1,
    }  # fmt: skip
    ops.calls.clear()
    engine.step(generations[:2])
    assert ops.calls["segments"] > 0, "another batch is laid out anew"


@pytest.mark.parametrize("images", [1, 4])
def test_text_is_uploaded_once_for_all_who_read_it(watched: tuple[Watched, Engine], images: int) -> None:
    """It was uploaded, and went through the first layer, once for every image."""
    ops, engine = watched
    generation = engine.open(
        GenerationSpec(prompt="a cat", width=16, height=16, steps=2, images=images, guidance_scale=2.0)
    )
    ops.uploads.clear()
    engine.step([generation])
    assert ops.uploads[(18, TEXT)] == 1, "the prompt's 9 rows and the 9 of no prompt, whatever there is of images"
    layout: Any = generation.batch.layout
    assert (layout.text.shape[0], layout.pooled.shape[0]) == (2 * images * 9, 2 * images)


def test_an_arena_that_grows_between_steps_changes_no_pixel(tiny_model: Path) -> None:
    """The index tables of a layout are bound once; the arrays that they point into are replaced."""
    results = []
    for grow in (False, True):
        engine = Engine.load(tiny_model, backend="reference")
        generations = open_mixed(engine)
        engine.step(generations)
        before = engine.adapters.arena.allocated_bytes
        if grow:
            engine.register_adapter("large", np.ones((600, TEXT), np.float32))
            spec = GenerationSpec(prompt="a", width=4, height=4, steps=1, adapters=(AdapterUse("large"),))
            engine.close(engine.open(spec))
            assert engine.adapters.arena.allocated_bytes > before
        engine.step(generations)
        results.append([engine.ops.numpy(generation.latents) for generation in generations])
    for plain, grown in zip(*results, strict=True):
        np.testing.assert_array_equal(plain, grown)
