"""Every model family in bfloat16 beside diffusers in bfloat16: how far each is from float32.

`python -m salon.bench.bfloat16 [--quick] [--threads N] [--only FAMILY]`

A small random model, saved by diffusers, draws the same picture from the same noise three times: diffusers in float32,
which is the measure (Salon's float32 is compared with it by `families`), diffusers in bfloat16 as its users load it,
and Salon in bfloat16. Text encoders, every step and the autoencoder compute in it. Of the denoiser's first evaluation
each library's bfloat16 is compared with its own float32, as the root mean square of the difference over that of the
output. Salon runs on the cpu backend where the CPU multiplies bfloat16. Elsewhere the reference backend's results are
rounded where the op table says so (`bfloat16_table.py`). The result says which, in place of the instruction set.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import numpy as np

from ..kernels import backends
from .bfloat16_table import Bfloat16Ops
from .families import tiny_flux, tiny_flux2, tiny_krea2, tiny_qwen, tiny_unet, tiny_z_image
from .peers.base import F32, USUAL
from .report import Goal
from .runner import Bench, run
from .torch_mode import torch_as_rival

SIDE: Final = 32  # of a picture
STEPS: Final = 2
SEED: Final = 7
PROMPT: Final = "a big red apple on the house"
# Both round at random, in other places: two equally good ones come out a few per cent apart.
MOST: Final = 1.05  # times diffusers' own error
LEAST: Final = -0.5  # dB, of a picture against diffusers' own
COLUMNS: Final = [["family", "what", "salon", "diffusers", "times"]]


class Family(NamedTuple):
    """How a family is drawn.

    Attributes:
        make: returns diffusers' pipeline with random weights.
        channels, down: of its tokens, and pixels along a side of one.
        packed: whether its pipeline takes noise as tokens, [1, tokens, channels]; else as a picture of latents.
        patch: latents along a side of a token, where the pipeline takes a picture of these.
        theirs, ours: what a call of the pipeline and Salon's spec say beside the prompt, the size and the steps.
    """

    make: Callable[[], Any]
    channels: int
    down: int = 4
    packed: bool = True
    patch: int = 1
    theirs: Mapping[str, Any] = {}
    ours: Mapping[str, Any] = {}


FAMILIES: Final[Mapping[str, Family]] = {
    "flux": Family(partial(tiny_flux.pipeline, dev=False), 16, theirs={"max_sequence_length": 256}),
    "flux2": Family(partial(tiny_flux2.pipeline, dev=False), 16, packed=False),
    "qwen_image": Family(
        tiny_qwen.pipeline, 64, theirs={"true_cfg_scale": 1.0}, ours={"guidance_scale": 1.0},
    ),
    "z_image": Family(tiny_z_image.pipeline, 16, packed=False, patch=2),
    "krea2": Family(tiny_krea2.pipeline, 64, theirs={"max_sequence_length": 32}),
    "sdxl": Family(tiny_unet.xl_pipeline, 4, down=2, packed=False),
    "sd15": Family(tiny_unet.sd_pipeline, 4, down=2, packed=False),
}  # fmt: skip


class Drawn(NamedTuple):
    """A picture float32 [height, width, 3] of 0..1, and what the denoiser first answered, float32 [n]."""

    picture: F32
    answer: F32


def body(bench: Bench) -> None:
    bench.use("torch", "diffusers", "transformers")
    bench.columns = COLUMNS
    names = [bench.options.only] if bench.options.only else bench.pick(["z_image"], [*FAMILIES], [*FAMILIES])
    with torch_as_rival(bench.threads), bench.progress("", len(names)) as advance:
        for name in names:
            if bench.deadline.left() <= 0:
                break
            with tempfile.TemporaryDirectory(prefix="salon-bench-") as scratch:
                measured(bench, name, FAMILIES[name], Path(scratch))
            advance(name)


def measured(bench: Bench, name: str, family: Family, folder: Path) -> None:
    """Add the rows and goals of a family, whose model is saved in a folder."""
    import torch

    from ..engine.engine import Engine

    built = family.make()
    built.save_pretrained(folder)
    want, same = theirs(built, family), theirs(built, family, rounded=True)
    half = theirs(type(built).from_pretrained(folder, dtype=torch.bfloat16), family, rounded=True)
    exact = ours(Engine.load(folder, dtype="float32", threads=1), family)
    with nullcontext() if USUAL == "bf16" else patch.object(backends, "create", lambda *args, **options: Bfloat16Ops()):
        engine = Engine.load(folder, dtype="bfloat16", threads=bench.threads)
    mine = ours(engine, family)
    bench.report.isa = f"{engine.ops.name} {engine.ops.compute}"
    errors = off(mine.answer, exact.answer), off(half.answer, same.answer)
    times = errors[0] / errors[1]
    bench.row(family=name, what="first evaluation, error", salon=errors[0], diffusers=errors[1], times=times)
    bench.goal(Goal.at_most(f"{name}: error of an evaluation, of diffusers' own", MOST, times, ""))
    near = decibels(mine.picture, want.picture), decibels(half.picture, same.picture)
    what = f"picture, {STEPS} steps, dB"
    bench.row(family=name, what=what, salon=near[0], diffusers=near[1], float32=decibels(exact.picture, want.picture))
    bench.goal(Goal.at_least(f"{name}: picture nearer than diffusers' own", LEAST, near[0] - near[1], "dB"))


def theirs(built: Any, family: Family, *, rounded: bool = False) -> Drawn:
    """Return what a pipeline draws, in the dtype that it was loaded in.

    `rounded`: from noise that bfloat16 holds exactly, as a pipeline that is loaded in it draws for itself.
    """
    import torch

    from ..engine import noise
    from ..engine.codecs.packed_kl import unpack

    side, seen = SIDE // family.down, list[Any]()
    start = noise.normal(SEED, 0, 0, side * side, family.channels)
    if not family.packed:
        start = unpack(start, side, side) if family.patch == 2 else start
        latents = family.patch * side
        start = start.reshape(latents, latents, -1).transpose(2, 0, 1).copy()
    drawn = torch.from_numpy(start)[None]
    network = getattr(built, "transformer", None) or built.unet
    hook = network.register_forward_hook(lambda network, given, answer: seen.append(_numbers(answer)))
    built.set_progress_bar_config(disable=True)
    made = built(
        prompt=PROMPT, height=SIDE, width=SIDE, num_inference_steps=STEPS, output_type="np",
        latents=drawn.to(torch.bfloat16).to(network.dtype) if rounded else drawn, **family.theirs,
    )  # fmt: skip
    hook.remove()
    return Drawn(np.asarray(made.images[0], np.float32), seen[0])


def _numbers(answer: Any) -> F32:
    """Return all numbers that a network answers, whose tensors lie in tuples and lists."""
    if hasattr(answer, "float"):
        return np.asarray(answer.float().numpy(), np.float32).reshape(-1)
    parts = answer.values() if hasattr(answer, "values") else answer
    return np.concatenate([_numbers(each) for each in parts if each is not None])


def ours(engine: Any, family: Family) -> Drawn:
    """Return what an engine draws."""
    denoiser, seen = engine.model.denoiser, list[F32]()
    usual = denoiser.velocity

    def noted(ops: Any, layout: Any, latents: Any, times: Any, pages: Any = None) -> Any:
        before = ops.numpy(latents)
        velocity = usual(ops, layout, latents, times, pages)
        answer = ops.numpy(velocity)
        if hasattr(denoiser, "schedule"):  # a UNet, whose velocity has the latents themselves in it
            _, _, p, q = np.asarray(times).reshape(4, -1)
            answer = (answer - q[0] * before) / p[0]
        seen.append(answer.reshape(-1))
        return velocity

    said = {"seed": SEED, "width": SIDE, "height": SIDE, "steps": STEPS, **family.ours}
    generation = engine.open(engine.make_spec(PROMPT, **said))
    with patch.object(denoiser, "velocity", noted):
        while generation.state == "running":
            engine.step([generation])
    picture = np.asarray(engine.finish(generation)[0] / 255, np.float32)
    engine.close(generation)
    return Drawn(picture, seen[0])


def off(got: F32, want: F32) -> float:
    """Return the root mean square of a difference over that of what is wanted. ArithmeticError: got NaN or infinity."""
    if got.shape != want.shape or not np.isfinite(got).all():
        raise ArithmeticError(f"got {got.shape} of finite: {np.isfinite(got).all()}, want {want.shape}")
    return float(np.linalg.norm(got.astype(np.float64) - want) / np.linalg.norm(want.astype(np.float64)))


def decibels(got: F32, want: F32) -> float:
    """Return how near two pictures of 0..1 are."""
    return float(-10 * np.log10(max(float(np.mean((got.astype(np.float64) - want) ** 2)), 1e-12)))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=tuple(FAMILIES), metavar="FAMILY", help=f"one of {', '.join(FAMILIES)}")


main = partial(run, "bfloat16", (__doc__ or "").splitlines()[0], body, arguments=arguments, tied_to="nothing")


if __name__ == "__main__":
    sys.exit(main())
