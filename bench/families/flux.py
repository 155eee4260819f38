"""FLUX.1 against diffusers' `FluxPipeline`: each of its parts, its whole pictures, and blocks of the real width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from ..peers.base import DTYPES, F32, USUAL, image_ids
from . import adapters, references, tiny_flux
from .blocks import Blocks, Row, relative, taking_turns

SIDE: Final = 32  # of a picture, which is 8 x 8 tokens
PROMPTS: Final = ("a big red apple on the house", tiny_flux.LONG)
SHAPE: Final = "one double and one single block of the real width"


def parity(scratch: Path) -> Iterator[Row]:
    """Yield what Salon's float32 differs from diffusers' by, for each part of both models and for whole pictures."""
    from ...engine import noise
    from ...engine.engine import Engine

    for name, dev in (("dev", True), ("schnell", False)):
        built = tiny_flux.pipeline(dev=dev)
        built.set_progress_bar_config(disable=True)
        folder = scratch / name
        built.save_pretrained(folder)
        engine = Engine.load(folder, dtype="float32", threads=1)
        yield from _parts(name, engine, built)
        tokens = 512 if dev else 256
        for number, prompt in enumerate(PROMPTS):
            start = noise.normal(7, 0, 0, (SIDE // 4) ** 2, 16)
            theirs = _picture(built, prompt, start, tokens)
            ours = _drawn(engine, prompt)
            error = float(np.mean((ours / 255 - theirs) ** 2))
            length = "long" if number else "short"
            yield Row(f"{name}: picture of a {length} prompt, 4 steps", None, float(-10 * np.log10(max(error, 1e-12))))
    yield from kontext(scratch / "kontext")
    yield from fill(scratch / "fill")
    yield from adapters.flux_images(scratch / "images")
    yield from adapters.single_blocks(scratch / "lora")


def fill(folder: Path) -> Iterator[Row]:
    """Yield how near new pixels of FLUX.1 Fill are to diffusers'. `folder`: where the model is saved."""
    from ...engine.engine import Engine

    built = tiny_flux.fill()
    built.save_pretrained(folder)
    ours, theirs = filled(Engine.load(folder, dtype="float32", threads=1), built)
    yield Row("fill: new pixels, 3 steps", None, references.decibels(ours, theirs))


def hole() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a picture uint8 [SIDE, SIDE, 3], and a mask uint8 [SIDE, SIDE] whose edges lie within tokens."""
    squares = np.random.default_rng(5).integers(0, 256, (SIDE // 8, SIDE // 8, 3)).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[5:23, 9:30] = 255
    return squares.repeat(8, axis=0).repeat(8, axis=1), mask


def hole_spec(engine: Any, **fields: Any) -> Any:
    """Return a spec of an engine that fills the hole, whose pictures are added to the engine."""
    from ...engine.start import PictureUse, Start, start_forms

    said = {"seed": 7, "width": SIDE, "height": SIDE, "steps": 3, "start": Start("a" * 64, 1.0, "b" * 64), **fields}
    spec = engine.make_spec(references.PROMPT, **said)
    for form in start_forms(spec):
        engine.add_picture(form, hole()[1 if form.use is PictureUse.MASK else 0])
    return spec


def filled(engine: Any, built: Any, **fields: Any) -> tuple[NDArray[np.uint8], F32]:
    """Return the new pixels of Salon, uint8 [n, 3], and those of diffusers' FluxFillPipeline, float32 of 0..1.
    `fields`: of Salon's spec.

    diffusers draws the latents of what stands around the hole from the autoencoder's distribution. Here it takes the
    middle of that, as Salon does and diffusers itself for every other picture.
    """
    import torch
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
    from PIL import Image

    from ...engine import noise

    pixels, mask = hole()
    built.set_progress_bar_config(disable=True)
    with patch.object(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode()):
        made = built(
            prompt=references.PROMPT, image=Image.fromarray(pixels), mask_image=Image.fromarray(mask), height=SIDE,
            width=SIDE, latents=torch.from_numpy(noise.normal(7, 0, 0, (SIDE // 4) ** 2, 16))[None], output_type="np",
            num_inference_steps=3, guidance_scale=30.0,
        ).images[0]  # fmt: skip
    ours = references.drawn(engine, hole_spec(engine, **fields))[0]
    return ours[mask > 0], np.asarray(made, np.float32)[mask > 0]


def kontext(folder: Path) -> Iterator[Row]:
    """Yield the same of FLUX.1 Kontext beside a picture that it looks at. `folder`: where the model is saved."""
    from ...engine.engine import Engine

    built = tiny_flux.kontext()
    built.save_pretrained(folder)
    engine = Engine.load(folder, dtype="float32", threads=1)
    yield from references.rows("kontext", engine, built, several=False, theirs=partial(with_references, built))


def with_references(built: Any, pictures: Sequence[NDArray[np.uint8]], prompt: str = "a big red apple") -> F32:
    """Return what Kontext's pipeline draws, float32 [SIDE, SIDE, 3] of 0..1, while it looks at a picture."""
    import torch
    from PIL import Image

    from ...engine import noise

    built.set_progress_bar_config(disable=True)
    start = torch.from_numpy(noise.normal(7, 0, 0, (SIDE // 4) ** 2, 16))[None]
    made = built(
        Image.fromarray(pictures[0]), prompt, height=SIDE, width=SIDE, latents=start, output_type="np",
        num_inference_steps=3, max_area=SIDE**2, _auto_resize=False,
    )  # fmt: skip
    return np.asarray(made.images[0], np.float32)


def _parts(name: str, engine: Any, built: Any) -> Iterator[Row]:
    """Yield the errors of text encoders, transformer and autoencoder."""
    import torch

    from ...engine.denoiser import Sample

    model = engine.model
    for prompt in PROMPTS:
        encoding = model.text.encode(prompt)
        with torch.no_grad():
            states, pooled, _ = built.encode_prompt(prompt, None, max_sequence_length=model.text.num_rows)
        length = f"{len(prompt)} characters"
        yield Row(f"{name}: T5 states, {length}", relative(encoding.tokens, states[0].numpy()))
        yield Row(f"{name}: CLIP pooled, {length}", relative(encoding.pooled, pooled[0].numpy()))
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
                guidance=None if guidance is None else torch.tensor([guidance]), pooled_projections=pooled,
                encoder_hidden_states=states, txt_ids=torch.zeros(states.shape[1], 3),
                img_ids=torch.from_numpy(image_ids(16 * height, 16 * width)), return_dict=False,
            )[0]  # fmt: skip
        yield Row(f"{name}: velocity, {height} x {width} tokens", relative(engine.ops.numpy(ours), theirs[0].numpy()))
    grid, codec = (5, 7), model.denoiser.codec
    tokens = random.standard_normal((35, 16), np.float32)
    ours = engine.ops.numpy(codec.decode(engine.ops, engine.ops.array(tokens, "float32"), np.array([grid], np.int32)))
    z = torch.from_numpy(codec.latents(tokens, grid).transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        theirs = built.vae.decode(z / built.vae.config.scaling_factor + built.vae.config.shift_factor).sample[0]
    yield Row(f"{name}: decoded picture", relative(ours, theirs.permute(1, 2, 0).reshape(-1, 3).numpy()))


def _drawn(engine: Any, prompt: str) -> F32:
    spec = engine.make_spec(prompt, seed=7, width=SIDE, height=SIDE, steps=4)
    generation = engine.open(spec)
    while generation.state == "running":
        engine.step([generation])
    pixels = engine.finish(generation)[0].astype(np.float32)
    engine.close(generation)
    return np.asarray(pixels, np.float32)


def _picture(built: Any, prompt: str, start: F32, tokens: int) -> F32:
    import torch

    made = built(
        prompt, height=SIDE, width=SIDE, latents=torch.from_numpy(start)[None], output_type="np",
        num_inference_steps=4, max_sequence_length=tokens,
    )  # fmt: skip
    return np.asarray(made.images[0], np.float32)


def blocks(scratch: Path, threads: int, side: int, tiny: bool, compiled: bool) -> Blocks:
    """Return one double and one single block of FLUX.1's width, in the dtype that the CPU multiplies.

    Args:
        side: of the picture, in pixels.
        tiny: narrow blocks, to see that this runs.
        compiled: whether diffusers under torch.compile takes part, too.
    """
    import torch

    from ...engine.denoiser import Sample
    from ...engine.models import flux
    from ...engine.text.pipeline import TextEncoding
    from ..flux_width import CHANNELS, FLUX, POOLED_WIDTH, TEXT_WIDTH, TINY, load, random_model

    shape = TINY if tiny else FLUX
    theirs = random_model(shape, scratch / "transformer")
    ops, ours = load(scratch, threads)
    grid = (side // 16, side // 16)
    rows = grid[0] * grid[1]
    random = np.random.default_rng(1)
    latents, text, pooled = (
        random.standard_normal(size, np.float32)
        for size in ((rows, CHANNELS), (shape.text_rows, TEXT_WIDTH), (1, POOLED_WIDTH))
    )
    dtype = getattr(torch, DTYPES[USUAL])
    inputs = {
        "hidden_states": torch.from_numpy(latents)[None].to(dtype),
        "encoder_hidden_states": torch.from_numpy(text)[None].to(dtype),
        "pooled_projections": torch.from_numpy(pooled).to(dtype),
        "timestep": torch.tensor([0.5]),
        "img_ids": torch.from_numpy(image_ids(side, side)),
        "txt_ids": torch.zeros(shape.text_rows, 3),
    }
    noisy = ops.array(latents, "float32")
    (times,) = ops.vectors(np.array([500], np.float32))
    layout = flux.layout(ops, ours, [Sample(grid, TextEncoding(text, pooled[0]))])

    def salon() -> Any:
        return flux.velocity(ops, ours, layout, noisy, times)

    def answer(model: Any) -> Any:
        return model(**inputs, return_dict=False)[0]

    error = relative(ops.numpy(salon()), answer(theirs)[0].float().numpy())
    return taking_turns(rows + shape.text_rows, salon, theirs, answer, error, SHAPE, compiled=compiled)
