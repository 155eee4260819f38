"""Whether a model's ONNX graph, recorded once, is the model for any batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.denoiser import Sample
from salon.engine.engine import Engine
from salon.engine.text.pipeline import read_only


def batch(engine: Engine, grids: list[tuple[int, int]], rows: list[int]) -> tuple[Any, Any, Any]:
    """The layout, latents and times of samples that have nothing in common."""
    ops, sizes, rng = engine.ops, engine.model.architecture, np.random.default_rng(11)
    samples = [
        Sample(grid, read_only(
            rng.standard_normal((n, sizes.text_width)).astype(np.float32),
            rng.standard_normal(sizes.pooled_width).astype(np.float32),
        ), sizes.embedded_guidance)
        for grid, n in zip(grids, rows, strict=True)
    ]  # fmt: skip
    count = sum(height * width for height, width in grids)
    latents = ops.array(rng.standard_normal((count, sizes.token_channels)).astype(np.float32), "float32")
    levels = np.linspace(0.9, 0.2, len(grids), dtype=np.float32)
    (times,) = ops.vectors(engine.model.denoiser.times(levels))
    return engine.model.denoiser.layout(ops, samples), latents, times


def want_one_graph(folder: Path, atol: float = 1e-4) -> None:
    """Run a model's graph by ONNX Runtime, beside the reference: on a mixed batch, and on one sample."""
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="it makes and runs graphs (extra: onnx)")
    engine, reference = (Engine.load(folder, backend=name, threads=1) for name in ("onnx", "reference"))
    assert engine.recorded is not None
    for grids, rows in (([(8, 8), (16, 8)], [3, 9]), ([(8, 16)], [7])):
        layout, latents, times = batch(engine, grids, rows)
        got = engine.ops.numpy(engine.recorded.velocity(layout, latents, times, engine.adapters.arena))
        layout, latents, times = batch(reference, grids, rows)
        want = reference.model.denoiser.velocity(reference.ops, layout, latents, times)
        scale = max(1.0, float(np.abs(want).max()))
        np.testing.assert_allclose(got / scale, want / scale, atol=atol)
    assert (engine.recorded.runs, engine.recorded.others, engine.recorded.num_graphs) == (2, 0, 1)
