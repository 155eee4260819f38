"""A tiny random Z-Image pipeline, saved by diffusers and transformers themselves, and the same as single files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from . import tiny_language
from .tiny_flux import Arrays, autoencoder
from .tiny_flux2 import language, scramble


def pipeline(*, turbo: bool = False) -> Any:
    """Return a ZImagePipeline with random weights. `turbo`: with the scheduler of Z-Image-Turbo."""
    import torch
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel

    tokenizer = tiny_language.qwen3_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(20261130)
        parts = {
            "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0 if turbo else 6.0),
            "vae": AutoencoderKL(
                latent_channels=4, block_out_channels=(32, 64), layers_per_block=1, use_quant_conv=False,
                down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
                use_post_quant_conv=False, scaling_factor=0.3611, shift_factor=0.1159,
            ),
            "text_encoder": tiny_language.qwen3(3, len(tokenizer)),
            "tokenizer": tokenizer,
            "transformer": ZImageTransformer2DModel(
                in_channels=4, dim=256, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16,
            ),
        }  # fmt: skip
        for name in ("vae", "text_encoder", "transformer"):
            scramble(parts[name].eval(), 1.5 if name == "transformer" else 1.0)
        with torch.no_grad():
            for token in (parts["transformer"].x_pad_token, parts["transformer"].cap_pad_token):
                token.normal_(0, 0.5)
        return ZImagePipeline(**parts)


def originals(folder: Path, to: Path) -> dict[str, Path]:
    """Write the parts of a saved pipeline as the single files that people have, under their makers' own names."""
    to.mkdir()
    transformer = _transformer(load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors"))
    files = {
        "transformer": transformer,
        "prefixed": {f"model.diffusion_model.{key}": array for key, array in transformer.items()},
        "vae": autoencoder(load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")),
        "text": language(load_file(folder / "text_encoder" / "model.safetensors")),
    }
    names = {"transformer": "z_image_turbo", "prefixed": "z_image_bf16", "vae": "ae", "text": "qwen_3_4b"}
    for part, arrays in files.items():
        save_file({key: np.ascontiguousarray(a) for key, a in arrays.items()}, to / f"{names[part]}.safetensors")
    return {part: to / f"{name}.safetensors" for part, name in names.items()}


def _transformer(arrays: Arrays) -> Arrays:
    """Undo what diffusers does to the originals (`convert_z_image_transformer_checkpoint_to_diffusers`)."""
    made: Arrays = {"norm_final.weight": np.ones(256, np.float32)}
    for key in [key for key in arrays if key.endswith(".attention.to_q.weight")]:
        at = key.removesuffix(".to_q.weight")
        made[f"{at}.qkv.weight"] = np.concatenate([arrays.pop(f"{at}.to_{x}.weight") for x in "qkv"])
    for key, array in arrays.items():
        name = key.replace("all_x_embedder.2-1.", "x_embedder.").replace("all_final_layer.2-1.", "final_layer.")
        name = name.replace(".attention.to_out.0.", ".attention.out.")
        made[name.replace(".attention.norm_q.", ".attention.q_norm.").replace(".norm_k.", ".k_norm.")] = array
    return made
