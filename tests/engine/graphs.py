"""Whether a model's ONNX graph, recorded once, is the model for any batch."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from salon.engine.denoiser import AdapterTable, KeptReferences, Sample
from salon.engine.engine import Engine
from salon.engine.graph_files import graph_file
from salon.engine.recorded import record_decoder
from salon.engine.text.pipeline import read_only
from salon.kernels.onnx import rtx

Grids = list[tuple[int, int]]


TERMS = ((0, 3), (1, 5), (0, 2))  # of adapters: the sample that each acts on, and its tokens
PAGES = 41  # rows of the arrays that hold their keys and values


def batch(
    engine: Engine, grids: Grids, rows: list[int], seen: list[Grids] | None = None, table: AdapterTable | None = None
) -> tuple[Any, Any, Any]:
    """The layout, latents and times of samples. `rows`: of the texts, which further samples share. `seen`: what each
    looks at. A model that fills pictures reads something beside the tokens of the first."""
    ops, sizes, rng = engine.ops, engine.model.architecture, np.random.default_rng(11)
    texts = [
        read_only(
            rng.standard_normal((n, sizes.text_width)).astype(np.float32),
            rng.standard_normal(sizes.pooled_width).astype(np.float32),
        )
        for n in rows
    ]
    looking = [*(seen or []), *([] for _ in grids)]
    samples = [
        Sample(grid, texts[place % len(texts)], sizes.embedded_guidance, references=tuple(looking[place]))
        for place, grid in enumerate(grids)
    ]
    if engine.model.reference_widths:  # what they look at stands in no rows
        order = rng.permutation(PAGES).astype(np.int32)
        for number, one in enumerate(samples):
            kept = KeptReferences(one.references, None, rows=order[: sum(h * w for h, w in one.references)])
            samples[number] = replace(one, references=(), kept=kept if one.references else None)
    if sizes.fills:
        denoiser: Any = engine.model.denoiser
        shape = samples[0].rows, denoiser.config.beside_channels
        samples[0] = replace(samples[0], beside=rng.standard_normal(shape).astype(np.float32))
    count = sum(sample.rows for sample in samples)
    latents = ops.array(rng.standard_normal((count, sizes.token_channels)).astype(np.float32), "float32")
    levels = np.linspace(0.9, 0.2, len(grids), dtype=np.float32)
    (times,) = ops.vectors(engine.model.denoiser.times(levels))
    return engine.model.denoiser.layout(ops, samples, table), latents, times


def table_of(engine: Engine, samples: int) -> AdapterTable:
    """Terms of adapters on the first samples of a batch, of which one has two."""
    terms = [term for term in TERMS if term[0] < samples]
    ends = np.cumsum([0, *(tokens for _, tokens in terms)]).astype(np.int32)
    owners, weights = np.array([owner for owner, _ in terms], np.int32), np.linspace(0.4, 1.2, len(terms))
    held, rng = engine.model.pictured, np.random.default_rng(12)
    joined = held is not None and bool(held.adapter.branch.head)
    return AdapterTable(
        owners, ends, rng.permutation(PAGES)[: ends[-1]].astype(np.int32), weights.astype(np.float32), joined
    )


def pages_of(engine: Engine) -> Any:
    """Random keys and values of adapters, layer by layer, in the arena's stead."""
    rng = np.random.default_rng(13)
    drawn = [[rng.standard_normal((PAGES, width)).astype(np.float32) for width in engine.adapters.arena.widths]
             for _ in range(2)]  # fmt: skip
    keys, values = ([engine.ops.array(each) for each in part] for part in drawn)
    return SimpleNamespace(keys=keys, values=values, version=0)


def want_one_graph(
    folder: Path,
    atol: float = 1e-4,
    seen: list[Grids] | None = None,
    ip_adapter: Path | None = None,
    backend: str = "onnx",
    more: tuple[Grids, ...] = (),
) -> None:
    """Run a model's graph by a runtime of others beside the reference, on a mixed batch and on one sample; then its
    decoder. `onnx.checker` looks at both, and infers their shapes; TensorRT for RTX, where it is installed, reads them.

    Args:
        seen: the sides of pictures that the samples of the mixed batch look at, the first of which looks at some; then
            the one sample looks at those of the first.
        ip_adapter: an adapter's file; then every sample has terms of adapters, with random keys and values.
        backend: what runs it: "onnx" or "openvino".
        more: the sides of further mixed batches.
    """
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="it makes and runs graphs (extra: onnx)")
    engine, reference = (
        Engine.load(folder, ip_adapter=ip_adapter, backend=name, threads=1) for name in (backend, "reference")
    )
    import onnx

    assert engine.recorded is not None
    ops: Any = engine.ops
    start, checked = ops.start, list[Path]()

    def check(path: Path) -> Any:
        onnx.checker.check_model(str(path), full_check=True)
        if find_spec("tensorrt_rtx") is not None:
            rtx.parse(path)
        checked.append(path)
        return start(path)

    ops.start = check
    ours, theirs = pages_of(engine), pages_of(reference)
    for grids, rows in (
        ([(8, 8), (16, 8), (4, 6)], [3, 9]),
        ([(8, 16)], [7]),
        *((each, [5] * len(each)) for each in more),
    ):
        looks = None if seen is None else seen[: len(grids)]
        table = None if ip_adapter is None else table_of(reference, len(grids))
        layout, latents, times = batch(engine, grids, rows, looks, table)
        got = engine.ops.numpy(engine.recorded.velocity(layout, latents, times, ours))
        layout, latents, times = batch(reference, grids, rows, looks, table)
        want = reference.model.denoiser.velocity(reference.ops, layout, latents, times, pages=theirs)
        scale = max(1.0, float(np.abs(want).max()))
        np.testing.assert_allclose(got / scale, want / scale, atol=atol)
    assert (engine.recorded.runs, engine.recorded.others, engine.recorded.num_graphs) == (2 + len(more), 0, 1)
    assert len(checked) == 1
    want_decoder(engine, reference)


def want_decoder(engine: Engine, reference: Engine, atol: float = 1e-4) -> None:
    """Run the graph of a model's decoder by a runtime of others, beside the reference, for pictures of two sizes.

    Args:
        engine: of a backend that runs graphs, whose `start` checks what it starts.
    """
    ops: Any = engine.ops
    sizes, rng = engine.model.architecture, np.random.default_rng(14)
    with graph_file(record_decoder(ops, engine.model.denoiser.codec, sizes.token_channels)) as path:
        session = ops.start(path)
    for grid in ((2, 3), (4, 1)):
        tokens = rng.standard_normal((grid[0] * grid[1], sizes.token_channels)).astype(np.float32)
        grids = np.array([grid], np.int32)
        latents = reference.ops.array(tokens, "float32")
        want = reference.ops.numpy(reference.model.denoiser.codec.decode(reference.ops, latents, grids))
        got = session.run({"latents": tokens, "grids": grids.astype(np.int64)})
        scale = max(1.0, float(np.abs(want).max()))
        np.testing.assert_allclose(got / scale, want / scale, atol=atol)
