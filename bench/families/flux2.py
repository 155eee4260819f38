"""FLUX.2 against diffusers' pipelines: each of its parts, its whole pictures, and blocks of [klein] 4B's width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from ..peers.base import DTYPES, F32, USUAL
from . import references, tiny_flux, tiny_flux2
from .blocks import Blocks, Row, made_in, relative, taking_turns

SIDE: Final = 32  # of a picture, which is 8 x 8 tokens
PROMPTS: Final = ("a big red apple on the house", tiny_flux.LONG)
KLEIN: Final = {"num_attention_heads": 24, "joint_attention_dim": 7680, "guidance_embeds": False}
NARROW: Final = {"num_attention_heads": 2, "joint_attention_dim": 96, "guidance_embeds": False}
TEXT_ROWS: Final = 512
SHAPE: Final = "one double and one single block of the real width"


def parity(scratch: Path) -> Iterator[Row]:
    """Yield what Salon's float32 differs from diffusers' by, for each part of both models and for whole pictures."""
    from ...engine.engine import Engine

    for name, dev in (("dev", True), ("klein base", False)):
        built = tiny_flux2.pipeline(dev=dev, distilled=False)
        built.save_pretrained(scratch / name)
        engine = Engine.load(scratch / name, dtype="float32", threads=1)
        yield from parts(name, engine, built)
        error = float(np.mean((drawn(engine, PROMPTS[0]) / 255 - picture(built, PROMPTS[0])) ** 2))
        yield Row(f"{name}: picture, 3 steps", None, float(-10 * np.log10(max(error, 1e-12))))
        beside = partial(with_references, built)
        yield from references.rows(name, engine, built, several=True, theirs=beside)
    built = tiny_flux2.pipeline(dev=False, keeping=True)
    built.save_pretrained(scratch / "klein KV")
    engine = Engine.load(scratch / "klein KV", dtype="float32", threads=1)
    yield from kept(engine, built)


def kept(engine: Any, built: Any) -> Iterator[Row]:
    """Yield the errors of velocities beside references whose keys are kept, as of the first step and of a later one,
    and the decibels of a picture."""
    import torch

    from ...engine.denoiser import KeptReferences, Sample

    model, ops, random = engine.model, engine.ops, np.random.default_rng(3)
    given = references.pictures(2)
    grid, grids = (8, 8), tuple((pixels.shape[0] // 4, pixels.shape[1] // 4) for pixels in given)
    encoding, count = model.text.encode(references.PROMPT), sum(height * width for height, width in grids)
    latents, looked = (random.standard_normal((rows, 16), np.float32) for rows in (64, count))
    met = KeptReferences(grids, ops.array(looked, "float32"))
    layout = model.denoiser.layout(ops, [Sample(grid, encoding, kept=met)])
    text = torch.from_numpy(encoding.tokens.copy())[None]
    own = built._prepare_latent_ids(torch.zeros(1, 16, *grid))
    beside = built._prepare_image_ids([torch.zeros(1, 16, *each) for each in grids])
    inputs = {"encoder_hidden_states": text, "txt_ids": built._prepare_text_ids(text), "return_dict": False}
    cache = None
    for sigma in (0.9, 0.3):
        (times,) = ops.vectors(model.denoiser.times(np.array([sigma], np.float32)))
        ours = ops.numpy(model.denoiser.velocity(ops, layout, ops.array(latents, "float32"), times))
        seen, places, mode = torch.from_numpy(latents)[None], own, {"kv_cache": cache, "kv_cache_mode": "cached"}
        if cache is None:
            seen, places = torch.cat([torch.from_numpy(looked)[None], seen], dim=1), torch.cat([beside, own], dim=1)
            mode = {"kv_cache_mode": "extract", "num_ref_tokens": count}
        with torch.no_grad():
            found = built.transformer(
                hidden_states=seen, img_ids=places, timestep=torch.tensor([sigma]), guidance=None, **mode, **inputs
            )
        cache = cache or found[1]
        yield Row(f"klein KV: velocity beside 2 references at {sigma}", relative(ours, found[0][0].numpy()))
    made = references.drawn(engine, references.looking(engine, given))[0]
    decibels = references.decibels(made, with_references(built, given))
    yield Row("klein KV: picture with 2 references, 3 steps", None, decibels)


def with_references(built: Any, pictures: Sequence[NDArray[np.uint8]]) -> F32:
    """Return what a pipeline draws, float32 [SIDE, SIDE, 3] of 0..1, while it looks at pictures."""
    from PIL import Image

    # diffusers takes none with sides below 64 pixels, where the tiny models are tiny
    with patch.object(type(built.image_processor), "check_image_input", staticmethod(lambda image: image)):
        return picture(built, references.PROMPT, image=[Image.fromarray(pixels) for pixels in pictures])


def parts(name: str, engine: Any, built: Any) -> Iterator[Row]:
    """Yield the errors of text encoder, transformer and autoencoder."""
    import torch

    from ...engine.denoiser import Sample

    model = engine.model
    for prompt in PROMPTS:
        encoding = model.text.encode(prompt)
        with torch.no_grad():
            states, places = built.encode_prompt(prompt)
        yield Row(f"{name}: states, {len(prompt)} characters", relative(encoding.tokens, states[0].numpy()))
    random = np.random.default_rng(3)
    for height, width in ((8, 8), (4, 13)):
        latents = random.standard_normal((height * width, 16), np.float32)
        guidance = 3.5 if model.architecture.embedded_guidance else None
        layout = model.denoiser.layout(engine.ops, [Sample((height, width), encoding, guidance)])
        (times,) = engine.ops.vectors(model.denoiser.times(np.array([0.6], np.float32)))
        ours = model.denoiser.velocity(engine.ops, layout, engine.ops.array(latents, "float32"), times)
        with torch.no_grad():
            theirs = built.transformer(
                hidden_states=torch.from_numpy(latents)[None], timestep=torch.tensor([0.6]),
                guidance=None if guidance is None else torch.tensor([guidance]), encoder_hidden_states=states,
                txt_ids=places, img_ids=built._prepare_latent_ids(torch.zeros(1, 16, height, width)),
                return_dict=False,
            )[0]  # fmt: skip
        yield Row(f"{name}: velocity, {height} x {width} tokens", relative(engine.ops.numpy(ours), theirs[0].numpy()))
    tokens = random.standard_normal((35, 16), np.float32)
    grid, codec = np.array([(5, 7)], np.int32), model.denoiser.codec
    ours = engine.ops.numpy(codec.decode(engine.ops, engine.ops.array(tokens, "float32"), grid))
    with torch.no_grad():
        normed = torch.from_numpy(tokens.T.reshape(1, 16, 5, 7).copy())
        deviation = torch.sqrt(built.vae.bn.running_var + built.vae.config.batch_norm_eps).view(1, -1, 1, 1)
        z = built._unpatchify_latents(normed * deviation + built.vae.bn.running_mean.view(1, -1, 1, 1))
        theirs = built.vae.decode(z).sample[0].permute(1, 2, 0).reshape(-1, 3).numpy()
    yield Row(f"{name}: decoded picture", relative(ours, theirs))


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

    rows, columns = SIDE // 4, width // 4
    start = noise.normal(7, 0, 0, rows * columns, 16)
    latents = torch.from_numpy(start.T.reshape(1, 16, rows, columns).copy())
    built.set_progress_bar_config(disable=True)
    made = built(
        prompt=prompt, height=SIDE, width=width, latents=latents, output_type="np",
        **{"num_inference_steps": 3, **fields},
    )  # fmt: skip
    return np.asarray(made.images[0], np.float32)


def blocks(scratch: Path, threads: int, side: int, tiny: bool, compiled: bool) -> Blocks:
    """Return one double and one single block of [klein] 4B's width, in the dtype that the CPU multiplies.

    Args:
        side: of the picture, in pixels.
        tiny: narrow blocks, to see that this runs.
        compiled: whether diffusers under torch.compile takes part, too.
    """
    import torch
    from diffusers import Flux2Transformer2DModel

    from ...engine.checkpoint import Component
    from ...engine.denoiser import Sample
    from ...engine.models import flux2
    from ...engine.text.pipeline import TextEncoding
    from ...kernels.backends import create

    sizes = NARROW if tiny else KLEIN
    dtype = getattr(torch, DTYPES[USUAL])
    with made_in(dtype):
        theirs = Flux2Transformer2DModel(num_layers=1, num_single_layers=1, **sizes).eval()
    theirs.save_pretrained(scratch / "transformer")
    ops = create("cpu", dtype=DTYPES[USUAL], threads=threads)
    ours = flux2.load_flux2(ops, Component(scratch / "transformer", "transformer"))
    height = width = side // 16
    random = np.random.default_rng(1)
    latents, text = (
        random.standard_normal(shape, np.float32)
        for shape in ((height * width, ours.config.in_channels), (TEXT_ROWS, ours.config.joint_attention_dim))
    )
    image_places, text_places = np.zeros((height * width, 4), np.float32), np.zeros((TEXT_ROWS, 4), np.float32)
    image_places[:, 1], image_places[:, 2] = np.divmod(np.arange(height * width), width)
    text_places[:, 3] = np.arange(TEXT_ROWS)
    inputs = {
        "hidden_states": torch.from_numpy(latents)[None].to(dtype),
        "encoder_hidden_states": torch.from_numpy(text)[None].to(dtype),
        "timestep": torch.tensor([0.5]),
        "img_ids": torch.from_numpy(image_places),
        "txt_ids": torch.from_numpy(text_places),
    }
    noisy = ops.array(latents, "float32")
    (times,) = ops.vectors(np.array([500], np.float32))
    layout = flux2.layout(ops, ours, [Sample((height, width), TextEncoding(text, np.zeros(0, np.float32)))])

    def salon() -> Any:
        return flux2.velocity(ops, ours, layout, noisy, times)

    def answer(model: Any) -> Any:
        return model(**inputs, return_dict=False)[0]

    error = relative(ops.numpy(salon()), answer(theirs)[0].float().numpy())
    return taking_turns(height * width + TEXT_ROWS, salon, theirs, answer, error, SHAPE, compiled=compiled)
