"""Qwen-Image against diffusers' `QwenImagePipeline`: its parts, whole pictures, and a block of the real width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..peers.base import DTYPES, F32, USUAL
from . import tiny_qwen
from .blocks import Blocks, Row, made_in, relative, taking_turns

SIDE: Final = 32  # of a picture, which is 8 x 8 tokens
PROMPTS: Final = ("a big red apple on the house", tiny_qwen.LONG)
HEADS, TEXT, CHANNELS, TEXT_ROWS = 24, 3584, 64, 128
SHAPE: Final = "one double block of the real width"


def parity(scratch: Path) -> Iterator[Row]:
    """Yield what Salon's float32 differs from diffusers' by, for each part of the model and for whole pictures."""
    import torch

    from ...engine import noise
    from ...engine.engine import Engine

    built = tiny_qwen.pipeline()
    built.set_progress_bar_config(disable=True)
    built.save_pretrained(scratch / "qwen")
    engine = Engine.load(scratch / "qwen", dtype="float32", threads=1)
    yield from _parts(engine, built)
    for number, prompt in enumerate(PROMPTS):
        for guidance in (1.0, 4.0):
            spec = engine.make_spec(prompt, seed=7, width=SIDE, height=SIDE, steps=4, guidance_scale=guidance)
            generation = engine.open(spec)
            while generation.state == "running":
                engine.step([generation])
            ours = engine.finish(generation)[0].astype(np.float64) / 255
            engine.close(generation)
            made = built(
                prompt, height=SIDE, width=SIDE, num_inference_steps=4, output_type="np",
                negative_prompt=" " if guidance > 1 else None, true_cfg_scale=guidance,
                latents=torch.from_numpy(noise.normal(7, 0, 0, (SIDE // 4) ** 2, CHANNELS))[None],
            )  # fmt: skip
            error = float(np.mean((ours - made.images[0]) ** 2))
            length = "long" if number else "short"
            what = f"picture of a {length} prompt, 4 steps, guidance {guidance:g}"
            yield Row(what, None, float(-10 * np.log10(max(error, 1e-12))))


def _parts(engine: Any, built: Any) -> Iterator[Row]:
    """Yield the errors of text encoder, transformer and autoencoder."""
    import torch

    from ...engine.denoiser import Sample

    model = engine.model
    for prompt in PROMPTS:
        encoding = model.text.encode(prompt)
        with torch.no_grad():
            states, _ = built.encode_prompt(prompt, max_sequence_length=model.text.num_rows)
        yield Row(f"Qwen2.5-VL states, {len(prompt)} characters", relative(encoding.tokens, states[0].numpy()))
    random = np.random.default_rng(3)
    for height, width in ((8, 8), (4, 13)):
        latents = random.standard_normal((height * width, CHANNELS), np.float32)
        layout = model.denoiser.layout(engine.ops, [Sample((height, width), encoding)])
        (times,) = engine.ops.vectors(model.denoiser.times(np.array([0.6], np.float32)))
        ours = model.denoiser.velocity(engine.ops, layout, engine.ops.array(latents, "float32"), times)
        with torch.no_grad():
            theirs = built.transformer(
                hidden_states=torch.from_numpy(latents)[None], timestep=torch.tensor([0.6]),
                encoder_hidden_states=states, img_shapes=[[(1, height, width)]], return_dict=False,
            )[0]  # fmt: skip
        yield Row(f"velocity, {height} x {width} tokens", relative(engine.ops.numpy(ours), theirs[0].numpy()))
    yield decoded(engine, built)


def decoded(engine: Any, built: Any) -> Row:
    """Return the error of the autoencoder's picture of random tokens."""
    import torch

    grid, codec, vae = (5, 7), engine.model.denoiser.codec, built.vae
    tokens = np.random.default_rng(4).standard_normal((35, CHANNELS), np.float32) * np.float32(0.3)
    ours = engine.ops.numpy(codec.decode(engine.ops, engine.ops.array(tokens, "float32"), np.array([grid], np.int32)))
    z = torch.from_numpy(codec.latents(tokens, grid) * codec._std + codec._mean).permute(2, 0, 1)[None, :, None]
    with torch.no_grad():
        theirs = vae.decode(z).sample[0, :, 0].permute(1, 2, 0).reshape(-1, 3).numpy()
    return Row("decoded picture", relative(np.clip(ours, -1, 1), theirs))  # as diffusers clips it


def blocks(
    scratch: Path, threads: int, side: int, tiny: bool, compiled: bool, *, references: int = 0, still: bool = False
) -> Blocks:
    """Return one block of Qwen-Image's width, in the dtype that the CPU multiplies.

    Args:
        side: of the picture, in pixels.
        tiny: a narrow block, to see that this runs.
        compiled: whether diffusers under torch.compile takes part, too.
        references: pictures beside it, as large as it is.
        still: whether their rows are modulated as at timestep 0.
    """
    import torch
    from diffusers import QwenImageTransformer2DModel

    from ...engine.checkpoint import Component
    from ...engine.denoiser import Sample
    from ...engine.models import qwen_image
    from ...engine.text.pipeline import TextEncoding
    from ...kernels.backends import create

    dtype, heads = getattr(torch, DTYPES[USUAL]), 2 if tiny else HEADS
    with made_in(dtype):
        theirs = QwenImageTransformer2DModel(
            num_layers=1, num_attention_heads=heads, joint_attention_dim=TEXT, zero_cond_t=still
        ).eval()
    theirs.save_pretrained(scratch / "transformer")
    ops = create("cpu", dtype=DTYPES[USUAL], threads=threads)
    ours = qwen_image.load_qwen_image(ops, Component(scratch / "transformer", "transformer"))
    grid = (side // 16, side // 16)
    own = grid[0] * grid[1]
    rows = own * (1 + references)
    random = np.random.default_rng(1)
    latents: F32 = random.standard_normal((rows, CHANNELS), np.float32)
    text: F32 = random.standard_normal((TEXT_ROWS, TEXT), np.float32)
    inputs = {
        "hidden_states": torch.from_numpy(latents)[None].to(dtype),
        "encoder_hidden_states": torch.from_numpy(text)[None].to(dtype),
        "timestep": torch.tensor([0.5]),
        "img_shapes": [[(1, *grid)] * (1 + references)],
    }
    noisy = ops.array(latents, "float32")
    (times,) = ops.vectors(np.array([500], np.float32))
    sample = Sample(grid, TextEncoding(text, np.zeros(0, np.float32)), references=(grid,) * references)
    layout = qwen_image.layout(ops, ours, [sample])

    def salon() -> Any:
        return qwen_image.velocity(ops, ours, layout, noisy, times)

    def answer(model: Any) -> Any:
        return model(**inputs, return_dict=False)[0]

    with torch.no_grad():
        error = relative(ops.numpy(salon())[:own], answer(theirs)[0].float().numpy()[:own])
    return taking_turns(rows + TEXT_ROWS, salon, theirs, answer, error, SHAPE, compiled=compiled, fullgraph=False)
