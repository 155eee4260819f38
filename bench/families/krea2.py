"""Krea 2 against diffusers' `Krea2Pipeline`: each of its parts, its whole pictures, and a block of the real width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..peers.base import DTYPES, F32, USUAL
from . import tiny_krea2, tiny_qwen
from .blocks import Blocks, Row, made_in, relative, taking_turns
from .qwen_image import decoded

SIDE: Final = 32  # of a picture, which is 8 x 8 tokens
PROMPTS: Final = ("a big red apple on the house", tiny_qwen.LONG)
CHANNELS, TEXT_ROWS, LAYERS, TEXT = 64, 64, 12, 2560
SHAPE: Final = "one block of the real width, without the fusion of its text's layers"


def parity(scratch: Path) -> Iterator[Row]:
    """Yield what Salon's float32 differs from diffusers' by, for each part of the model and for whole pictures."""
    import torch

    from ...engine import noise
    from ...engine.engine import Engine

    built = tiny_krea2.pipeline()
    built.set_progress_bar_config(disable=True)
    built.save_pretrained(scratch / "krea2")
    engine = Engine.load(scratch / "krea2", dtype="float32", threads=1)
    yield from _parts(engine, built)
    for number, prompt in enumerate(PROMPTS):
        spec = engine.make_spec(prompt, seed=7, width=SIDE, height=SIDE, steps=2)
        generation = engine.open(spec)
        while generation.state == "running":
            engine.step([generation])
        ours = engine.finish(generation)[0].astype(np.float64) / 255
        engine.close(generation)
        made = built(
            prompt, height=SIDE, width=SIDE, num_inference_steps=2, output_type="np",
            max_sequence_length=512 if number else 32,
            latents=torch.from_numpy(noise.normal(7, 0, 0, (SIDE // 4) ** 2, CHANNELS))[None],
        )  # fmt: skip
        error = float(np.mean((ours - made.images[0]) ** 2))
        length = "long" if number else "short"
        yield Row(f"picture of a {length} prompt, 2 steps, guided", None, float(-10 * np.log10(max(error, 1e-12))))


def _parts(engine: Any, built: Any) -> Iterator[Row]:
    """Yield the errors of text encoder, transformer and autoencoder."""
    import torch

    from ...engine.denoiser import Sample

    model = engine.model
    encoding = model.text.encode(PROMPTS[0])
    with torch.no_grad():
        states, mask = built.encode_prompt(PROMPTS[0], max_sequence_length=32)
    states = states[mask][None]
    yield Row("Qwen3-VL states", relative(encoding.tokens, states[0].flatten(1).numpy()))
    random = np.random.default_rng(3)
    for height, width in ((8, 8), (4, 13)):
        latents = random.standard_normal((height * width, CHANNELS), np.float32)
        layout = model.denoiser.layout(engine.ops, [Sample((height, width), encoding)])
        (times,) = engine.ops.vectors(model.denoiser.times(np.array([0.6], np.float32)))
        ours = model.denoiser.velocity(engine.ops, layout, engine.ops.array(latents, "float32"), times)
        with torch.no_grad():
            theirs = built.transformer(
                hidden_states=torch.from_numpy(latents)[None], timestep=torch.tensor([0.6]),
                encoder_hidden_states=states, return_dict=False,
                position_ids=built.prepare_position_ids(states.shape[1], height, width, torch.device("cpu")),
            )[0]  # fmt: skip
        yield Row(f"velocity, {height} x {width} tokens", relative(engine.ops.numpy(ours), theirs[0].numpy()))
    yield decoded(engine, built)


def blocks(scratch: Path, threads: int, side: int, tiny: bool, compiled: bool) -> Blocks:
    """Return one block of Krea 2's width, in the dtype that the CPU multiplies.

    Args:
        side: of the picture, in pixels.
        tiny: a narrow block, to see that this runs.
        compiled: whether diffusers under torch.compile takes part, too.
    """
    import torch
    from diffusers import Krea2Transformer2DModel

    from ...engine.checkpoint import Component
    from ...engine.denoiser import Sample
    from ...engine.models import krea2
    from ...engine.text.pipeline import TextEncoding
    from ...kernels.backends import create

    dtype = getattr(torch, DTYPES[USUAL])
    narrow = {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 256} if tiny else {}
    with made_in(dtype):
        theirs = Krea2Transformer2DModel(
            num_layers=1, num_layerwise_text_blocks=0, num_refiner_text_blocks=0, **narrow
        ).eval()
    theirs.save_pretrained(scratch / "transformer")
    ops = create("cpu", dtype=DTYPES[USUAL], threads=threads)
    ours = krea2.load_krea2(ops, Component(scratch / "transformer", "transformer"))
    grid = (side // 16, side // 16)
    rows = grid[0] * grid[1]
    random = np.random.default_rng(1)
    latents: F32 = random.standard_normal((rows, CHANNELS), np.float32)
    text: F32 = random.standard_normal((TEXT_ROWS, LAYERS * TEXT), np.float32)
    ids = torch.zeros(TEXT_ROWS + rows, 3)
    ids[TEXT_ROWS:, 1:] = torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1]))
    inputs = {
        "hidden_states": torch.from_numpy(latents)[None].to(dtype),
        "encoder_hidden_states": torch.from_numpy(text.reshape(1, TEXT_ROWS, LAYERS, TEXT)).to(dtype),
        "timestep": torch.tensor([0.5]),
        "position_ids": ids,
    }
    noisy = ops.array(latents, "float32")
    (times,) = ops.vectors(np.array([500], np.float32))
    layout = krea2.layout(ops, ours, [Sample(grid, TextEncoding(text, np.zeros(0, np.float32)))])

    def salon() -> Any:
        return krea2.velocity(ops, ours, layout, noisy, times)

    def answer(model: Any) -> Any:
        return model(**inputs, return_dict=False)[0]

    with torch.no_grad():
        error = relative(ops.numpy(salon()), answer(theirs)[0].float().numpy())
    return taking_turns(rows + TEXT_ROWS, salon, theirs, answer, error, SHAPE, compiled=compiled, fullgraph=False)
