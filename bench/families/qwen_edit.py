"""Qwen-Image-Edit against diffusers' pipelines: how pictures are read, velocities beside them, and whole pictures."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from ..peers.base import F32
from . import qwen_image, tiny_qwen
from .blocks import Blocks, Row, relative
from .references import decibels, drawn

SIDE: Final = tiny_qwen.SIDE
SIZES: Final = ((45, 30), (60, 91), (33, 33))  # (width, height) in pixels of the pictures that are looked at
PROMPT: Final = "a big red apple"
CHANNELS: Final = qwen_image.CHANNELS


def photos(count: int) -> list[bytes]:
    """Return PNG files of coloured squares."""
    from PIL import Image

    random, made = np.random.default_rng(5), []
    for width, height in SIZES[:count]:
        squares = random.integers(0, 256, (height // 5 + 1, width // 5 + 1, 3)).astype(np.uint8)
        pixels = squares.repeat(5, axis=0).repeat(5, axis=1)[:height, :width]
        Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
        made.append(file.getvalue())
    return made


def looking(engine: Any, files: Sequence[bytes], **fields: Any) -> Any:
    """Return a spec of an engine that looks at these files, added to the engine as requests do it."""
    from ...studio.references import digest_of, pictures_of, with_sizes
    from ...studio.resources import References

    by_digest = {digest_of(data): data for data in files}
    said = {"seed": 7, "width": SIDE, "height": SIDE, "steps": 3, "omni_reference": tuple(by_digest), **fields}
    spec = engine.make_spec(said.pop("prompt", PROMPT), **with_sizes(said, by_digest.get))
    for form, pixels in pictures_of(spec, by_digest.get, References(), engine.info).items():
        engine.add_picture(form, pixels)
    return spec


def smaller() -> Any:
    """Return a context in which diffusers' pipelines make pictures as small as `tiny_qwen.save_edit` says."""
    from contextlib import ExitStack

    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit as one
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as several

    stack = ExitStack()
    for module in (one, several):
        usual = module.calculate_dimensions

        def small(area: int, ratio: float, usual: Any = usual) -> Any:
            return usual(tiny_qwen.SMALL[area], ratio)

        stack.enter_context(mock.patch.object(module, "calculate_dimensions", small))
    return stack


def theirs(built: Any, files: Sequence[bytes], prompt: str = PROMPT, **fields: Any) -> F32:
    """Return diffusers' picture of these files, float32 [height, width, 3] of 0..1."""
    import torch
    from PIL import Image

    from ...engine import noise

    start = noise.normal(7, 0, 0, (SIDE // 4) ** 2, CHANNELS)
    given = [Image.open(io.BytesIO(data)).convert("RGB") for data in files]
    several = type(built).__name__.endswith("PlusPipeline")
    with smaller():
        made = built(
            image=given if several else given[0], prompt=prompt, height=SIDE, width=SIDE, output_type="np",
            latents=torch.from_numpy(start)[None], **{"num_inference_steps": 3, **fields},
        )  # fmt: skip
    picture: F32 = made.images[0]
    return picture


def shown(engine: Any, built: Any, files: Sequence[bytes], prompt: str = PROMPT) -> tuple[F32, F32]:
    """Return the text states of a prompt with pictures, Salon's and diffusers', float32 [rows, D] each."""
    import torch
    from PIL import Image

    spec = looking(engine, files)
    ours = engine.model.text.encode_shown(engine.start_pictures.shown(spec), prompt).tokens
    given = []
    for use, data in zip(spec.references, files, strict=True):
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        given.append(built.image_processor.resize(picture, use.through[1], use.through[0]))
    several = type(built).__name__.endswith("PlusPipeline")
    with torch.no_grad():
        states, _ = built.encode_prompt(image=given if several else given[0], prompt=prompt, device="cpu")
    return ours, states[0].numpy()


def seen(engine: Any, built: Any, pixels: NDArray[np.uint8]) -> tuple[F32, F32]:
    """Return a picture's tokens for the language side, Salon's and transformers', float32 [tokens, D] each.

    Args:
        pixels: uint8 [height, width, 3], multiples of 28.
    """
    import torch
    from PIL import Image

    from ...engine.models import qwen_vision

    ours = engine.ops.numpy(qwen_vision.encode(engine.ops, engine.model.text.vision, pixels))
    given = built.processor.image_processor(Image.fromarray(pixels), do_resize=False, return_tensors="pt")
    with torch.no_grad():
        made = built.text_encoder.model.visual(given["pixel_values"], given["image_grid_thw"])
    return ours, made.pooler_output.numpy()


def velocities(engine: Any, built: Any) -> tuple[F32, F32]:
    """Return the velocity of random latents beside two references, Salon's and diffusers', float32 [rows, C] each."""
    import torch

    from ...engine.denoiser import Sample

    model, grids = engine.model, ((8, 8), (5, 4), (3, 9))
    encoding = model.text.encode(PROMPT)
    count = sum(height * width for height, width in grids)
    latents = np.random.default_rng(3).standard_normal((count, CHANNELS), np.float32)
    layout = model.denoiser.layout(engine.ops, [Sample(grids[0], encoding, references=grids[1:])])
    (times,) = engine.ops.vectors(model.denoiser.times(np.array([0.6], np.float32)))
    ours = engine.ops.numpy(model.denoiser.velocity(engine.ops, layout, engine.ops.array(latents, "float32"), times))
    with torch.no_grad():
        made = built.transformer(
            hidden_states=torch.from_numpy(latents)[None], timestep=torch.tensor([0.6]),
            encoder_hidden_states=torch.from_numpy(encoding.tokens.copy())[None],
            img_shapes=[[(1, *grid) for grid in grids]], return_dict=False,
        )[0]  # fmt: skip
    own = grids[0][0] * grids[0][1]
    return ours[:own], made[0].numpy()[:own]


def parity(scratch: Path) -> Iterator[Row]:
    """Yield what Salon's float32 differs from diffusers' by, for each part of the model and for whole pictures."""
    from ...engine.engine import Engine

    random = np.random.default_rng(6)
    for plus, still in ((True, False), (True, True), (False, False)):
        built = tiny_qwen.edit_pipeline(plus=plus, still=still)
        built.set_progress_bar_config(disable=True)
        name = f"{'Edit-Plus' if plus else 'Edit'}{', references at 0' if still else ''}"
        folder = tiny_qwen.save_edit(built, scratch / hashlib.sha256(name.encode()).hexdigest()[:8])
        engine = Engine.load(folder, dtype="float32", threads=1)
        files = photos(2 if plus else 1)
        if plus and not still:
            for height, width in ((56, 84), (140, 196)):
                pixels = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
                yield Row(f"{name}: tokens of {height} x {width} pixels", relative(*seen(engine, built, pixels)))
        yield Row(f"{name}: text states with {len(files)} pictures", relative(*shown(engine, built, files)))
        yield Row(f"{name}: velocity beside 2 references", relative(*velocities(engine, built)))
        if still or not plus:
            made = drawn(engine, looking(engine, files, guidance_scale=4.0))[0]
            want = theirs(built, files, negative_prompt=" ", true_cfg_scale=4.0)
            yield Row(f"{name}: picture, 3 steps, guidance 4", None, decibels(made, want))


def blocks(scratch: Path, threads: int, side: int, tiny: bool, compiled: bool) -> Blocks:
    """Return one block of Qwen-Image's width beside a reference at timestep 0. Arguments: as `qwen_image.blocks`."""
    return qwen_image.blocks(scratch, threads, side, tiny, compiled, references=1, still=True)
