"""Z-Image against diffusers' `ZImagePipeline`: each of its parts, its whole pictures, and a layer of the real width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..peers.base import DTYPES, F32, USUAL
from . import tiny_flux, tiny_z_image
from .blocks import Blocks, Row, made_in, relative, taking_turns

SIDE: Final = 32  # of a picture, which is 8 x 8 tokens
PROMPTS: Final = ("a big red apple on the house", tiny_flux.LONG)
REAL: Final = {"dim": 3840, "n_heads": 30, "n_kv_heads": 30}
NARROW: Final = {"dim": 256, "n_heads": 2, "n_kv_heads": 2, "cap_feat_dim": 64}
TEXT_ROWS: Final = 512
SHAPE: Final = "one layer of the real width"


def parity(scratch: Path) -> Iterator[Row]:
    """Yield what Salon's float32 differs from diffusers' by, for each part and for whole pictures."""
    from ...engine.engine import Engine

    built = tiny_z_image.pipeline()
    built.save_pretrained(scratch / "model")
    engine = Engine.load(scratch / "model", dtype="float32", threads=1)
    yield from parts(engine, built)
    for number, prompt in enumerate(PROMPTS):
        error = float(np.mean((drawn(engine, prompt) / 255 - picture(built, prompt)) ** 2))
        yield Row(
            f"picture of a {'long' if number else 'short'} prompt, 3 steps", None,
            float(-10 * np.log10(max(error, 1e-12))),
        )  # fmt: skip


def parts(engine: Any, built: Any) -> Iterator[Row]:
    """Yield the errors of text encoder and transformer, at several sizes in one batch: the learned rows differ."""
    import torch

    from ...engine.denoiser import Sample

    model, random = engine.model, np.random.default_rng(3)
    samples, latents, theirs = [], [], []
    for prompt, (height, width), sigma in zip(PROMPTS, ((8, 8), (5, 13)), (0.6, 0.9), strict=True):
        encoding = model.text.encode(prompt)
        with torch.no_grad():
            states = built.encode_prompt(prompt, do_classifier_free_guidance=False)[0][0]
        yield Row(f"states, {len(prompt)} characters", relative(encoding.tokens, states.numpy()))
        samples.append((Sample((height, width), encoding), sigma))
        latents.append(random.standard_normal((height * width, 16), np.float32))
        image = model.denoiser.codec.latents(latents[-1], (height, width)).transpose(2, 0, 1)[:, None]
        with torch.no_grad():
            answer = built.transformer(
                [torch.from_numpy(image.copy())], torch.tensor([1 - sigma]), [states], return_dict=False
            )[0][0]
        theirs.append(-answer[:, 0].numpy().transpose(1, 2, 0))
    ops = engine.ops
    layout = model.denoiser.layout(ops, [sample for sample, _ in samples])
    (times,) = ops.vectors(model.denoiser.times(np.array([sigma for _, sigma in samples], np.float32)))
    ours = ops.numpy(model.denoiser.velocity(ops, layout, ops.array(np.concatenate(latents), "float32"), times))
    for (sample, _), part, want in zip(samples, np.split(ours, [len(latents[0])]), theirs, strict=True):
        got = model.denoiser.codec.latents(part, sample.grid)
        yield Row(f"velocity, {sample.grid[0]} x {sample.grid[1]} tokens", relative(got, want))


def drawn(engine: Any, prompt: str, **fields: Any) -> F32:
    """Return Salon's picture, float32 [height, width, 3] of 0..255."""
    spec = engine.make_spec(prompt, **{"seed": 7, "width": SIDE, "height": SIDE, "steps": 3, **fields})
    generation = engine.open(spec)
    while generation.state == "running":
        engine.step([generation])
    pixels = engine.finish(generation)[0].astype(np.float32)
    engine.close(generation)
    return np.asarray(pixels, np.float32)


def picture(built: Any, prompt: str, *, width: int = SIDE, **fields: Any) -> F32:
    """Return the picture of diffusers' own pipeline from the same noise, float32 [height, width, 3] of 0..1."""
    import torch

    from ...engine import noise
    from ...engine.codecs.packed_kl import unpack

    rows, columns = SIDE // 4, width // 4
    start = unpack(noise.normal(7, 0, 0, rows * columns, 16), rows, columns).reshape(2 * rows, 2 * columns, 4)
    built.set_progress_bar_config(disable=True)
    made = built(
        prompt=prompt, height=SIDE, width=width, latents=torch.from_numpy(start.transpose(2, 0, 1)[None].copy()),
        output_type="np", **{"num_inference_steps": 3, **fields},
    )  # fmt: skip
    return np.asarray(made.images[0], np.float32)


def blocks(scratch: Path, threads: int, side: int, tiny: bool, compiled: bool) -> Blocks:
    """Return one layer of Z-Image's width, in the dtype that the CPU multiplies.

    Args:
        side: of the picture, in pixels.
        tiny: a narrow layer, to see that this runs.
        compiled: whether diffusers under torch.compile takes part, too.
    """
    import torch
    from diffusers import ZImageTransformer2DModel

    from ...engine.checkpoint import Component
    from ...engine.codecs.packed_kl import unpack
    from ...engine.denoiser import Sample
    from ...engine.models import z_image
    from ...engine.text.pipeline import TextEncoding
    from ...kernels.backends import create

    sizes = NARROW if tiny else REAL
    dtype = getattr(torch, DTYPES[USUAL])
    with made_in(dtype):
        theirs = ZImageTransformer2DModel(n_layers=1, n_refiner_layers=0, **sizes).eval()
    theirs.save_pretrained(scratch / "transformer")
    ops = create("cpu", dtype=DTYPES[USUAL], threads=threads)
    ours = z_image.load_z_image(ops, Component(scratch / "transformer", "transformer"))
    height = width = side // 16
    random = np.random.default_rng(1)
    latents, text = (
        random.standard_normal(shape, np.float32)
        for shape in ((height * width, ours.config.token_channels), (TEXT_ROWS, ours.config.cap_feat_dim))
    )
    image = unpack(latents, height, width).reshape(2 * height, 2 * width, -1).transpose(2, 0, 1)[:, None]
    given = torch.from_numpy(image.copy()).to(dtype), torch.from_numpy(text).to(dtype)
    noisy = ops.array(latents, "float32")
    (times,) = ops.vectors(np.array([500], np.float32))
    layout = z_image.layout(ops, ours, [Sample((height, width), TextEncoding(text, np.zeros(0, np.float32)))])

    def salon() -> Any:
        return z_image.velocity(ops, ours, layout, noisy, times)

    def answer(model: Any) -> Any:
        return model([given[0]], torch.tensor([0.5]), [given[1]], return_dict=False)[0][0]

    mine = unpack(ops.numpy(salon()), height, width).reshape(2 * height, 2 * width, -1)
    error = relative(mine, -answer(theirs)[:, 0].float().numpy().transpose(1, 2, 0))
    return taking_turns(
        height * width + TEXT_ROWS, salon, theirs, answer, error, SHAPE, compiled=compiled, fullgraph=False
    )
