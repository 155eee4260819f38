"""A model of the shape of FLUX.1 (12 billion parameters) with random weights, beside diffusers."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...engine.adapters.arena import Arena
from ...engine.denoiser import AdapterTable, Sample
from ...engine.graphs import StepGraphs
from ...engine.models import flux
from ...engine.text.pipeline import TextEncoding
from ...engine.weights.lora import LoraWeights
from ..measure import Samples, interleave
from ..peers.base import image_ids
from ..report import Goal
from ..runner import Bench
from .setting import Gpu, attempt

CHANNELS: Final = 64
COMPILE: Final = "diffusers torch.compile"
COLUMNS = [["candidate", "pixels", "ms", "p90", "tflops", "share", "times", "error"]]


@dataclass(frozen=True)
class Shape:
    """Sizes of a model and of what is drawn with it."""

    width: int
    heads: int
    double: int
    single: int
    text_rows: int
    text_width: int
    pooled_width: int
    sides: tuple[int, ...]

    def tflop(self, image_rows: int, samples: int = 1) -> float:
        """Return multiply-adds x 2 of a step in 1e12: 24 D^2 a row of a double block, likewise of a single one, and
        attention."""
        rows = image_rows + self.text_rows
        block = 24 * rows * self.width**2 + 4 * rows * rows * self.width
        return 1e-12 * samples * (self.double + self.single) * block


FLUX = Shape(3072, 24, 19, 38, 512, 4096, 768, (512, 1024))
TINY = Shape(32, 1, 1, 1, 4, 32, 32, (64,))


class Model:
    """The packed model. One random double block and one random single block stand in all places: time does not depend
    on their numbers, and a step reads far more between two uses of a block than caches hold."""

    def __init__(self, gpu: Gpu, shape: Shape, theirs: Any, folder: Path) -> None:
        from ...engine.checkpoint import Component

        self.gpu, self.shape, ops = gpu, shape, gpu.ops
        one = flux.load_flux(ops, Component(folder, "transformer"))
        config = replace(one.config, num_layers=shape.double, num_single_layers=shape.single)
        rng = np.random.default_rng(2)
        some = (rng.standard_normal((512, shape.width)) * 0.01).astype(np.float32)
        some = (some.view(np.uint32) >> 16).astype(np.uint16)  # bits of bfloat16
        parts = [some] * (config.num_modulations // 512) + [some[: config.num_modulations % 512]]
        self.weights = replace(
            one, config=config, double_blocks=one.double_blocks * shape.double,
            single_blocks=one.single_blocks * shape.single, modulation=ops.pack_linear([p for p in parts if len(p)]),
        )  # fmt: skip
        self.one = one
        self.theirs = theirs
        self.float8: Model | None = None  # the same weights in float8; None: the device does not have it

    def velocity(self, ops: Any, layout: Any, latents: Any, times: Any, pages: Any = None) -> Any:
        """Evaluate the model; see `Denoiser`."""
        return flux.velocity(ops, self.weights, layout, latents, times, pages)

    def batch(
        self, sides: list[tuple[int, int]], adapters: AdapterTable | None = None, loras: Sequence[LoraWeights] = ()
    ) -> Batch:
        """Return a batch of pictures of these sizes (height, width), with a LoRA each if there are any."""
        return Batch(self, sides, adapters, loras)


class Batch:
    """Inputs of one evaluation on the device."""

    def __init__(
        self,
        model: Model,
        sides: list[tuple[int, int]],
        adapters: AdapterTable | None,
        loras: Sequence[LoraWeights] = (),
    ) -> None:
        ops, shape = model.gpu.ops, model.shape
        rng = np.random.default_rng(1)
        self.model, self.samples = model, []
        for height, width in sides:
            text = rng.standard_normal((shape.text_rows, shape.text_width)).astype(np.float32)
            pooled = rng.standard_normal(shape.pooled_width).astype(np.float32)
            self.samples.append(Sample((height // 16, width // 16), TextEncoding(text, pooled)))
        if loras:
            own = zip(self.samples, loras, strict=True)
            self.samples = [replace(sample, loras=((lora, 1.0),)) for sample, lora in own]
        self.rows = [h * w for h, w in (sample.grid for sample in self.samples)]
        self.numbers = rng.standard_normal((sum(self.rows), CHANNELS)).astype(np.float32)
        self.latents = ops.array(self.numbers, "float32")
        (self.times,) = ops.vectors(np.full(len(sides), 500, np.float32))
        self.layout = flux.layout(ops, model.weights, self.samples, adapters)

    def step(self, pages: Any = None) -> Any:
        """Evaluate the model op by op."""
        return self.model.velocity(self.model.gpu.ops, self.layout, self.latents, self.times, pages)

    def replayed(self, graphs: StepGraphs, pages: Any) -> Any:
        """Evaluate the model as a graph, from the third call on."""
        return graphs.velocity(self.layout, [self.latents], self.times, pages)


def random_model(gpu: Gpu, shape: Shape, folder: Path) -> Any:
    """Make diffusers' transformer of one double and one single block, saved to `folder`, on the device."""
    import torch
    from diffusers import FluxTransformer2DModel

    torch.manual_seed(0)
    head = shape.width // shape.heads
    model = FluxTransformer2DModel(
        in_channels=CHANNELS, num_layers=1, num_single_layers=1, attention_head_dim=head,
        num_attention_heads=shape.heads, joint_attention_dim=shape.text_width, pooled_projection_dim=shape.pooled_width,
        axes_dims_rope=(16, 56, 56) if head == 128 else (head // 4, 3 * head // 8, 3 * head // 8),
    )  # fmt: skip
    model = model.to(gpu.dtype)
    model.save_pretrained(folder)
    return model.to(gpu.device).eval()


def open_model(gpu: Gpu, shape: Shape) -> Model:
    """Return the model, for Salon and for diffusers. All phases of a run share it."""
    if gpu.model is None:
        gpu.model = _open_model(gpu, shape)
    found: Model = gpu.model
    return found


def _open_model(gpu: Gpu, shape: Shape) -> Model:
    with tempfile.TemporaryDirectory(prefix="salon-bench-") as scratch:
        folder = Path(scratch) / "transformer"
        theirs = random_model(gpu, shape, folder)
        model = Model(gpu, shape, theirs, folder)
        small = float8_of(gpu)
        if small is not None:
            model.float8 = Model(small, shape, theirs, folder)
        return model


def float8_of(gpu: Gpu) -> Gpu | None:
    """Return the same device with ops whose weights are in float8; None: it has no float8 products."""
    from ...kernels.triton.devices import open_device
    from ...kernels.triton.float8 import LEAST, Float8
    from ...kernels.triton.table import TritonOps

    try:
        device = open_device(str(gpu.device), gpu.ops.compute, float8=True)
    except ValueError:
        return None
    other = copy.copy(gpu)
    other.ops = TritonOps(device, float8=Float8(least=LEAST if gpu.timed else 16))
    return other


def no_pages(gpu: Gpu) -> Arena:
    """Return an arena without adapters."""
    return Arena(gpu.ops, 1, 8, 0)


def body(bench: Bench, gpu: Gpu) -> None:
    """Measure a step of a model of FLUX.1's shape beside diffusers' own."""
    bench.columns = COLUMNS
    shape = TINY if bench.tiny else FLUX
    bench.use("diffusers")
    with gpu.torch.no_grad():
        model = open_model(gpu, shape)
        bench.note(
            f"{shape.double} double and {shape.single} single blocks of width {shape.width}, {shape.text_rows} text "
            "rows; one block of each kind stands in all places, for all candidates"
        )
        error = agreement(model)
        bench.goal(Goal.at_most("one block of each kind against diffusers", 0.05, error, " of the largest value"))
        for side in shape.sides:
            with attempt(bench, f"{side} x {side}"):
                compare(bench, gpu, model, side, error)
    gpu.give_back()


def agreement(model: Model) -> float:
    """Return the largest difference of a step of one block of each kind from diffusers' over the largest value."""
    gpu = model.gpu
    small = replace(model.shape, double=1, single=1)
    own = Model.__new__(Model)
    own.gpu, own.shape, own.weights, own.theirs, own.one = gpu, small, model.one, model.theirs, model.one
    batch = own.batch([(64, 64)])
    want = model.theirs(**inputs(gpu, batch, 64), return_dict=False)[0][0].float().cpu().numpy()
    return float(np.abs(gpu.ops.numpy(batch.step()) - want).max() / np.abs(want).max())


def inputs(gpu: Gpu, batch: Batch, side: int) -> dict[str, Any]:
    """Return diffusers' arguments for the first sample of a batch."""
    torch, text = gpu.torch, batch.samples[0].text

    def on(values: Any, dtype: Any = None) -> Any:
        return torch.from_numpy(np.array(values)).to(gpu.device, dtype or gpu.dtype)

    return {
        "hidden_states": on(batch.numbers[: batch.rows[0]])[None],
        "encoder_hidden_states": on(text.tokens)[None],
        "pooled_projections": on(text.pooled)[None],
        "timestep": torch.tensor([0.5], device=gpu.device, dtype=gpu.dtype),
        "img_ids": on(image_ids(side, side), torch.float32),
        "txt_ids": torch.zeros(len(text.tokens), 3, device=gpu.device),
    }


def compare(bench: Bench, gpu: Gpu, model: Model, side: int, error: float) -> None:
    """Measure a step of a square picture by each candidate."""
    shape, pages = model.shape, no_pages(gpu)
    batch = model.batch([(side, side)])
    turns: dict[str, Any] = {"Salon op by op": batch.step}
    if gpu.timed:
        graphs = gpu.graphs(model)
        turns["Salon as a graph"] = lambda: batch.replayed(graphs, pages)
    rounded = None
    if model.float8 is not None:
        small = model.float8.batch([(side, side)])
        turns["Salon FP8 op by op"] = small.step
        rounded = off_by(gpu, batch.step(), small.step())
        bench.note(f"{side} x {side}, {model.float8.gpu.ops.notes[-1]}; a step is off by {rounded:.2%}")
        if gpu.timed:
            others = model.float8.gpu.graphs(model.float8)
            turns["Salon FP8 as a graph"] = lambda: small.replayed(others, pages)
    theirs, given = whole(model), inputs(gpu, batch, side)
    turns["diffusers eager"] = lambda: theirs(**given, return_dict=False)
    count = bench.pick(1, 3, 5)
    found = interleave(
        {name: partial(gpu.values, call, count=count, cold=False) for name, call in turns.items()},
        rounds=bench.pick(1, 2, 4), deadline=bench.deadline,
    )  # fmt: skip
    if gpu.timed and bench.deadline.allows(60):
        with attempt(bench, "torch.compile"):
            found[COMPILE] = compiled(bench, gpu, model, batch, side, found["diffusers eager"])
    work, peak = shape.tflop(batch.rows[0]), peak_tflops(gpu)
    rival = (found.get(COMPILE) or Samples()).median
    for name, samples in found.items():
        ms = samples.median
        bench.row(
            candidate=name, pixels=f"{side} x {side}", ms=ms, p90=samples.spread[1] if samples.spread else None,
            n=len(samples), tflops=work / ms * 1e3 if ms else None,
            share=work / ms * 1e3 / peak if ms and peak else None, times=rival / ms if rival and ms else None,
            error=rounded if "FP8" in name else error if name.startswith("Salon") else None,
        )  # fmt: skip
    for candidate, target in (("Salon", 1.3), ("Salon FP8", 2.0)):
        mine = (found.get(f"{candidate} as a graph") or Samples()).median
        if gpu.timed:
            value = rival / mine if rival and mine else None
            bench.goal(Goal.at_least(f"{candidate} faster than torch.compile, {side} x {side}", target, value, "x"))


def off_by(gpu: Gpu, exact: Any, other: Any) -> float:
    """Return the root mean square of a difference over that of the exact result."""
    want, got = gpu.ops.numpy(exact), gpu.ops.numpy(other)
    return float(np.sqrt(np.square(got - want).mean() / np.square(want).mean()))


def whole(model: Model) -> Any:
    """Return diffusers' model with its blocks in all places."""
    torch, theirs, shape = model.gpu.torch, model.theirs, model.shape
    theirs.transformer_blocks = torch.nn.ModuleList([theirs.transformer_blocks[0]] * shape.double)
    theirs.single_transformer_blocks = torch.nn.ModuleList([theirs.single_transformer_blocks[0]] * shape.single)
    return theirs


def compiled(bench: Bench, gpu: Gpu, model: Model, batch: Batch, side: int, eager: Samples) -> Samples:
    """Return the time of a step with compiled blocks: the eager step, less its blocks, plus as many compiled ones.

    One double and one single block are compiled with max-autotune; a whole model would take longer than a run may.
    """
    torch, shape, theirs = gpu.torch, model.shape, model.theirs
    width, image, text = shape.width, batch.rows[0], shape.text_rows
    hidden, encoded, temb = gpu.tensor(1, image, width), gpu.tensor(1, text, width), gpu.tensor(1, width)
    ids = torch.cat([torch.zeros(text, 3), torch.from_numpy(image_ids(side, side))]).to(gpu.device)
    rope = theirs.pos_embed(ids)
    blocks = {"double": theirs.transformer_blocks[0], "single": theirs.single_transformer_blocks[0]}
    spent = {}
    for name, block in blocks.items():
        for kind in ("eager", "compiled"):
            call = block if kind == "eager" else torch.compile(block, mode="max-autotune-no-cudagraphs")
            given = {"hidden_states": hidden, "encoder_hidden_states": encoded, "temb": temb, "image_rotary_emb": rope}
            samples = gpu.time(partial(call, **given), count=10)
            spent[name, kind] = samples.median or 0.0
            bench.row(candidate=f"diffusers {name} block, {kind}", pixels=f"{side} x {side}", ms=samples.median)
    more = sum(
        count * (spent[name, "compiled"] - spent[name, "eager"])
        for name, count in (("double", shape.double), ("single", shape.single))
    )
    bench.note(
        f"{COMPILE}, {side} x {side}: one block of each kind compiled (max-autotune), the rest by multiplication"
    )
    return Samples([max(0.0, ms + more) for ms in eager.values])


def peak_tflops(gpu: Gpu) -> float | None:
    """Return what a large product of the library's reaches, in TFLOP/s; None where nothing is timed."""
    if not gpu.timed:
        return None
    size = 8192
    a, b = gpu.tensor(size, size), gpu.tensor(size, size)
    best = gpu.time(lambda: a @ b, count=10, cold=False).best
    return 2e-12 * size**3 / best * 1e3 if best else None
