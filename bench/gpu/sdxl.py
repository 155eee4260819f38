"""A UNet of the shape of SDXL (2.6 billion parameters) with random weights, beside diffusers."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...engine.config import Config
from ...engine.denoiser import Sample
from ...engine.models import unet
from ...engine.text.pipeline import TextEncoding
from ...engine.trained import EULER, TrainedSigmas, input_factors
from ..report import Goal
from ..runner import Bench
from .flux2 import COLUMNS, compare
from .setting import Gpu, attempt

FACTOR: Final = 8  # pixels along the side of a latent
SIGMA: Final = 0.5
SIZES: Final = 6  # numbers that the model is told of a picture's size, in 256 columns each
COLUMNS_OF_SIZE: Final = 256


@dataclass(frozen=True)
class Shape:
    """Sizes of a UNet and of what is drawn with it."""

    widths: tuple[int, ...]
    heads: tuple[int, ...]
    layers: tuple[int, ...]  # of each level's transformers; 0: it has none
    text_rows: int
    text_width: int
    pooled: int
    sides: tuple[int, ...]


SDXL = Shape((320, 640, 1280), (5, 10, 20), (0, 2, 10), 77, 2048, 1280, (512, 1024))
TINY = Shape((32, 64), (1, 1), (0, 1), 4, 32, 16, (64,))


class Model:
    """The packed UNet, and diffusers' own with the same random weights."""

    def __init__(self, gpu: Gpu, shape: Shape) -> None:
        import torch
        from diffusers import UNet2DConditionModel

        from ...engine.checkpoint import Component

        torch.manual_seed(0)
        self.gpu, self.shape = gpu, shape
        attends = [bool(count) for count in shape.layers]
        down = ["CrossAttnDownBlock2D" if each else "DownBlock2D" for each in attends]
        up = ["CrossAttnUpBlock2D" if each else "UpBlock2D" for each in reversed(attends)]
        with tempfile.TemporaryDirectory(prefix="salon-bench-") as scratch, torch.device(gpu.device):
            theirs = UNet2DConditionModel(
                block_out_channels=shape.widths, layers_per_block=2, attention_head_dim=list(shape.heads),
                down_block_types=down, up_block_types=up,
                transformer_layers_per_block=[max(1, count) for count in shape.layers],
                cross_attention_dim=shape.text_width, use_linear_projection=True, addition_embed_type="text_time",
                addition_time_embed_dim=COLUMNS_OF_SIZE,
                projection_class_embeddings_input_dim=shape.pooled + SIZES * COLUMNS_OF_SIZE,
            )  # fmt: skip
            theirs.to(gpu.dtype).save_pretrained(Path(scratch) / "unet")
            self.theirs: Any = theirs.eval()
            self.weights = unet.load_unet(gpu.ops, Component(Path(scratch) / "unet", "unet"))
            self.schedule = TrainedSigmas.read(Config(Path(scratch), {"_class_name": EULER}))

    def velocity(self, ops: Any, layout: Any, latents: Any, times: Any, pages: Any = None) -> Any:
        """Evaluate the model; see `Denoiser`."""
        return unet.velocity(ops, self.weights, layout, latents, times)


class Batch:
    """Inputs of one evaluation of `count` square pictures, all alike."""

    def __init__(self, model: Model, side: int, count: int) -> None:
        gpu, shape, rng = model.gpu, model.shape, np.random.default_rng(1)
        self.model, self.side, self.grid = model, side, (side // FACTOR, side // FACTOR)
        self.text = rng.standard_normal((shape.text_rows, shape.text_width)).astype(np.float32)
        self.pooled = rng.standard_normal(shape.pooled).astype(np.float32)
        self.numbers = rng.standard_normal((self.grid[0] * self.grid[1], 4)).astype(np.float32)
        self.latents = gpu.ops.array(np.tile(self.numbers, (count, 1)), "float32")
        (self.times,) = gpu.ops.vectors(unet.times(model.schedule, np.full(count, SIGMA, np.float32)))
        sample = Sample(self.grid, TextEncoding(self.text, self.pooled))
        self.layout = unet.layout(gpu.ops, model.weights, [sample] * count, FACTOR)

    def step(self) -> Any:
        """Evaluate the model op by op."""
        return self.model.velocity(self.model.gpu.ops, self.layout, self.latents, self.times)

    def inputs(self) -> dict[str, Any]:
        """Return diffusers' arguments for one picture."""
        gpu, torch, sigma = self.model.gpu, self.model.gpu.torch, np.array([SIGMA], np.float32)
        c = input_factors(sigma, self.model.schedule.prediction)[0]
        seen = (c * self.numbers).reshape(*self.grid, 4).transpose(2, 0, 1).copy()
        told = (seen, self.text, self.pooled, np.array([self.side, self.side, 0, 0, self.side, self.side], np.float32))
        sample, states, pooled, sizes = (torch.from_numpy(x).to(gpu.device, gpu.dtype)[None] for x in told)
        return {
            "sample": sample, "encoder_hidden_states": states,
            "timestep": torch.tensor(float(self.model.schedule.times(sigma)[0]), device=gpu.device),
            "added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes},
        }  # fmt: skip


def body(bench: Bench, gpu: Gpu) -> None:
    """Measure a step of a UNet of SDXL's shape beside diffusers' own, and what sharing it gains."""
    bench.columns = COLUMNS
    bench.use("diffusers")
    gpu.model = None  # of FLUX.1's shape
    gpu.give_back()
    with gpu.torch.no_grad():
        model = Model(gpu, TINY if bench.tiny else SDXL)
        shape, error = model.shape, agreement(model)
        bench.note(f"a UNet of levels {shape.widths} wide, {shape.text_rows} text rows, random weights")
        bench.goal(Goal.at_most("the UNet against diffusers", 0.05, error, " of the largest value"))
        for side in shape.sides:
            with attempt(bench, f"{side} x {side}"):
                compare(bench, gpu, model, side, error, Batch)
    gpu.give_back()


def agreement(model: Model) -> float:
    """Return the largest difference of what the UNet puts out from diffusers' over the largest value."""
    batch, sigma = Batch(model, 64, 1), np.array([SIGMA], np.float32)
    _, p, q = input_factors(sigma, model.schedule.prediction)
    want = model.theirs(**batch.inputs(), return_dict=False)[0][0].float().cpu().numpy()
    got = (model.gpu.ops.numpy(batch.step()) - q * batch.numbers) / p
    want = want.transpose(1, 2, 0).reshape(-1, 4)
    return float(np.abs(got - want).max() / np.abs(want).max())
