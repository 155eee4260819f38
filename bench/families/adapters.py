"""IP-Adapters and LoRAs against diffusers: whole pictures beside a picture, and velocities of merged weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..peers.base import F32, image_ids
from . import tiny_flux, tiny_ip_adapter, tiny_unet
from .blocks import Row, relative

SIDE: Final = 32  # of a picture: 8 x 8 tokens of FLUX.1, 16 x 16 latents of SDXL
PROMPT: Final = "a big red apple on the house"
XL_WIDTHS: Final = [128] * 12  # of SDXL's attentions to the text, in the order of its files
RANK: Final = 4


def flux_images(scratch: Path) -> Iterator[Row]:
    """Yield how near a picture of FLUX.1 with an adapter of XLabs is to diffusers'."""
    more = {"image_encoder_pretrained_model_name_or_path": str(scratch / "image_encoder")}
    arrays = tiny_ip_adapter.flux(1, 128, 32, xlabs=True)
    yield _with_a_picture("dev", tiny_flux.pipeline(dev=True), scratch, arrays, "quick_gelu", more)


def sdxl_images(scratch: Path) -> Iterator[Row]:
    """Yield the same of SDXL."""
    arrays = tiny_ip_adapter.unet(XL_WIDTHS, sum(tiny_unet.WIDE))
    yield _with_a_picture("sdxl", tiny_unet.xl_pipeline(), scratch, arrays, "gelu", {"subfolder": ""})


def _with_a_picture(
    name: str, built: Any, scratch: Path, arrays: tiny_ip_adapter.Arrays, activation: str, more: dict[str, Any]
) -> Row:
    import torch
    from PIL import Image

    from ...engine import noise
    from ...engine.engine import Engine
    from ...studio.references import read_picture
    from .references import decibels, drawn

    built.set_progress_bar_config(disable=True)
    built.save_pretrained(scratch / "model")
    tiny_ip_adapter.encoder(scratch / "image_encoder", activation)
    file = tiny_ip_adapter.write(scratch / "ip.safetensors", arrays)
    if name == "dev":
        more = {**more, "image_encoder_dtype": torch.float32}
    built.load_ip_adapter(str(scratch), weight_name=file.name, **more)
    engine = Engine.load(scratch / "model", ip_adapter=file, dtype="float32", threads=1)
    coarse = np.random.default_rng(4).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    picture = Image.fromarray(coarse).resize((61, 45), Image.Resampling.BICUBIC)
    picture.save(scratch / "photo.png")
    read = read_picture((scratch / "photo.png").read_bytes())
    engine.add_style_picture(read.digest, read.square(tiny_ip_adapter.SIDE))
    spec = engine.make_spec(PROMPT, seed=7, width=SIDE, height=SIDE, steps=2, style_references=[read.digest])
    rows = noise.normal(7, 0, 0, 64, 16) if name == "dev" else noise.normal(7, 0, 0, 256, 4).reshape(16, 16, 4)
    start = torch.from_numpy((rows if name == "dev" else rows.transpose(2, 0, 1)).copy())[None]
    theirs = built(
        PROMPT, height=SIDE, width=SIDE, latents=start, output_type="np", num_inference_steps=2,
        ip_adapter_image=picture,
    ).images[0]  # fmt: skip
    near = decibels(drawn(engine, spec)[0], np.asarray(theirs, np.float32))
    return Row(f"{name}: picture with an IP-Adapter, 2 steps", None, near)


def single_blocks(scratch: Path) -> Iterator[Row]:
    """Yield the error of a velocity of FLUX.1 with a LoRA of all layers of its single blocks, beside merged weights."""
    import torch
    from safetensors.numpy import save_file

    from ...engine.denoiser import Sample
    from ...engine.engine import Engine
    from ...engine.files.lora import file_digest
    from ...engine.lora_uses import LoraUse

    built, random = tiny_flux.pipeline(dev=True), np.random.default_rng(9)
    built.save_pretrained(scratch / "model")
    engine = Engine.load(scratch / "model", dtype="float32", threads=1)
    arrays, weights = dict[str, F32](), built.transformer.state_dict()
    changed = [key for key, weight in weights.items() if key.startswith("single_") and weight.ndim == 2]
    for key in changed:
        (rows, depth), name = weights[key].shape, f"transformer.{key.removesuffix('.weight')}"
        down = random.standard_normal((RANK, depth)).astype(np.float32) / np.float32(depth**0.5)
        up = np.float32(0.3) * random.standard_normal((rows, RANK)).astype(np.float32)
        arrays |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
        with torch.no_grad():
            weights[key] += torch.from_numpy(np.float32(0.8) * (up @ down))
    save_file(arrays, path := scratch / "lora.safetensors")
    engine.add_lora(digest := file_digest(path), path)
    model, grid = engine.model, (8, 8)
    encoding: Any = model.text.encode(PROMPT) if model.text is not None else None
    latents = random.standard_normal((64, 16), np.float32)
    sample = Sample(grid, encoding, 3.5, engine.loras.pin((LoraUse(digest, 0.8),)))
    layout = model.denoiser.layout(engine.ops, [sample])
    (times,) = engine.ops.vectors(model.denoiser.times(np.array([0.6], np.float32)))
    ours = model.denoiser.velocity(engine.ops, layout, engine.ops.array(latents, "float32"), times)
    with torch.no_grad():
        theirs = built.transformer(
            hidden_states=torch.from_numpy(latents)[None], timestep=torch.tensor([0.6]), guidance=torch.tensor([3.5]),
            encoder_hidden_states=torch.from_numpy(encoding.tokens.copy())[None],
            pooled_projections=torch.from_numpy(encoding.pooled.copy())[None],
            img_ids=torch.from_numpy(image_ids(SIDE * 4, SIDE * 4)), txt_ids=torch.zeros(len(encoding.tokens), 3),
            return_dict=False,
        )[0]  # fmt: skip
    what = f"dev: velocity with a LoRA of {len(changed)} layers of single blocks"
    yield Row(what, relative(engine.ops.numpy(ours), theirs[0].numpy()))
