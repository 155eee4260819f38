"""What sharing a step gains, what adapters, LoRAs, graphs, start and parking cost."""

from __future__ import annotations

import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...engine.checkpoint import EMBEDDED
from ...engine.denoiser import AdapterTable
from ...engine.engine import Engine
from ...engine.weights.flux_lora import lora_map
from ...engine.weights.lora import LoraWeights
from ...kernels.ops import LowRankPart
from ..report import Goal
from ..runner import Bench
from .flux import FLUX, TINY, Model, no_pages, open_model
from .setting import Gpu, attempt

COLUMNS = [["what", "pixels", "batch", "ms", "each_ms", "gain"], ["what", "ms", "against_none"]]
TOKENS = 4  # of an adapter
RANK = 16  # of a LoRA


def body(bench: Bench, gpu: Gpu) -> None:
    """Measure batches, adapters, LoRAs, graphs, start and parking."""
    bench.columns = COLUMNS
    with gpu.torch.no_grad():
        with attempt(bench, "start and parking"):
            starts(bench, gpu)
        with attempt(bench, "the model of FLUX.1's shape"):
            model = open_model(gpu, TINY if bench.tiny else FLUX)
            with attempt(bench, "adapters"):
                adapters(bench, gpu, model)
            with attempt(bench, "LoRAs"):
                loras(bench, gpu, model)
            with attempt(bench, "batches"):
                batches(bench, gpu, model)
    gpu.give_back()


def batches(bench: Bench, gpu: Gpu, model: Model) -> None:
    """Measure steps of 1 to 16 equal pictures, op by op and as a graph."""
    pages = no_pages(gpu)
    for side in bench.pick((64,), (256, 1024), (256, 512, 1024)):
        alone: float | None = None
        for count in bench.pick((1,), (1, 4, 16), (1, 2, 4, 8, 16)):
            if not bench.deadline.allows(10):
                bench.note(f"{side} x {side} from batch {count} on: left out, the time of this phase ran out")
                break
            batch = model.batch([(side, side)] * count)
            ms = gpu.time(batch.step, count=5, cold=False).median
            alone = alone or ms
            gain = alone * count / ms if alone and ms else None
            bench.row(
                what="op by op", pixels=f"{side} x {side}", batch=count, ms=ms,
                each_ms=ms / count if ms else None, gain=gain,
            )  # fmt: skip
            if gpu.timed:
                graphs = gpu.graphs(model)
                replayed = gpu.time(partial(batch.replayed, graphs, pages), count=5, cold=False).median
                bench.row(
                    what="as a graph", pixels=f"{side} x {side}", batch=count, ms=replayed,
                    each_ms=replayed / count if replayed else None, gain=ms / replayed if ms and replayed else None,
                )  # fmt: skip
                graphs.clear()


def adapters(bench: Bench, gpu: Gpu, model: Model) -> None:
    """Measure a step of 8 pictures with an adapter of their own each, with none, and one adapter after another."""
    side, count = bench.pick((64, 1), (512, 8), (512, 8))
    layers, width = model.shape.double, model.shape.width
    keys, values = ([gpu.tensor(64, width) for _ in range(layers)] for _ in range(2))
    pages = SimpleNamespace(keys=keys, values=values, version=0)

    def table(samples: int) -> AdapterTable:
        return AdapterTable(
            np.arange(samples, dtype=np.int32), np.arange(samples + 1, dtype=np.int32) * TOKENS,
            np.arange(samples * TOKENS, dtype=np.int32), np.full(samples, 0.7, np.float32),
        )  # fmt: skip

    styled = model.batch([(side, side)] * count, table(count))
    if not gpu.timed:  # with the interpreter one run is enough
        finite = bool(np.isfinite(gpu.ops.numpy(styled.step(pages))).all())
        bench.row(what=f"{count} pictures, an adapter each", finite=finite)
        return
    plain, single = model.batch([(side, side)] * count), model.batch([(side, side)], table(1))
    none = gpu.time(plain.step, count=5, cold=False).median
    own = gpu.time(lambda: styled.step(pages), count=5, cold=False).median
    split = gpu.time(lambda: [single.step(pages) for _ in range(count)], count=3, cold=False).median
    for what, ms in (("none", none), ("an adapter each", own), ("split by adapter", split)):
        bench.row(what=f"{count} pictures, {what}", ms=ms, against_none=ms / none if ms and none else None)
    more = (own / none - 1) * 100 if own and none else None
    bench.goal(Goal.at_most("8 users' adapters in one step: more than none", 5.0, more, " %"))


def loras(bench: Bench, gpu: Gpu, model: Model) -> None:
    """Measure a step of 8 pictures with a LoRA of their own in every block, with none, and one after another."""
    side, count = bench.pick((64, 1), (512, 8), (512, 8))
    targets = lora_map(model.weights.config).targets
    blocks = {name: sides for name, sides in targets.items() if name.startswith(("double.", "single."))}

    def lora(seed: int) -> LoraWeights:
        rng, made = np.random.default_rng(seed), dict[tuple[int, int], Any]()
        for width, depth in dict.fromkeys(blocks.values()):  # one for all places of these sides, as weights are
            down, up = (rng.standard_normal(each).astype(np.float32) for each in ((RANK, depth), (width, RANK)))
            made[width, depth] = gpu.ops.pack_low_rank([LowRankPart(down * depth**-0.5, up * 0.1)], width)
        return LoraWeights({name: made[sides] for name, sides in blocks.items()}, 0)

    each = [lora(i) for i in range(count)]
    mixed, plain = model.batch([(side, side)] * count, loras=each), model.batch([(side, side)] * count)
    if not gpu.timed:
        got, none = (gpu.ops.numpy(batch.step()) for batch in (mixed, plain))
        finite = bool(np.isfinite(got).all()) and not np.array_equal(got, none)
        bench.row(what=f"{count} pictures, a LoRA each", finite=finite)
        return
    single = [model.batch([(side, side)], loras=[one]) for one in each]
    base = gpu.time(plain.step, count=5, cold=False).median
    own = gpu.time(mixed.step, count=5, cold=False).median
    split = gpu.time(lambda: [batch.step() for batch in single], count=3, cold=False).median
    for what, ms in ((f"a LoRA of rank {RANK} each", own), ("one LoRA after another", split)):
        bench.row(what=f"{count} pictures, {what}", ms=ms, against_none=ms / base if ms and base else None)


def starts(bench: Bench, gpu: Gpu) -> None:
    """Measure a start up to the first picture, a picture's step with and without graphs, parking and resuming."""
    if not gpu.timed:
        return
    begin = time.perf_counter()
    engine = Engine.load(EMBEDDED, backend="triton", device=str(gpu.device))
    loaded = time.perf_counter()
    spec = engine.make_spec("a red apple", seed=1, images=4)
    generation = engine.open(spec)
    engine.step([generation])
    first = time.perf_counter()
    bench.row(what="embedded model: load", ms=1e3 * (loaded - begin))
    bench.row(what="embedded model: first step, kernels compiled", ms=1e3 * (first - loaded))
    parked: Any = None
    took: dict[str, list[float]] = {"park": [], "resume": []}
    for _ in range(5):
        gpu.wait()
        start = time.perf_counter()
        parked = engine.park(generation)
        middle = time.perf_counter()
        generation = engine.resume(parked)
        gpu.wait()
        took["park"].append(1e3 * (middle - start))
        took["resume"].append(1e3 * (time.perf_counter() - middle))
    engine.close(generation)
    for name, values in took.items():
        bench.row(what=f"embedded model: {name}", ms=sorted(values)[2])
    graphs = engine.graphs
    for name, kept in (("op by op", None), ("as a graph", graphs)):
        engine.graphs = kept
        generation = engine.open(engine.make_spec("a red apple", seed=1, images=4, steps=20))
        spent = []
        for _ in range(16):
            start = time.perf_counter()
            engine.step([generation])  # waits for the device at its end
            spent.append(1e3 * (time.perf_counter() - start))
        engine.close(generation)
        bench.row(what=f"embedded model: step of a grid, {name}", ms=sorted(spent[4:])[6])
