"""Build TensorRT-RTX plans of a model's graph, and keep each under the name of what it is of.

A plan belongs to the model's digest, to the range of shapes, to GPUs and to the version of TensorRT-RTX. Its name has a
digest of these, so that what was built once is found again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import complaint
from .denoiser import Sample
from .errors import CheckpointError, SpecError
from .export import FORMAT
from .graph_files import graph_file
from .text.pipeline import read_only

if TYPE_CHECKING:
    from ..kernels.onnx.inputs import Feeds
    from ..kernels.onnx.rtx import Range
    from ..kernels.ops import Dtype
    from .engine import Engine

MOST_SAMPLES: Final = 64
TEXT_ROWS: Final = (1, 64, 512)  # rows of a sample's text: least, usual, most


@dataclass(frozen=True, eq=False)
class Plan:
    """A plan's file.

    Attributes:
        path: the file.
        facts: what it is of: model, shapes, GPU, version, dtype.
        built: whether it was built now; else it was there.
    """

    path: Path
    facts: Mapping[str, Any]
    built: bool


def build_plan(
    engine: Engine,
    folder: Path,
    sizes: Sequence[tuple[int, int]],
    *,
    samples: int = 2,
    dtype: Dtype = "float32",
    gpu: str = "any",
) -> Plan:
    """Build a plan for pictures between some sizes, or find it in a folder.

    Args:
        engine: of a backend that runs graphs.
        folder: where plans are kept; it is made.
        sizes: (width, height) in pixels; the plan takes all between the smallest and the largest, mixed or not, and is
            tuned for the last.
        samples: samples of a step at most; a guided picture has two.
        dtype: what products read.
        gpu: a compute capability ("sm89"), or "any".

    Raises:
        SpecError: a size does not fit the model, or there are too many samples.
        OutputError: the folder for temporary files has no room for the graph.
        PlanError: TensorRT-RTX cannot build it, or does not know the GPU.
        ImportError: TensorRT-RTX is not installed.
    """
    from ..kernels.onnx import rtx

    assert engine.recorded is not None, "an engine that runs no graphs"
    unit = engine.model.architecture.granularity
    for width, height in sizes:
        if width < unit or height < unit or width % unit or height % unit:
            raise SpecError(
                complaint("--shapes", f"{width}x{height}", f"sides that are multiples of {unit}", "correct it")
            )
    if not 1 <= samples <= MOST_SAMPLES:
        raise SpecError(complaint("--samples", str(samples), f"1 to {MOST_SAMPLES}", "choose fewer"))
    rtx.want_capability(gpu, rtx.capabilities())
    facts = {
        "format": FORMAT, "model": engine.model.digest, "shapes": [list(size) for size in sizes], "samples": samples,
        "dtype": dtype, "gpu": gpu, "tensorrt_rtx": rtx.version(),
    }  # fmt: skip
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{engine.model.family}-{key}.plan"
    try:
        open_plan(path)
        return Plan(path, facts, built=False)
    except CheckpointError:
        pass
    recording = engine.recorded.record(engine.recorded.usual(), dtype=dtype)
    areas = sorted((width // unit * (height // unit), (height // unit, width // unit)) for width, height in sizes)
    last = sizes[-1][1] // unit, sizes[-1][0] // unit
    cases = [
        _feeds(engine, recording, grid, count, rows)
        for grid, count, rows in zip((areas[0][1], last, areas[-1][1]), (1, samples, samples), TEXT_ROWS, strict=True)
    ]
    shapes: dict[str, Range] = {
        name: (cases[0][name].shape, cases[1][name].shape, cases[2][name].shape) for name in recording.inputs
    }
    folder.mkdir(parents=True, exist_ok=True)
    with graph_file(recording) as graph:
        plan = bytes(rtx.build(graph, shapes, gpu))
    for file, content in (
        (path, plan),
        (path.with_suffix(".json"), (json.dumps({**facts, "bytes": len(plan)}, indent=2) + "\n").encode()),
    ):
        waiting = file.with_name(file.name + ".part")
        waiting.write_bytes(content)
        os.replace(waiting, file)
    return Plan(path, facts, built=True)


def open_plan(path: Path, *, gpu: str | None = None) -> Mapping[str, Any]:
    """Return what a plan is of.

    Args:
        gpu: the compute capability of the GPU that is to run it; None: it is not asked.

    Raises:
        CheckpointError: there is no such plan, its file is not whole, it is of another version of Salon or of
            TensorRT-RTX, or for another GPU.
    """
    from ..kernels.onnx import rtx

    remedy = "build it again: salon build-plan MODEL --shapes ..."
    try:
        facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        size = path.stat().st_size
        told = facts["format"], facts["tensorrt_rtx"], facts["bytes"], facts["gpu"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError("no plan, or nothing that says what it is of", path=path, remedy=remedy) from error
    for what, found, wanted in (
        ("another format", told[0], FORMAT),
        ("another version of TensorRT-RTX", told[1], rtx.version()),
        ("which bytes are missing", size, told[2]),
    ):
        if found != wanted:
            raise CheckpointError(f"a plan of {what}", path=path, expected=str(wanted), found=str(found), remedy=remedy)
    if gpu is not None and told[3] not in ("any", gpu):
        raise CheckpointError("a plan for another GPU", path=path, expected=gpu, found=told[3], remedy=remedy)
    return facts


def _feeds(engine: Engine, recording: Any, grid: tuple[int, int], count: int, rows: int) -> Feeds:
    """Return what a batch of samples of one size feeds a graph."""
    ops, sizes, denoiser, steps = engine.ops, engine.model.architecture, engine.model.denoiser, engine.recorded
    assert steps is not None, "an engine that runs no graphs"
    tokens, pooled = np.zeros((rows, sizes.text_width), np.float32), np.zeros(sizes.pooled_width, np.float32)
    each = [Sample(grid, read_only(tokens.copy(), pooled.copy()), sizes.embedded_guidance) for _ in range(count)]
    layout = steps.formed(denoiser.layout(ops, each))
    latents = ops.zeros(count * grid[0] * grid[1], sizes.token_channels, "float32")
    (times,) = ops.vectors(denoiser.times(np.full(count, 0.5, np.float32)))
    feeds: Feeds | None = recording.feeds({"layout": layout, "latents": latents, "times": times})
    if feeds is None:
        got, allowed = f"{grid[1]} x {grid[0]} tokens", "sizes whose batches are made as those of the graph"
        raise SpecError(complaint("--shapes", got, allowed, "choose sides that are multiples of more"))
    return feeds
