"""Say what each row of parity covers: the class of diffusers or transformers, and the option of the real models.

The models that are compared are tiny. What makes them stand for the real ones is that they are of the same classes,
with the settings by which the real configs differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Family -> how the name of a row begins, before its colon; "" where it has none -> the option.
OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "flux": {
        "dev": "FLUX.1 [dev]: guidance_embeds, dynamic shift, 512 tokens of T5",
        "schnell": "FLUX.1 [schnell]: no guidance_embeds, shift 1, 256 tokens of T5",
        "kontext": "FLUX.1 Kontext [dev]: a reference's tokens, apart on the first rotary axis",
        "fill": "FLUX.1 Fill [dev]: in_channels of latents, picture and mask, out_channels of latents",
    },
    "flux2": {
        "dev": "FLUX.2 [dev]: guidance_embeds, Mistral 3's states of three layers",
        "klein base": "FLUX.2 [klein] base: is_distilled false, Qwen3's states of three layers, small decoder",
        "klein KV": "FLUX.2 [klein] KV: keys of references of the first step, kept",
    },
    "krea2": {"": "Krea 2: num_key_value_heads below num_attention_heads, Qwen3-VL's states of twelve layers"},
    "qwen_image": {"": "Qwen-Image: dynamic shift with shift_terminal, guidance rescaled to the prompt's norm"},
    "qwen_edit": {
        "Edit-Plus": "Qwen-Image-Edit-2509: several pictures",
        "Edit-Plus, references at 0": "Qwen-Image-Edit-2511: zero_cond_t, several pictures",
        "Edit": "Qwen-Image-Edit: one picture",
    },
    "unet": {
        "sdxl": "SDXL: addition_embed_type text_time, two CLIPs, Euler with leading steps",
        "sdxl, DPM++ 2M Karras": "SDXL: DPMSolverMultistepScheduler with use_karras_sigmas",
        "sd15": "Stable Diffusion 1.5: prediction_type epsilon, DDIM",
        "sd15, v": "Stable Diffusion 1.5: prediction_type v_prediction",
    },
    "z_image": {"": "Z-Image: shift 6, learned pad tokens, Qwen3's states of the last layer but one"},
}
# Family -> what the name of a row says, the first that it has -> the class that was asked.
CLASSES: Final[Mapping[str, Mapping[str, str]]] = {
    "flux": {
        "T5": "T5EncoderModel", "CLIP": "CLIPTextModel", "velocity": "FluxTransformer2DModel",
        "decoded": "AutoencoderKL", "fill": "FluxFillPipeline", "kontext": "FluxKontextPipeline",
        "picture": "FluxPipeline",
    },
    "flux2": {
        "dev: states": "Mistral3ForConditionalGeneration", "states": "Qwen3ForCausalLM",
        "velocity": "Flux2Transformer2DModel", "decoded": "AutoencoderKLFlux2", "dev": "Flux2Pipeline",
        "klein base": "Flux2KleinPipeline", "klein KV": "Flux2KleinKVPipeline",
    },
    "krea2": {
        "states": "Qwen3VLModel", "velocity": "Krea2Transformer2DModel", "decoded": "AutoencoderKLQwenImage",
        "picture": "Krea2Pipeline",
    },
    "qwen_image": {
        "states": "Qwen2_5_VLForConditionalGeneration", "velocity": "QwenImageTransformer2DModel",
        "decoded": "AutoencoderKLQwenImage", "picture": "QwenImagePipeline",
    },
    "qwen_edit": {
        "tokens": "Qwen2_5_VisionTransformerPretrainedModel", "states": "Qwen2_5_VLForConditionalGeneration",
        "velocity": "QwenImageTransformer2DModel", "Edit-Plus": "QwenImageEditPlusPipeline",
        "Edit": "QwenImageEditPipeline",
    },
    "unet": {
        "sdxl: text": "CLIPTextModel, CLIPTextModelWithProjection", "pooled": "CLIPTextModelWithProjection",
        "text": "CLIPTextModel", "UNet": "UNet2DConditionModel", "decoded": "AutoencoderKL",
        "sdxl": "StableDiffusionXLPipeline", "sd15": "StableDiffusionPipeline",
    },
    "z_image": {
        "states": "Qwen3ForCausalLM", "velocity": "ZImageTransformer2DModel", "decoded": "AutoencoderKL",
        "picture": "ZImagePipeline",
    },
}  # fmt: skip


def option(family: str, what: str) -> str | None:
    """Return the option that a row covers; None: none is known."""
    name, colon, _ = what.partition(":")
    return OPTIONS.get(family, {}).get(name if colon else "")


def asked(family: str, what: str) -> str | None:
    """Return the class that a row compares with; None: none is known."""
    return next((name for word, name in CLASSES.get(family, {}).items() if word in what), None)
