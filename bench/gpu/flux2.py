"""A model of the shape of FLUX.2 [dev] (32 billion parameters) with random weights, beside diffusers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...engine.denoiser import Sample
from ...engine.models import flux2
from ...engine.text.pipeline import TextEncoding
from ..measure import interleave
from ..report import Goal
from ..runner import Bench
from .flux import no_pages
from .setting import Gpu, attempt

CHANNELS: Final = 128
GUIDANCE: Final = 4.0
COLUMNS = [["candidate", "pixels", "batch", "ms", "each_ms", "gain", "error"]]


@dataclass(frozen=True)
class Shape:
    """Sizes of a model and of what is drawn with it."""

    head: int
    heads: int
    double: int
    single: int
    text_rows: int
    text_width: int
    sides: tuple[int, ...]


DEV = Shape(128, 48, 8, 48, 512, 15360, (512, 1024))
TINY = Shape(32, 1, 1, 1, 4, 32, (64,))


class Model:
    """The packed model, of which one random double and one random single block stand in all places."""

    def __init__(self, gpu: Gpu, shape: Shape) -> None:
        import torch
        from diffusers import Flux2Transformer2DModel

        from ...engine.checkpoint import Component
        from ...engine.weights.flux2 import load_flux2

        torch.manual_seed(0)
        self.gpu, self.shape = gpu, shape
        with tempfile.TemporaryDirectory(prefix="salon-bench-") as scratch, torch.device(gpu.device):
            folder = Path(scratch) / "transformer"
            theirs = Flux2Transformer2DModel(
                in_channels=CHANNELS, num_layers=1, num_single_layers=1, attention_head_dim=shape.head,
                num_attention_heads=shape.heads, joint_attention_dim=shape.text_width,
                axes_dims_rope=(shape.head // 4,) * 4,
            )  # fmt: skip
            theirs.to(gpu.dtype).save_pretrained(folder)
            self.theirs: Any = theirs.eval()
            self.one = load_flux2(gpu.ops, Component(folder, "transformer"))
        config = replace(self.one.config, num_layers=shape.double, num_single_layers=shape.single)
        self.weights = replace(
            self.one, config=config, double_blocks=self.one.double_blocks * shape.double,
            single_blocks=self.one.single_blocks * shape.single,
        )  # fmt: skip

    def velocity(self, ops: Any, layout: Any, latents: Any, times: Any, pages: Any = None) -> Any:
        """Evaluate the model; see `Denoiser`."""
        return flux2.velocity(ops, self.weights, layout, latents, times)


class Batch:
    """Inputs of one evaluation of `count` square pictures, all alike."""

    def __init__(self, model: Model, side: int, count: int) -> None:
        gpu, shape, rng = model.gpu, model.shape, np.random.default_rng(1)
        self.model, self.grid = model, (side // 16, side // 16)
        self.text = rng.standard_normal((shape.text_rows, shape.text_width)).astype(np.float32)
        encoding = TextEncoding(self.text, np.zeros(0, np.float32))
        self.numbers = rng.standard_normal((count * self.grid[0] * self.grid[1], CHANNELS)).astype(np.float32)
        self.latents = gpu.ops.array(self.numbers, "float32")
        (self.times,) = gpu.ops.vectors(np.full(count, 500, np.float32))
        self.layout = flux2.layout(gpu.ops, model.weights, [Sample(self.grid, encoding, GUIDANCE)] * count)

    def step(self) -> Any:
        """Evaluate the model op by op."""
        return self.model.velocity(self.model.gpu.ops, self.layout, self.latents, self.times)

    def inputs(self) -> dict[str, Any]:
        """Return diffusers' arguments for one picture."""
        gpu, torch = self.model.gpu, self.model.gpu.torch
        rows, (height, width) = self.grid[0] * self.grid[1], self.grid
        places = torch.zeros(rows, 4, device=gpu.device)
        places[:, 1] = torch.arange(height, device=gpu.device).repeat_interleave(width)
        places[:, 2] = torch.arange(width, device=gpu.device).repeat(height)
        words = torch.zeros(len(self.text), 4, device=gpu.device)
        words[:, 3] = torch.arange(len(self.text), device=gpu.device)
        hidden, states = (torch.from_numpy(x).to(gpu.device, gpu.dtype)[None] for x in (self.numbers[:rows], self.text))
        return {
            "hidden_states": hidden, "encoder_hidden_states": states, "img_ids": places[None], "txt_ids": words[None],
            "timestep": torch.tensor([0.5], device=gpu.device, dtype=gpu.dtype),
            "guidance": torch.tensor([GUIDANCE], device=gpu.device, dtype=gpu.dtype),
        }  # fmt: skip


def body(bench: Bench, gpu: Gpu) -> None:
    """Measure a step of a model of FLUX.2's shape beside diffusers' own, and what sharing it gains."""
    bench.columns = COLUMNS
    bench.use("diffusers")
    gpu.model = None  # of FLUX.1's shape
    gpu.give_back()
    with gpu.torch.no_grad():
        model = Model(gpu, TINY if bench.tiny else DEV)
        shape, error = model.shape, agreement(model)
        bench.note(
            f"{shape.double} double and {shape.single} single blocks of width {shape.head * shape.heads}, "
            f"{shape.text_rows} text rows; one block of each kind stands in all places, for all candidates"
        )
        bench.goal(Goal.at_most("one block of each kind against diffusers", 0.05, error, " of the largest value"))
        torch, theirs = gpu.torch, model.theirs
        theirs.transformer_blocks = torch.nn.ModuleList([theirs.transformer_blocks[0]] * shape.double)
        theirs.single_transformer_blocks = torch.nn.ModuleList([theirs.single_transformer_blocks[0]] * shape.single)
        for side in shape.sides:
            with attempt(bench, f"{side} x {side}"):
                compare(bench, gpu, model, side, error, Batch)
    gpu.give_back()


def agreement(model: Model) -> float:
    """Return the largest difference of a step of one block of each kind from diffusers' over the largest value."""
    batch, whole = Batch(model, 64, 1), model.weights
    want = model.theirs(**batch.inputs(), return_dict=False)[0][0].float().cpu().numpy()
    model.weights = model.one
    got = model.gpu.ops.numpy(batch.step())
    model.weights = whole
    return float(np.abs(got - want).max() / np.abs(want).max())


def compare(bench: Bench, gpu: Gpu, model: Any, side: int, error: float, batch_of: Callable[..., Any]) -> None:
    """Measure a step of one square picture by each candidate, and of four together.

    Args:
        model: has `theirs` of diffusers, and the `velocity` of a `Denoiser`.
        batch_of: makes the inputs of a model, side and count, with `step` and `inputs`.
    """
    one, four = batch_of(model, side, 1), batch_of(model, side, 4)
    given = one.inputs()
    turns: dict[str, tuple[int, Any]] = {
        "Salon op by op": (1, one.step), "Salon op by op, 4 together": (4, four.step),
        "diffusers eager": (1, lambda: model.theirs(**given, return_dict=False)),
    }  # fmt: skip
    if gpu.timed:
        graphs, pages = gpu.graphs(model), no_pages(gpu)
        for count, batch in ((1, one), (4, four)):
            turns[f"Salon as a graph, {count} together"] = (
                count, partial(graphs.velocity, batch.layout, [batch.latents], batch.times, pages),
            )  # fmt: skip
    count = bench.pick(1, 3, 3)
    found = interleave(
        {name: partial(gpu.values, call, count=count, cold=False) for name, (_, call) in turns.items()},
        rounds=bench.pick(1, 1, 2), deadline=bench.deadline,
    )  # fmt: skip
    base = found["diffusers eager"].median
    for name, samples in found.items():
        together, ms = turns[name][0], samples.median
        bench.row(
            candidate=name, pixels=f"{side} x {side}", batch=together, ms=ms, n=len(samples),
            each_ms=ms / together if ms else None, gain=base * together / ms if base and ms else None,
            error=error if name.startswith("Salon") else None,
        )  # fmt: skip
