"""One double and one single stream block at the width of FLUX.1, random weights: the kernels beyond the small model.

`python -m salon.bench.flux_width [--quick] [--threads N]`

Width 3072, 24 heads of 128; 1,024 and 4,096 image tokens with 512 text tokens (a 512 x 512 and a 1024 x 1024 picture),
one sample. The same random checkpoint goes to Salon's model code and to diffusers, which take turns: in bf16 where the
CPU multiplies it, else in float32.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .measure import interleave, timed
from .peaks import DotProducts, floor_ms, gflops_per_core
from .peers.base import DTYPES, F32, USUAL, image_ids
from .report import Goal
from .runner import Bench, run
from .torch_mode import torch_as_rival

CHANNELS, TEXT_WIDTH, POOLED_WIDTH = 64, 4096, 768
COLUMNS = [["candidate", "image_tokens", "ms", "p90", "gflops", "share", "times", "error"]]


@dataclass(frozen=True)
class Shape:
    """Width of the blocks, their heads, text rows of a sample, and the sides of the square pictures."""

    width: int
    heads: int
    text_rows: int
    sides: tuple[int, ...]

    def gflop(self, image_rows: int) -> float:
        """Return multiply-adds x 2 of both blocks in 1e9.

        That is 12 D^2 a row and block, and attention; modulation is left out (< 1 %).
        """
        rows = image_rows + self.text_rows
        return 2e-9 * 2 * (rows * 12 * self.width**2 + 2 * rows * rows * self.width)


FLUX, TINY = Shape(3072, 24, 512, (512, 1024)), Shape(256, 2, 16, (64,))


def body(bench: Bench) -> None:
    with torch_as_rival(bench.threads):
        measure(bench)


def measure(bench: Bench) -> None:
    """Compare the blocks at every size that there is time for."""
    bench.use("torch", "diffusers")
    bench.columns = COLUMNS
    shape = TINY if bench.tiny else FLUX
    with tempfile.TemporaryDirectory(prefix="salon-bench-") as scratch:
        with bench.progress("weights", 2) as advance:
            advance("diffusers")
            theirs = random_model(shape, Path(scratch) / "transformer")
            advance("salon")
            ops, ours = load(Path(scratch), bench.threads)
        bench.note(
            f"{ops.name} against diffusers eager {USUAL}; one double, one single block; {shape.text_rows} text rows"
        )
        seconds = 0.0  # of one call of each candidate
        for side in shape.sides:
            if bench.deadline.allows(4 * 2 * seconds):  # the next is 4x the work, and verified first
                seconds = compare(bench, shape, ops, ours, theirs, side)
            else:
                bench.note(f"{side} x {side} left out: it would not fit the time that is left")


def random_model(shape: Shape, folder: Path) -> Any:
    """Make a diffusers transformer of one double and one single block, saved to `folder`."""
    import torch
    from diffusers import FluxTransformer2DModel

    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, DTYPES[USUAL]))
    try:
        model = FluxTransformer2DModel(
            in_channels=CHANNELS,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=shape.width // shape.heads,
            num_attention_heads=shape.heads,
            joint_attention_dim=TEXT_WIDTH,
            pooled_projection_dim=POOLED_WIDTH,
            axes_dims_rope=(16, 56, 56),
        )
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    return model.eval()


def load(root: Path, threads: int) -> tuple[Any, Any]:
    """Return Salon's op table and the same weights packed for it."""
    from ..engine.checkpoint import Component
    from ..engine.models import flux
    from ..kernels.backends import create

    ops = create("cpu", dtype=DTYPES[USUAL], threads=threads)
    return ops, flux.load_flux(ops, Component(root / "transformer", "transformer"))


def compare(bench: Bench, shape: Shape, ops: Any, ours: Any, theirs: Any, side: int) -> float:
    """Verify, measure, add the rows of one size; returns the seconds that one call of each candidate takes."""
    import torch

    from ..engine.denoiser import Sample
    from ..engine.models import flux
    from ..engine.text.pipeline import TextEncoding

    grid = (side // 16, side // 16)
    rows = grid[0] * grid[1]
    random = np.random.default_rng(1)
    latents, text, pooled = (
        random.standard_normal(shape, np.float32)
        for shape in ((rows, CHANNELS), (shape.text_rows, TEXT_WIDTH), (1, POOLED_WIDTH))
    )
    sample, noisy = Sample(grid, TextEncoding(text, pooled[0])), ops.array(latents, "float32")
    (times,) = ops.vectors(np.array([500], np.float32))
    dtype = getattr(torch, DTYPES[USUAL])
    inputs = {
        "hidden_states": torch.from_numpy(latents)[None].to(dtype),
        "encoder_hidden_states": torch.from_numpy(text)[None].to(dtype),
        "pooled_projections": torch.from_numpy(pooled).to(dtype),
        "timestep": torch.tensor([0.5]),
        "img_ids": torch.from_numpy(image_ids(side, side)),
        "txt_ids": torch.zeros(shape.text_rows, 3),
    }

    def salon() -> Any:
        layout = flux.layout(ops, ours, [sample])  # once for many steps in the engine, and at every one by diffusers
        return flux.velocity(ops, ours, layout, noisy, times)

    def diffusers() -> Any:
        return theirs(**inputs, return_dict=False)[0]

    start = time.perf_counter()
    error = difference(np.asarray(ops.numpy(salon()), np.float32), diffusers()[0].float().numpy())
    seconds = time.perf_counter() - start
    probe = DotProducts(DTYPES[USUAL])
    turns = {"Salon cpu": lambda: timed(salon, 1), "diffusers eager": lambda: timed(diffusers, 1)}
    if probe.name:
        turns["peak"] = probe.turn
    rounds = bench.pick(1, 3, 8)
    with bench.progress(f"{rows} image tokens", rounds) as advance:
        results = interleave(turns, rounds=rounds, deadline=bench.deadline, on_round=lambda: advance(""))
    peak = results.pop("peak", None)
    floor = floor_ms(shape.gflop(rows), peak, bench.threads)
    medians = {name: samples.median for name, samples in results.items()}
    rival = medians["diffusers eager"]
    for name, samples in results.items():
        ms = samples.median
        rate = shape.gflop(rows) / ms * 1e3 if ms else None
        bench.row(
            candidate=name,
            image_tokens=rows,
            ms=ms,
            p90=samples.spread[1] if samples.spread else None,
            n=len(samples),
            gflops=rate,
            best=samples.best,
            share=floor / samples.best if floor and samples.best else None,
            times=rival / ms if rival and ms else None,
            error=error if name == "Salon cpu" else None,
        )
    if top := gflops_per_core(peak):
        bench.note(f"{probe.name}: {top:.0f} GFLOP/s a core at best between the turns of {rows} image tokens; "
                   "share: floor over the best run")  # fmt: skip
    mine = medians["Salon cpu"]
    value = rival / mine if rival and mine else None
    bench.goal(Goal.at_least(f"not slower than diffusers at {rows} image tokens", 1.0, value, "x"))
    return seconds


def difference(got: F32, want: F32) -> float:
    """Return the largest difference over the largest magnitude.

    Raise ArithmeticError where it is above .1 or `got` is not finite.
    """
    worst = float(np.abs(got - want).max() / np.abs(want).max())
    if not np.isfinite(got).all() or not worst <= 0.1:
        raise ArithmeticError(f"Salon and diffusers differ by {worst:.3g} of the largest value")
    return worst


main = partial(run, "flux_width", (__doc__ or "").splitlines()[0], body, tied_to="nothing")


if __name__ == "__main__":
    sys.exit(main())
