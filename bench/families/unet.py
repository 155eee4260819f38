"""SDXL and Stable Diffusion 1.5 against diffusers' pipelines: their parts, whole pictures, and a level of SDXL's width.

What a UNet puts out is compared after Salon's velocity is turned back into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..peers.base import DTYPES, F32, USUAL
from . import adapters, tiny_flux, tiny_unet
from .blocks import Blocks, Row, relative, taking_turns

SIDE: Final = 32  # of a picture, which is 16 x 16 latents of the tiny autoencoder
FACTOR: Final = 2  # of that
PROMPTS: Final = ("a big red apple on the house", tiny_flux.LONG)
WIDTH, HEADS, TEXT, ROWS = 640, 10, 2048, 77  # of SDXL's middle level
ARENA: Final = "texts in the arena"
SHAPE: Final = "a UNet of one level of SDXL's 640 columns: five resnets, and four transformers of two layers"


def parity(scratch: Path) -> Iterator[Row]:
    """Yield what Salon's float32 differs from diffusers' by, for each part of the models and for whole pictures."""
    from ...engine.engine import Engine

    models = {
        "sdxl": tiny_unet.xl_pipeline(),
        "sdxl, DPM++ 2M Karras": tiny_unet.xl_dpm(),
        "sd15": tiny_unet.sd_pipeline(),
        "sd15, v": tiny_unet.sd_pipeline("v_prediction"),
    }
    for name, built in models.items():
        built.set_progress_bar_config(disable=True)
        folder = scratch / name.replace(", ", "-").replace(" ", "-")
        built.save_pretrained(folder)
        engine = Engine.load(folder, dtype="float32", threads=1)
        if name != "sdxl, DPM++ 2M Karras":
            yield from _parts(name, engine, built)
        for number, prompt in enumerate(PROMPTS):
            error = float(np.mean((_drawn(engine, prompt) / 255 - _picture(built, prompt)) ** 2))
            length = "long" if number else "short"
            yield Row(f"{name}: picture of a {length} prompt, 4 steps", None, float(-10 * np.log10(max(error, 1e-12))))
    yield from adapters.sdxl_images(scratch / "images")


def _parts(name: str, engine: Any, built: Any) -> Iterator[Row]:
    """Yield the errors of text encoders, UNet and autoencoder."""
    import torch

    from ...engine.denoiser import Sample
    from ...engine.trained import input_factors

    model = engine.model
    for prompt in PROMPTS:
        encoding = model.text.encode(prompt)
        states, pooled = _encoded(built, prompt)
        yield Row(f"{name}: text states, {len(prompt)} characters", relative(encoding.tokens, states.numpy()))
        if len(pooled):
            yield Row(f"{name}: pooled text, {len(prompt)} characters", relative(encoding.pooled, pooled.numpy()))
    random, sigma, schedule = np.random.default_rng(3), np.array([0.6], np.float32), model.denoiser.schedule
    c, p, q = input_factors(sigma, schedule.prediction)
    for height, width in ((16, 16), (7, 13)):
        x = random.standard_normal((height * width, 4)).astype(np.float32)
        layout = model.denoiser.layout(engine.ops, [Sample((height, width), encoding)])
        (numbers,) = engine.ops.vectors(model.denoiser.times(sigma))
        ours = engine.ops.numpy(model.denoiser.velocity(engine.ops, layout, engine.ops.array(x, "float32"), numbers))
        seen = torch.from_numpy((c * x).reshape(height, width, 4).transpose(2, 0, 1).copy())[None]
        sides = (FACTOR * height, FACTOR * width)
        added = {"text_embeds": pooled[None], "time_ids": torch.tensor([[*sides, 0.0, 0.0, *sides]])}
        with torch.no_grad():
            theirs = built.unet(
                seen, float(schedule.times(sigma)[0]), encoder_hidden_states=states[None], return_dict=False,
                added_cond_kwargs=added if len(pooled) else None,
            )[0]  # fmt: skip
        out = theirs[0].permute(1, 2, 0).reshape(-1, 4).numpy()
        yield Row(f"{name}: UNet, {height} x {width} latents", relative((ours - q * x) / p, out))
    tokens = random.standard_normal((35, 4)).astype(np.float32)
    grids = np.array([(5, 7)], np.int32)
    ours = engine.ops.numpy(model.denoiser.codec.decode(engine.ops, engine.ops.array(tokens, "float32"), grids))
    z = torch.from_numpy(tokens.reshape(5, 7, 4).transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        theirs = built.vae.decode(z / built.vae.config.scaling_factor).sample[0]
    yield Row(f"{name}: decoded picture", relative(ours, theirs.permute(1, 2, 0).reshape(-1, 3).numpy()))


def _encoded(built: Any, prompt: str) -> tuple[Any, Any]:
    """Return states and pooled vector as the pipeline has them."""
    import torch

    with torch.no_grad():
        if hasattr(built, "text_encoder_2"):
            states, _, pooled, _ = built.encode_prompt(prompt)
            return states[0], pooled[0]
        return built.encode_prompt(prompt, "cpu", 1, False)[0][0], torch.zeros(0)


def _drawn(engine: Any, prompt: str) -> F32:
    generation = engine.open(engine.make_spec(prompt, seed=7, width=SIDE, height=SIDE, steps=4))
    while generation.state == "running":
        engine.step([generation])
    pixels = engine.finish(generation)[0].astype(np.float32)
    engine.close(generation)
    return np.asarray(pixels, np.float32)


def _picture(built: Any, prompt: str) -> F32:
    import torch

    from ...engine import noise

    side = SIDE // FACTOR
    start = noise.normal(7, 0, 0, side * side, 4).reshape(side, side, 4).transpose(2, 0, 1).copy()
    made = built(
        prompt, height=SIDE, width=SIDE, latents=torch.from_numpy(start)[None], output_type="np", num_inference_steps=4
    )
    return np.asarray(made.images[0], np.float32)


def blocks(scratch: Path, threads: int, side: int, tiny: bool, compiled: bool) -> Blocks:
    """Return a UNet of one level of SDXL's width, at the resolution that this level has.

    Args:
        side: of the picture, in pixels.
        tiny: a narrow one, to see that this runs.
        compiled: whether diffusers under torch.compile takes part, too.
    """
    import torch

    from ...engine.config import Config
    from ...engine.models import unet
    from ...engine.trained import EULER, TrainedSigmas, input_factors

    theirs, ops, ours = _level(scratch, threads, tiny)
    (sample,) = _samples(ours, side, 1)
    grid, states = sample.grid, sample.text.tokens
    x = np.random.default_rng(2).standard_normal((sample.rows, 4)).astype(np.float32)
    schedule = TrainedSigmas.read(Config(scratch, {"_class_name": EULER}))
    sigma = np.array([0.5], np.float32)
    c, p, q = input_factors(sigma, schedule.prediction)
    layout = unet.layout(ops, ours, [sample], 8)
    (numbers,), noisy = ops.vectors(unet.times(schedule, sigma)), ops.array(x, "float32")
    dtype = getattr(torch, DTYPES[USUAL])
    seen = torch.from_numpy((c * x).reshape(*grid, 4).transpose(2, 0, 1).copy())[None].to(dtype)
    timestep, told = float(schedule.times(sigma)[0]), torch.from_numpy(states)[None].to(dtype)

    def salon() -> Any:
        return unet.velocity(ops, ours, layout, noisy, numbers)

    def answer(model: Any) -> Any:
        return model(seen, timestep, encoder_hidden_states=told, return_dict=False)[0]

    out = answer(theirs)[0].float().permute(1, 2, 0).reshape(-1, 4).numpy()
    error = relative((ops.numpy(salon()) - q * x) / p, out)
    return taking_turns(sample.rows, salon, theirs, answer, error, SHAPE, compiled=compiled)


def changing(scratch: Path, threads: int, side: int, tiny: bool) -> Blocks:
    """Return steps of two samples in a batch that has just changed: the keys and values of their texts are computed
    anew, or are in the arena. `error`: of the one against the other.

    Args:
        side, tiny: as of `blocks`.
    """
    from ...engine.adapters.arena import Arena, copied
    from ...engine.config import Config
    from ...engine.denoiser import KeptText
    from ...engine.models import unet, unet_texts
    from ...engine.trained import EULER, TrainedSigmas

    _, ops, ours = _level(scratch, threads, tiny)
    samples = _samples(ours, side, 2)
    widths = [each.width for each in ours.transformers for _ in each.layers]
    arena = Arena(ops, len(widths), widths, 2**30)
    for name, sample in zip("ab", samples, strict=True):
        arena.pin(name, ROWS, copied(ops, unet_texts.text_keys(ops, ours, [sample])))
    kept = [
        replace(sample, kept_text=KeptText(arena.rows(name), arena))
        for name, sample in zip("ab", samples, strict=True)
    ]  # fmt: skip
    rows = sum(sample.rows for sample in samples)
    noisy = ops.array(np.random.default_rng(2).standard_normal((rows, 4)).astype(np.float32), "float32")
    schedule = TrainedSigmas.read(Config(scratch, {"_class_name": EULER}))
    (numbers,) = ops.vectors(unet.times(schedule, np.array([0.5, 0.7], np.float32)))

    def step(batch: Any) -> Any:
        return unet.velocity(ops, ours, unet.layout(ops, ours, batch, 8), noisy, numbers)

    error = relative(ops.numpy(step(kept)), ops.numpy(step(samples)))
    turns: dict[str, Callable[[], Any]] = {
        ARENA: partial(step, kept), "texts computed anew": partial(step, samples)
    }  # fmt: skip
    return Blocks(rows, turns, error, None, f"two samples of {SHAPE}")


def _level(scratch: Path, threads: int, tiny: bool) -> tuple[Any, Any, Any]:
    """Return diffusers' UNet of one level, and a table with its weights packed."""
    import torch
    from diffusers import UNet2DConditionModel

    from ...engine.checkpoint import Component
    from ...engine.models import unet
    from ...kernels.backends import create

    width, heads, text = (64, 2, 32) if tiny else (WIDTH, HEADS, TEXT)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = UNet2DConditionModel(
            block_out_channels=(width,), layers_per_block=1, attention_head_dim=heads, transformer_layers_per_block=2,
            down_block_types=["CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D"],
            cross_attention_dim=text, use_linear_projection=True,
        ).to(getattr(torch, DTYPES[USUAL]))  # fmt: skip
    theirs.eval().save_pretrained(scratch / "unet")
    ops = create("cpu", dtype=DTYPES[USUAL], threads=threads)
    return theirs, ops, unet.load_unet(ops, Component(scratch / "unet", "unet"))


def _samples(ours: Any, side: int, count: int) -> list[Any]:
    """Return samples of pictures so long and wide, each with a text of its own."""
    from ...engine.denoiser import Sample
    from ...engine.text.pipeline import TextEncoding

    random, width = np.random.default_rng(1), ours.config.cross_attention_dim
    texts = [random.standard_normal((ROWS, width)).astype(np.float32) for _ in range(count)]
    return [Sample((side // 16, side // 16), TextEncoding(text, np.zeros(0, np.float32))) for text in texts]
