"""Tiny random FLUX.2 pipelines, saved by diffusers and transformers themselves, and the same as single files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from . import tiny_language
from .tiny_flux import HEAD, Arrays, autoencoder

SCHEDULER = {"shift": 3.0, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15}


def pipeline(*, dev: bool = True, distilled: bool = True, keeping: bool = False) -> Any:
    """Return a pipeline with random weights: Flux2Pipeline ([dev]), or else Flux2KleinPipeline.

    Args:
        distilled: which form of [klein].
        keeping: of [klein] the form that computes references once, Flux2KleinKVPipeline.
    """
    import torch
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinKVPipeline,
        Flux2KleinPipeline,
        Flux2Pipeline,
        Flux2Transformer2DModel,
    )

    tokenizer = tiny_language.mistral_tokenizer() if dev else tiny_language.qwen3_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(20261130)
        encoder = tiny_language.mistral(31, len(tokenizer)) if dev else tiny_language.qwen3(28, len(tokenizer))
        parts = {
            "scheduler": FlowMatchEulerDiscreteScheduler(**SCHEDULER),
            "vae": AutoencoderKLFlux2(
                latent_channels=4, block_out_channels=(32, 64), layers_per_block=1,
                down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
                decoder_block_out_channels=None if dev else (32, 96),
            ),
            "text_encoder": encoder,
            "tokenizer": tokenizer,
            "transformer": Flux2Transformer2DModel(
                in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=HEAD, num_attention_heads=1,
                joint_attention_dim=48, guidance_embeds=dev,
            ),
        }  # fmt: skip
        for name in ("vae", "text_encoder", "transformer"):
            scramble(parts[name].eval(), 2.0 if name == "transformer" else 1.0)
        with torch.no_grad():
            parts["vae"].bn.running_mean.normal_(0, 0.3)
            parts["vae"].bn.running_var.uniform_(0.5, 2.0)
        if dev:
            return Flux2Pipeline(**parts)
        return (Flux2KleinKVPipeline if keeping else Flux2KleinPipeline)(**parts, is_distilled=distilled)


def scramble(part: Any, scale: float) -> None:
    """Change all that a model is made with as 0 or 1, so that no bias or norm can be left out unnoticed.

    Args:
        scale: factor of all weights, so that prompts make a difference that can be seen.
    """
    import torch

    with torch.no_grad():
        for name, parameter in part.named_parameters():
            if parameter.ndim == 1:
                parameter.normal_(0 if name.endswith("bias") else 1, 0.2).mul_(scale)
            else:
                parameter.mul_(scale)


def originals(folder: Path, to: Path) -> dict[str, Path]:
    """Write the parts of a saved pipeline as the single files that people have, under their makers' own names."""
    to.mkdir()
    files = {
        "transformer": _transformer(load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")),
        "vae": _autoencoder(load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")),
        "text": language(load_file(folder / "text_encoder" / "model.safetensors")),
    }
    names = {"transformer": "flux2", "vae": "flux2-vae", "text": "text_encoder"}
    for part, arrays in files.items():
        save_file({key: np.ascontiguousarray(a) for key, a in arrays.items()}, to / f"{names[part]}.safetensors")
    return {part: to / f"{name}.safetensors" for part, name in names.items()}


def _autoencoder(arrays: Arrays) -> Arrays:
    """Give the two convolutions at the latents the places that Black Forest Labs gave them."""
    outside = {"quant_conv": "encoder.quant_conv", "post_quant_conv": "decoder.post_quant_conv"}
    statistics = {key: arrays.pop(key) for key in [*arrays] if key.startswith("bn.")}
    made = {}
    for key, array in autoencoder(arrays).items():
        name, _, part = key.rpartition(".")
        made[f"{outside.get(name, name)}.{part}"] = array
    return made | statistics


def language(arrays: Arrays) -> Arrays:
    """Keep the language side, under the names of its own class, with a tokenizer's bytes beside as Comfy has them.

    Of Mistral, what FLUX.2 does not read is left out: the layers behind the 30th, and the norm at the end.
    """
    made: Arrays = {"tekken_model": np.zeros(5, np.uint8)}
    pruned = ("model.layers.30.", "model.norm.") if any("language_model" in key for key in arrays) else ()
    for key, array in arrays.items():
        name = key.removeprefix("model.").removeprefix("language_model.").removeprefix("model.")
        if name.startswith(("lm_head", "vision_tower", "multi_modal_projector")):
            continue
        if not f"model.{name}".startswith(pruned):
            made[f"model.{name}"] = array
    return made


def _transformer(arrays: Arrays) -> Arrays:
    """Undo what diffusers does to the originals (`convert_flux2_transformer_checkpoint_to_diffusers`)."""
    made: Arrays = {}

    def move(to: str, name: str, part: str = "weight") -> None:
        if f"{name}.weight" in arrays:
            made[f"{to}.{part}"] = arrays.pop(f"{name}.weight")

    for to, name in (("time_in", "timestep"), ("guidance_in", "guidance")):
        move(f"{to}.in_layer", f"time_guidance_embed.{name}_embedder.linear_1")
        move(f"{to}.out_layer", f"time_guidance_embed.{name}_embedder.linear_2")
    move("txt_in", "context_embedder")
    move("img_in", "x_embedder")
    move("final_layer.linear", "proj_out")
    for name in ("double_stream_modulation_img", "double_stream_modulation_txt", "single_stream_modulation"):
        move(f"{name}.lin", f"{name}.linear")
    scale, shift = np.split(arrays.pop("norm_out.linear.weight"), 2)
    made["final_layer.adaLN_modulation.1.weight"] = np.concatenate([shift, scale])
    number = 0
    while f"transformer_blocks.{number}.attn.to_q.weight" in arrays:
        at, to = f"transformer_blocks.{number}", f"double_blocks.{number}"
        for side, names, out, ff, added in (
            ("img", [f"to_{x}" for x in "qkv"], "to_out.0", "ff", ""),
            ("txt", [f"add_{x}_proj" for x in "qkv"], "to_add_out", "ff_context", "added_"),
        ):
            joined = np.concatenate([arrays.pop(f"{at}.attn.{name}.weight") for name in names])
            made[f"{to}.{side}_attn.qkv.weight"] = joined
            move(f"{to}.{side}_attn.proj", f"{at}.attn.{out}")
            move(f"{to}.{side}_mlp.0", f"{at}.{ff}.linear_in")
            move(f"{to}.{side}_mlp.2", f"{at}.{ff}.linear_out")
            for x, name in (("q", "query"), ("k", "key")):
                move(f"{to}.{side}_attn.norm.{name}_norm", f"{at}.attn.norm_{added}{x}", "scale")
        number += 1
    number = 0
    while f"single_transformer_blocks.{number}.attn.to_out.weight" in arrays:
        at, to = f"single_transformer_blocks.{number}", f"single_blocks.{number}"
        move(f"{to}.linear1", f"{at}.attn.to_qkv_mlp_proj")
        move(f"{to}.linear2", f"{at}.attn.to_out")
        for x, name in (("q", "query"), ("k", "key")):
            move(f"{to}.norm.{name}_norm", f"{at}.attn.norm_{x}", "scale")
        number += 1
    assert not arrays, f"left over: {sorted(arrays)}"
    return made
