"""Reference pictures against diffusers' own pipelines: velocities beside them, and whole pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..peers.base import F32, image_ids
from .blocks import Row, relative

UInt8 = NDArray[np.uint8]

SIDE: Final = 32  # of a picture, which is 8 x 8 tokens
SIZES: Final = ((40, 24), (16, 32))  # (width, height) of the references in pixels
PROMPT: Final = "a big red apple"


def pictures(count: int) -> list[UInt8]:
    """Return pictures uint8 [height, width, 3] of coloured squares."""
    random = np.random.default_rng(5)
    made = []
    for width, height in SIZES[:count]:
        squares = random.integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
        made.append(squares.repeat(8, axis=0).repeat(8, axis=1))
    return made


def looking(engine: Any, given: Sequence[UInt8], **fields: Any) -> Any:
    """Return a spec of an engine whose references are these pictures, which are added to the engine."""
    from ...engine.references import ReferenceUse

    uses = []
    for number, pixels in enumerate(given):
        use = ReferenceUse(f"{number:064x}", pixels.shape[1], pixels.shape[0])
        engine.add_picture(use.form, pixels)
        uses.append(use)
    said = {"seed": 7, "width": SIDE, "height": SIDE, "steps": 3, "references": tuple(uses), **fields}
    return engine.make_spec(said.pop("prompt", PROMPT), **said)


def drawn(engine: Any, spec: Any) -> UInt8:
    """Return a spec's pictures, uint8 [images, height, width, 3]."""
    generation = engine.open(spec)
    while generation.state == "running":
        engine.step([generation])
    made = engine.finish(generation)
    engine.close(generation)
    return np.asarray(made, np.uint8)


def decibels(got: UInt8, want: F32) -> float:
    """Return how near pixels of 0..255 are to those of 0..1."""
    return float(-10 * np.log10(max(float(np.mean((got.astype(np.float64) / 255 - want) ** 2)), 1e-12)))


def rows(
    name: str, engine: Any, built: Any, *, several: bool, theirs: Callable[[Sequence[UInt8]], F32]
) -> Iterator[Row]:
    """Yield the errors of a velocity beside references, and the decibels of a picture.

    Args:
        several: whether the model looks at several pictures; it is a FLUX.2 then, else FLUX.1 Kontext.
        theirs: makes diffusers' picture float32 [height, width, 3] of 0..1 with these references.
    """
    import torch

    from ...engine.denoiser import Sample

    model, random = engine.model, np.random.default_rng(3)
    given = pictures(2 if several else 1)
    grid = (8, 8)
    grids = [(pixels.shape[0] // 4, pixels.shape[1] // 4) for pixels in given]
    encoding = model.text.encode(PROMPT)
    guidance = 3.5 if model.architecture.embedded_guidance else None
    count = sum(height * width for height, width in grids)
    latents = random.standard_normal((64 + count, 16), np.float32)
    layout = model.denoiser.layout(engine.ops, [Sample(grid, encoding, guidance, references=tuple(grids))])
    (times,) = engine.ops.vectors(model.denoiser.times(np.array([0.6], np.float32)))
    ours = engine.ops.numpy(model.denoiser.velocity(engine.ops, layout, engine.ops.array(latents, "float32"), times))
    text = torch.from_numpy(encoding.tokens.copy())[None]
    inputs: dict[str, Any] = {
        "hidden_states": torch.from_numpy(latents)[None],
        "timestep": torch.tensor([0.6]),
        "guidance": None if guidance is None else torch.tensor([guidance]),
        "encoder_hidden_states": text,
    }
    if several:
        own = built._prepare_latent_ids(torch.zeros(1, 16, *grid))
        beside = built._prepare_image_ids([torch.zeros(1, 16, *each) for each in grids])
        inputs |= {"img_ids": torch.cat([own, beside], dim=1), "txt_ids": built._prepare_text_ids(text)}
    else:
        places = [torch.from_numpy(image_ids(16 * height, 16 * width)) for height, width in (grid, *grids)]
        places[1][:, 0] = 1
        inputs |= {"img_ids": torch.cat(places), "txt_ids": torch.zeros(text.shape[1], 3)}
        inputs["pooled_projections"] = torch.from_numpy(encoding.pooled.copy())[None]
    with torch.no_grad():
        want = built.transformer(**inputs, return_dict=False)[0][0].numpy()
    yield Row(f"{name}: velocity beside {len(given)} references", relative(ours[:64], want[:64]))
    made = drawn(engine, looking(engine, given))[0]
    yield Row(f"{name}: picture with {len(given)} references, 3 steps", None, decibels(made, theirs(given)))
