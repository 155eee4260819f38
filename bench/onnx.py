"""A model's ONNX graph on others' runtimes, beside the cpu backend and beside diffusers' usual export.

`python -m salon.bench.onnx [--quick] [--threads N]`

One double and one single block of FLUX.1's width with random weights, in float32, 1,024 image tokens and 512 text
tokens. The same weights go to Salon, which records its graph, and to diffusers, whose module torch.onnx exports. All
take turns. For each way the seconds of the export, the bytes on disk, and the seconds and the memory of a start stand
beside the time of a step.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from .families.blocks import relative
from .flux_width import CHANNELS, FLUX, POOLED_WIDTH, TEXT_WIDTH, TINY, random_model
from .measure import interleave, timed
from .peers.base import F32, image_ids
from .report import Goal
from .runner import Bench, run
from .torch_mode import torch_as_rival

COLUMNS = [
    ["candidate", "ms", "p10", "p90", "of_cpu", "error"],
    ["candidate", "export_seconds", "megabytes", "start_seconds", "memory"],
]
NEAR = 1e-3  # of the largest value: more is another model
RUNTIMES = {"ONNX Runtime": ("onnx", "onnxruntime"), "OpenVINO": ("openvino", "openvino")}  # -> backend, package
OURS, THEIRS = "Salon's graph", "diffusers' export"


def resident() -> float:
    """Return the bytes of this process's memory in 1e6."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def body(bench: Bench) -> None:
    bench.columns = COLUMNS
    bench.use("torch", "diffusers", "onnx", "onnxruntime", "openvino")
    with torch_as_rival(bench.threads), tempfile.TemporaryDirectory(prefix="salon-bench-") as scratch:
        measure(bench, Path(scratch))


def measure(bench: Bench, scratch: Path) -> None:
    """Export, start and time every candidate."""
    shape = TINY if bench.tiny else FLUX
    module = random_model(shape, scratch / "transformer").float()
    side = shape.sides[0]
    rows, random = (side // 16) ** 2, np.random.default_rng(1)
    given = SimpleNamespace(
        latents=random.standard_normal((rows, CHANNELS), np.float32),
        text=random.standard_normal((shape.text_rows, TEXT_WIDTH), np.float32),
        pooled=random.standard_normal((1, POOLED_WIDTH), np.float32),
        side=side,
    )
    turns: dict[str, Callable[[], Any]] = {}
    facts: dict[str, dict[str, Any]] = {}
    ops, denoiser = loaded("cpu", scratch, bench.threads)
    arguments = asked(ops, denoiser, given)
    turns["Salon cpu"] = partial(denoiser.velocity, ops, *arguments)
    want = ops.numpy(turns["Salon cpu"]())
    for runtime, (backend, package) in RUNTIMES.items():
        if find_spec(package) is None or find_spec("onnx") is None:
            bench.note(f"{runtime} left out: {package} is not installed")
            continue
        name = f"{OURS}, {runtime}"
        turns[name], facts[name] = ours(backend, scratch, bench.threads, given)
    exported = None
    if find_spec("onnxscript") is None:
        bench.note("diffusers' export left out: torch.onnx needs onnxscript, which is not installed")
    elif len(turns) > 1:
        exported, seconds = diffusers_export(module, given, scratch / "theirs")
        for runtime, (backend, package) in RUNTIMES.items():
            if find_spec(package) is not None:
                name = f"{THEIRS}, {runtime}"
                turns[name], facts[name] = started(backend, exported, bench.threads, fed(given))
                facts[name]["export_seconds"] = seconds
    errors = {name: relative(np.asarray(turn(), np.float32).reshape(want.shape), want) for name, turn in turns.items()
              if name != "Salon cpu"}  # fmt: skip
    for name, error in errors.items():
        if error > NEAR:
            raise ArithmeticError(f"{name} is off by {error:.3g} of the largest value")
    rounds = bench.pick(1, 3, 12)
    timed_turns: dict[str, Callable[[], Sequence[float]]] = {
        name: partial(timed, turn, 1) for name, turn in turns.items()
    }
    with bench.progress("steps", rounds) as advance:
        results = interleave(timed_turns, rounds=rounds, deadline=bench.deadline, on_round=lambda: advance(""))
    base = results["Salon cpu"].median
    for name, samples in results.items():
        low, high = samples.spread or (None, None)
        bench.row(
            candidate=name, ms=samples.median, p10=low, p90=high, n=len(samples), error=errors.get(name),
            of_cpu=base / samples.median if base and samples.median else None, **facts.get(name, {}),
        )  # fmt: skip
    for runtime in RUNTIMES:
        mine, other = (results.get(f"{kind}, {runtime}") for kind in (OURS, THEIRS))
        if mine and other and mine.median and other.median:
            share = other.median / mine.median
            bench.goal(Goal.at_least(f"{runtime}: Salon's graph not slower than diffusers' export", 1.0, share, "x"))


def loaded(backend: str, scratch: Path, threads: int) -> tuple[Any, Any]:
    """Return a backend's op table, and the blocks as a denoiser of it."""
    from ..engine.checkpoint import Component
    from ..engine.models import flux
    from ..kernels.backends import create

    ops = create(backend, dtype="float32", threads=threads)
    weights = flux.load_flux(ops, Component(scratch / "transformer", "transformer"))

    def layout(ops: Any, samples: Any, adapters: Any = None) -> Any:
        return flux.layout(ops, weights, samples, adapters)

    def velocity(ops: Any, layout: Any, latents: Any, times: Any, pages: Any = None) -> Any:
        return flux.velocity(ops, weights, layout, latents, times, pages)

    return ops, SimpleNamespace(layout=layout, velocity=velocity, times=lambda sigmas: sigmas * np.float32(1000))


def asked(ops: Any, denoiser: Any, given: Any) -> tuple[Any, Any, Any]:
    """Return layout, latents and times of one sample."""
    from ..engine.denoiser import Sample
    from ..engine.text.pipeline import TextEncoding

    grid = (given.side // 16, given.side // 16)
    layout = denoiser.layout(ops, [Sample(grid, TextEncoding(given.text, given.pooled[0]))])
    (times,) = ops.vectors(np.array([500], np.float32))
    return layout, ops.array(given.latents, "float32"), times


def ours(backend: str, scratch: Path, threads: int, given: Any) -> tuple[Callable[[], Any], dict[str, Any]]:
    """Record the blocks, write them and start them. Return what runs a step, and what that took."""
    from ..engine.recorded import RecordedSteps
    from ..kernels.onnx.recording import write

    ops, denoiser = loaded(backend, scratch, threads)
    sizes: Any = SimpleNamespace(
        text_width=TEXT_WIDTH, pooled_width=POOLED_WIDTH, token_channels=CHANNELS, embedded_guidance=None,
        references=None,
    )  # fmt: skip
    steps, path = RecordedSteps(ops, denoiser, sizes), scratch / f"{backend}.onnx"
    start = time.perf_counter()
    recording = steps.record(steps.usual())
    files = write({path: recording}, path.with_suffix(".data"))
    seconds = time.perf_counter() - start
    layout, latents, times = asked(ops, denoiser, given)
    feeds = recording.feeds({"layout": layout, "latents": latents, "times": times})
    assert feeds is not None, "a sample like those that were recorded"
    turn, facts = started(backend, path, threads, feeds, latents=given.latents)
    size = sum(each["bytes"] for each in files.values())
    return turn, {**facts, "export_seconds": seconds, "megabytes": size / 1e6}


def started(
    backend: str, path: Path, threads: int, feeds: dict[str, Any], **each: F32
) -> tuple[Callable[[], Any], dict[str, Any]]:
    """Start a graph on a runtime. Return what runs it with these inputs, and what the start took.

    Args:
        each: the inputs that come anew at every run; the others are bound.
    """
    from ..kernels.backends import create
    from ..kernels.onnx.table import GraphOps

    before, start = resident(), time.perf_counter()
    ops = create(backend, dtype="float32", threads=threads)
    assert isinstance(ops, GraphOps), backend
    session = ops.start(path)
    seconds = time.perf_counter() - start
    session.bind(feeds)
    session.run(each)  # the first run makes what later ones have
    size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    facts = {"start_seconds": seconds, "memory": resident() - before, "megabytes": size / 1e6}
    return partial(session.run, each), facts


def fed(given: Any) -> dict[str, Any]:
    """Return the inputs of diffusers' module."""
    return {
        "hidden_states": given.latents[None], "encoder_hidden_states": given.text[None],
        "pooled_projections": given.pooled, "timestep": np.array([0.5], np.float32),
        "img_ids": image_ids(given.side, given.side), "txt_ids": np.zeros((len(given.text), 3), np.float32),
    }  # fmt: skip


def diffusers_export(module: Any, given: Any, folder: Path) -> tuple[Path, float]:
    """Export diffusers' module by torch.onnx. Return the file and the seconds."""
    import torch

    class Velocity(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.model = module

        def forward(self, *inputs: Any) -> Any:
            return self.model(**dict(zip(names, inputs, strict=True)), return_dict=False)[0]

    inputs, folder_path = fed(given), folder / "transformer.onnx"
    names = list(inputs)
    folder.mkdir()
    start = time.perf_counter()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Velocity().eval(), tuple(torch.from_numpy(value) for value in inputs.values()), str(folder_path),
            input_names=names, output_names=["velocity"], opset_version=18, dynamo=True,
        )  # fmt: skip
    return folder_path, time.perf_counter() - start


main = partial(run, "onnx", (__doc__ or "").splitlines()[0], body, tied_to="nothing")


if __name__ == "__main__":
    sys.exit(main())
