"""A region of a picture drawn anew, beside diffusers' inpainting: same checkpoint, steps, guidance and threads."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image

from ..facts import shipped
from ..job import encode
from ..measure import interleave, timed
from ..peers.base import DTYPES, USUAL
from ..runner import Bench
from .house import House, Request, mask

IMAGES, TINY_IMAGES = 4, 1


def pipeline(threads: int) -> Any:
    """Return diffusers' pipeline of the shipped checkpoint; its text is encoded by the caller."""
    import torch
    from diffusers import FluxInpaintPipeline

    torch.set_num_threads(threads)
    made = FluxInpaintPipeline.from_pretrained(
        shipped().folder,
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        dtype=getattr(torch, DTYPES[USUAL]),
    )
    made.set_progress_bar_config(disable=True)
    return made


def body(bench: Bench, house: House) -> None:
    """Time both in turns: a region of one picture, as many new pictures of it."""
    if find_spec("diffusers") is None:
        bench.note("diffusers is not installed: inpainting has no peer here")
        return
    import torch

    facts = shipped()
    steps = int(house.steps.get("steps", facts.defaults["steps"]))
    images = bench.pick(TINY_IMAGES, IMAGES, IMAGES)
    source = house.pictures(house.parent)[0]
    high, wide = source.shape[:2]
    pipe, dtype = pipeline(bench.threads), getattr(torch, DTYPES[USUAL])
    tokens, pooled = (torch.from_numpy(np.asarray(each)[None]).to(dtype) for each in encode(facts))
    white = Image.new("L", (wide, high))
    white.paste(255, (wide // 2, 0, wide, high // 2))

    def theirs() -> None:
        pipe(
            prompt_embeds=tokens,
            pooled_prompt_embeds=pooled,
            negative_prompt_embeds=tokens * 0,
            negative_pooled_prompt_embeds=pooled * 0,
            true_cfg_scale=float(facts.defaults["guidance_scale"]),
            image=Image.fromarray(source),
            mask_image=white,
            height=high,
            width=wide,
            strength=1.0,
            num_inference_steps=steps,
            num_images_per_prompt=images,
            output_type="np",
        )

    digest = house.studio.add_reference(mask(wide, high))
    said = {"mask": digest, "images": images, "stylize": 0.0, "steps": steps}
    request = Request("region", "a red apple, 3d render, on a teal background", said=said)

    def ours() -> None:
        house.timed(request)

    theirs()  # compiles and caches what it does at first
    turns = {"Salon region": lambda: timed(ours, 1), "diffusers FluxInpaintPipeline": lambda: timed(theirs, 1)}
    with bench.progress("inpainting", rounds := bench.pick(1, 2, 9)) as advance:
        samples = interleave(turns, rounds=rounds, deadline=bench.deadline, on_round=lambda: advance(""))
    mine = samples["Salon region"].median
    for name, each in samples.items():
        ms = each.median
        times = None if ms is None or not mine else ms / mine
        bench.row(job=name, ms=ms, best=each.best, times=times)
    bench.use("torch", "diffusers")
    bench.note(
        "Salon's time is from the request until pictures and records are on disk; diffusers' is of the call alone"
    )
