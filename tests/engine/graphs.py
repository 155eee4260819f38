"""Whether a model's ONNX graph, recorded once, is the model for any batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.denoiser import Sample
from salon.engine.engine import Engine
from salon.engine.text.pipeline import read_only

Grids = list[tuple[int, int]]


def batch(engine: Engine, grids: Grids, rows: list[int], seen: list[Grids] | None = None) -> tuple[Any, Any, Any]:
    """The layout, latents and times of samples that have nothing in common. `seen`: what each looks at."""
    ops, sizes, rng = engine.ops, engine.model.architecture, np.random.default_rng(11)
    samples = [
        Sample(grid, read_only(
            rng.standard_normal((n, sizes.text_width)).astype(np.float32),
            rng.standard_normal(sizes.pooled_width).astype(np.float32),
        ), sizes.embedded_guidance, references=tuple(looks))
        for grid, n, looks in zip(grids, rows, seen or [[] for _ in grids], strict=True)
    ]  # fmt: skip
    count = sum(sample.rows for sample in samples)
    latents = ops.array(rng.standard_normal((count, sizes.token_channels)).astype(np.float32), "float32")
    levels = np.linspace(0.9, 0.2, len(grids), dtype=np.float32)
    (times,) = ops.vectors(engine.model.denoiser.times(levels))
    return engine.model.denoiser.layout(ops, samples), latents, times


def want_one_graph(
    folder: Path, atol: float = 1e-4, seen: list[Grids] | None = None, more: tuple[Grids, ...] = ()
) -> None:
    """Run a model's graph by ONNX Runtime, beside the reference: on a mixed batch, and on one sample. `onnx.checker`
    looks at the graph, and infers its shapes.

    Args:
        seen: the sides of pictures that the samples of the mixed batch look at, the first of which looks at some; then
            the one sample looks at those of the first.
        more: the sides of further mixed batches.
    """
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="it makes and runs graphs (extra: onnx)")
    engine, reference = (Engine.load(folder, backend=name, threads=1) for name in ("onnx", "reference"))
    import onnx

    assert engine.recorded is not None
    ops: Any = engine.ops
    start, checked = ops.start, list[Path]()

    def check(path: Path) -> Any:
        onnx.checker.check_model(str(path), full_check=True)
        checked.append(path)
        return start(path)

    ops.start = check
    for grids, rows in (([(8, 8), (16, 8)], [3, 9]), ([(8, 16)], [7]), *((each, [5] * len(each)) for each in more)):
        looks = None if seen is None else seen[: len(grids)]
        layout, latents, times = batch(engine, grids, rows, looks)
        got = engine.ops.numpy(engine.recorded.velocity(layout, latents, times, engine.adapters.arena))
        layout, latents, times = batch(reference, grids, rows, looks)
        want = reference.model.denoiser.velocity(reference.ops, layout, latents, times)
        scale = max(1.0, float(np.abs(want).max()))
        np.testing.assert_allclose(got / scale, want / scale, atol=atol)
    assert (engine.recorded.runs, engine.recorded.others, engine.recorded.num_graphs) == (2 + len(more), 0, 1)
    assert len(checked) == 1
