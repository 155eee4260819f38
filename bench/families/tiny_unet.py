"""Tiny random pipelines with UNets, saved by diffusers and transformers themselves, and the same as single files: SDXL
and Stable Diffusion 1.5."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from .tiny_flux import Arrays, autoencoder, clip_tokenizer

WIDE: Final = (64, 128)  # widths of the two CLIPs, whose heads have 64 columns as single files imply
BETAS: Final = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
XL_SCHEDULER: Final = {**BETAS, "timestep_spacing": "leading", "steps_offset": 1}  # EulerDiscreteScheduler
SD_SCHEDULER: Final = {**BETAS, "steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False}  # DDIMScheduler


def xl_pipeline(**scheduler: Any) -> Any:
    """Return a StableDiffusionXLPipeline with random weights. `scheduler`: changes to its EulerDiscreteScheduler."""
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    first, second = clip_tokenizer(), clip_tokenizer()
    second.pad_token = "!</w>"  # as the second one of SDXL: another padding than the first's
    with torch.random.fork_rng():
        torch.manual_seed(20261130)
        built = StableDiffusionXLPipeline(
            scheduler=EulerDiscreteScheduler(**{**XL_SCHEDULER, **scheduler}),
            vae=_autoencoder(AutoencoderKL, 0.13025),
            text_encoder=CLIPTextModel(_clip(len(first), WIDE[0], "quick_gelu")), tokenizer=first,
            text_encoder_2=CLIPTextModelWithProjection(_clip(len(first), WIDE[1], "gelu")), tokenizer_2=second,
            unet=UNet2DConditionModel(
                sample_size=8, block_out_channels=(64, 128), layers_per_block=2, attention_head_dim=[1, 2],
                down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"], transformer_layers_per_block=[1, 2],
                up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"], cross_attention_dim=sum(WIDE),
                use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
                projection_class_embeddings_input_dim=WIDE[1] + 6 * 256,
            ), add_watermarker=False,
        )  # fmt: skip
        _shake(built, (built.vae, built.text_encoder, built.text_encoder_2, built.unet))
    return built


def xl_dpm() -> Any:
    """Return the same pipeline with a DPMSolverMultistepScheduler on Karras' sigmas."""
    from diffusers import DPMSolverMultistepScheduler

    built = xl_pipeline()
    built.scheduler = DPMSolverMultistepScheduler.from_config(built.scheduler.config, use_karras_sigmas=True)
    built.register_modules(scheduler=built.scheduler)
    return built


def sd_pipeline(prediction: str = "epsilon") -> Any:
    """Return a StableDiffusionPipeline with random weights, that predicts "epsilon" or "v_prediction"."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    tokenizer = clip_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(20261130)
        built = StableDiffusionPipeline(
            scheduler=DDIMScheduler(**SD_SCHEDULER, prediction_type=prediction),
            vae=_autoencoder(AutoencoderKL, 0.18215),
            text_encoder=CLIPTextModel(_clip(len(tokenizer), WIDE[0], "quick_gelu")), tokenizer=tokenizer,
            unet=UNet2DConditionModel(
                sample_size=8, block_out_channels=(32, 64, 64), layers_per_block=1, attention_head_dim=8,
                down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
                up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"], cross_attention_dim=WIDE[0],
            ), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        _shake(built, (built.vae, built.text_encoder, built.unet))
    return built


def _autoencoder(kind: Any, factor: float) -> Any:
    return kind(
        latent_channels=4, block_out_channels=(32, 64), layers_per_block=1, scaling_factor=factor,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
    )  # fmt: skip


def _clip(words: int, width: int, activation: str) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=words, hidden_size=width, intermediate_size=96, num_hidden_layers=3, num_attention_heads=width // 64,
        max_position_embeddings=77, projection_dim=width, bos_token_id=words - 2, eos_token_id=words - 1,
        pad_token_id=1, hidden_act=activation,
    )  # fmt: skip


def _shake(built: Any, parts: tuple[Any, ...]) -> None:
    """Give biases and norms values of their own, so that none can be left out unnoticed."""
    import torch

    for part in parts:
        for name, parameter in part.eval().named_parameters():
            with torch.no_grad():
                if name.endswith("bias") and parameter.ndim == 1:
                    parameter.normal_(0, 0.2)
                elif parameter.ndim == 1:
                    parameter.normal_(1, 0.2)
                elif part is built.unet and "attn2" in name:  # so that prompts make a difference that can be seen
                    parameter.mul_(3.0)


def original(folder: Path, to: Path, **markers: Any) -> Path:
    """Write a saved pipeline as the one file that its makers publish, in the layout of latent diffusion.

    Args:
        markers: further arrays.
    """
    from safetensors.numpy import load_file, save_file

    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    arrays = {f"model.diffusion_model.{key}": array for key, array in _unet_original(unet).items()}
    vae = autoencoder(load_file(folder / "vae" / "diffusion_pytorch_model.safetensors"))
    arrays |= {f"first_stage_model.{key}": array for key, array in vae.items()}
    two = folder / "text_encoder_2" / "model.safetensors"
    at = "conditioner.embedders.0" if two.is_file() else "cond_stage_model"
    first = _named(load_file(folder / "text_encoder" / "model.safetensors"))
    first["text_model.embeddings.position_ids"] = np.arange(77)[None]
    arrays |= {f"{at}.transformer.{key}": array for key, array in first.items()}
    if two.is_file():
        second = _open_clip(_named(load_file(two)))
        arrays |= {f"conditioner.embedders.1.model.{key}": array for key, array in second.items()}
    save_file({key: np.ascontiguousarray(array) for key, array in {**arrays, **markers}.items()}, to)
    return to


def _named(arrays: Arrays) -> Arrays:
    """Give a text encoder the names of transformers 4; newer ones leave one out."""
    top = ("text_model.", "text_projection.")
    return {key if key.startswith(top) else f"text_model.{key}": array for key, array in arrays.items()}


def _unet_original(arrays: Arrays) -> Arrays:
    """Undo what diffusers does to the originals (`convert_ldm_unet_checkpoint`)."""
    made: Arrays = {}

    def move(to: str, name: str) -> bool:
        found = [part for part in ("weight", "bias") if f"{name}.{part}" in arrays]
        for part in found:
            made[f"{to}.{part}"] = arrays.pop(f"{name}.{part}")
        return bool(found)

    def resnet(to: str, at: str) -> None:
        for new, old in (
            ("in_layers.0", "norm1"), ("in_layers.2", "conv1"), ("emb_layers.1", "time_emb_proj"),
            ("out_layers.0", "norm2"), ("out_layers.3", "conv2"), ("skip_connection", "conv_shortcut"),
        ):  # fmt: skip
            move(f"{to}.{new}", f"{at}.{old}")

    def attention(to: str, at: str) -> bool:
        keys = [key for key in arrays if key.startswith(f"{at}.")]
        for key in keys:
            made[f"{to}.{key[len(at) + 1 :]}"] = arrays.pop(key)
        return bool(keys)

    for new, old in (
        ("input_blocks.0.0", "conv_in"), ("out.0", "conv_norm_out"), ("out.2", "conv_out"),
        ("time_embed.0", "time_embedding.linear_1"), ("time_embed.2", "time_embedding.linear_2"),
        ("label_emb.0.0", "add_embedding.linear_1"), ("label_emb.0.2", "add_embedding.linear_2"),
    ):  # fmt: skip
        move(new, old)
    resnet("middle_block.0", "mid_block.resnets.0")
    attention("middle_block.1", "mid_block.attentions.0")
    resnet("middle_block.2", "mid_block.resnets.1")
    number = level = 0
    while any(key.startswith(f"down_blocks.{level}.") for key in arrays):
        at, layer = f"down_blocks.{level}", 0
        while f"{at}.resnets.{layer}.norm1.weight" in arrays:
            number += 1
            resnet(f"input_blocks.{number}.0", f"{at}.resnets.{layer}")
            attention(f"input_blocks.{number}.1", f"{at}.attentions.{layer}")
            layer += 1
        number += move(f"input_blocks.{number + 1}.0.op", f"{at}.downsamplers.0.conv")
        level += 1
    number = level = 0
    while any(key.startswith(f"up_blocks.{level}.") for key in arrays):
        at, layer = f"up_blocks.{level}", 0
        while f"{at}.resnets.{layer}.norm1.weight" in arrays:
            resnet(f"output_blocks.{number}.0", f"{at}.resnets.{layer}")
            attends = attention(f"output_blocks.{number}.1", f"{at}.attentions.{layer}")
            layer, number = layer + 1, number + 1
        move(f"output_blocks.{number - 1}.{2 if attends else 1}.conv", f"{at}.upsamplers.0.conv")
        level += 1
    assert not arrays, f"left over: {sorted(arrays)}"
    return made


def _open_clip(arrays: Arrays) -> Arrays:
    """Give a text encoder with a projection the layout of OpenCLIP (`convert_open_clip_checkpoint`)."""
    made: Arrays = {"text_projection": arrays.pop("text_projection.weight").T, "logit_scale": np.zeros(1, np.float32)}
    for new, old in (
        ("token_embedding.weight", "embeddings.token_embedding.weight"),
        ("positional_embedding", "embeddings.position_embedding.weight"),
        ("ln_final.weight", "final_layer_norm.weight"), ("ln_final.bias", "final_layer_norm.bias"),
    ):  # fmt: skip
        made[new] = arrays.pop(f"text_model.{old}")
    number = 0
    while f"text_model.encoder.layers.{number}.layer_norm1.weight" in arrays:
        at, to = f"text_model.encoder.layers.{number}", f"transformer.resblocks.{number}"
        for part in ("weight", "bias"):
            made[f"{to}.attn.in_proj_{part}"] = np.concatenate(
                [arrays.pop(f"{at}.self_attn.{x}_proj.{part}") for x in "qkv"]
            )
            for new, old in (
                ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"),
                ("attn.out_proj", "self_attn.out_proj"),
            ):  # fmt: skip
                made[f"{to}.{new}.{part}"] = arrays.pop(f"{at}.{old}.{part}")
        number += 1
    assert not arrays, f"left over: {sorted(arrays)}"
    return made
