"""A whole small model through the triton table: prompt to pixels, with adapters, guidance and company."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.spec import AdapterUse, GenerationSpec

from ...engine.conftest import TEXT, branch_weights, write_tiny

SPECS = (
    GenerationSpec(prompt="a cat", width=12, height=8, steps=1, seed=1, adapters=(AdapterUse("page", 0.7),)),
    GenerationSpec(prompt="a red house", width=8, height=8, steps=1, seed=2, guidance_scale=1.0),
)


def load(folder: Path, backend: str, device: str | None = None) -> Engine:
    engine = Engine.load(folder, backend=backend, device=device, dtype="float32")
    engine.add_branch(branch_weights())
    tokens = np.random.default_rng(5).standard_normal((4, TEXT)).astype(np.float32)
    engine.register_adapter("page", 2 * tokens)
    return engine


def draw(engine: Engine, *specs: GenerationSpec) -> list[np.ndarray]:
    """Step all together; latents and pixels of each."""
    opened = [engine.open(spec) for spec in specs]
    while any(g.position < len(g.evaluations) for g in opened):
        engine.step(opened)
    found = [engine.ops.numpy(g.latents) for g in opened]
    return [*found, *(engine.finish(g) for g in opened)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


def test_it_draws_what_the_cpu_backend_draws_and_the_same_alone(folder: Path) -> None:
    engine = load(folder, "triton", "cpu")
    assert (engine.info.backend.name, engine.info.backend.compute) == ("triton/interpreter", "float32")
    together, cpu = draw(engine, *SPECS), draw(load(folder, "cpu"), *SPECS)
    for got, want in zip(together[:2], cpu[:2], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    for got, want in zip(together[2:], cpu[2:], strict=True):
        assert got.std() > 1
        assert np.abs(got.astype(int) - want.astype(int)).max() <= 1
    alone = draw(engine, SPECS[0])
    np.testing.assert_array_equal(alone[0], together[0])
    np.testing.assert_array_equal(alone[1], together[2])
