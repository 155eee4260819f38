"""Tiny random pipelines with UNets, saved by diffusers and transformers themselves: SDXL and Stable Diffusion 1.5."""

from __future__ import annotations

from typing import Any, Final

from .tiny_flux import clip_tokenizer

WIDE: Final = (64, 96)  # widths of the two CLIPs
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
                sample_size=8, block_out_channels=(32, 64), layers_per_block=2, attention_head_dim=[2, 4],
                down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"], transformer_layers_per_block=[1, 2],
                up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"], cross_attention_dim=sum(WIDE),
                use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=WIDE[1] + 6 * 8,
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
                sample_size=8, block_out_channels=(32, 64, 64), layers_per_block=1, attention_head_dim=4,
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
        vocab_size=words, hidden_size=width, intermediate_size=96, num_hidden_layers=3, num_attention_heads=width // 32,
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
