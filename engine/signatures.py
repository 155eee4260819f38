"""Tell what a checkpoint is, also of families that Salon does not have: by the class that an index names, or by arrays.

Names of arrays are those by which diffusers tells single files (`loaders/single_file_utils.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

# The first word of a pipeline's class decides, so the longer names stand first.
PIPELINES: Final = {
    "StableDiffusionXLInpaint": "SDXL for inpainting",
    "StableDiffusionXLImg2Img": "the refiner of SDXL",
    "StableDiffusionXL": "SDXL",
    "StableDiffusion3": "Stable Diffusion 3",
    "StableDiffusionInpaint": "Stable Diffusion for inpainting",
    "StableDiffusion": "Stable Diffusion 1 or 2",
    "Flux2": "FLUX.2",
    "FluxKontext": "FLUX.1 Kontext",
    "FluxFill": "FLUX.1 Fill",
    "FluxControl": "FLUX.1 with a control picture",
    "Flux": "FLUX.1",
    "Chroma": "Chroma",
    "ZImageOmni": "Z-Image-Omni, which looks at pictures",
    "ZImage": "Z-Image",
    "QwenImageEdit": "Qwen-Image-Edit",
    "QwenImageLayered": "Qwen-Image-Layered",
    "QwenImage": "Qwen-Image",
    "Krea2": "Krea 2",
    "HiDream": "HiDream",
    "PixArt": "PixArt",
    "Lumina": "Lumina",
    "Sana": "Sana",
    "AuraFlow": "AuraFlow",
    "Kandinsky": "Kandinsky",
    "Wan": "Wan, which makes video",
    "LTX": "LTX, which makes video",
    "Hunyuan": "Hunyuan",
    "Cosmos": "Cosmos",
}
# A name of an array -> what a file that has it is. The first that fits decides.
ARRAYS: Final = {
    "single_stream_modulation.lin.weight": "FLUX.2",
    "distilled_guidance_layer.in_proj.bias": "Chroma",
    "double_blocks.0.img_attn.norm.key_norm.scale": "FLUX.1",
    "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias": "SDXL",
    "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias": "the refiner of SDXL",
    "label_emb.0.0.weight": "SDXL",
    "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": "Stable Diffusion 1",
    "cond_stage_model.model.token_embedding.weight": "Stable Diffusion 2",
    "input_blocks.0.0.weight": "Stable Diffusion, its UNet",
    "joint_blocks.0.context_block.adaLN_modulation.1.bias": "Stable Diffusion 3",
    "layers.0.adaLN_modulation.0.weight": "Z-Image",
    "cap_embedder.0.weight": "Z-Image or Lumina 2",
    "txtfusion.projector.weight": "Krea 2",
    "txt_in.text_norm.weight": "Qwen-Image 2.1",
    "transformer_blocks.0.img_mod.1.weight": "Qwen-Image",
    "head.modulation": "Wan, which makes video",
    "patchify_proj.weight": "LTX, which makes video",
    "blocks.0.cross_attn.kv_linear.weight": "Sana or PixArt",
}
# Denoisers in diffusers' layout, under other names than the makers'. The first that fits decides.
DENOISERS: Final = {
    "pos_embed.proj.weight": "Stable Diffusion 3 or PixArt, a transformer in diffusers' layout",
    "time_text_embed.text_embedder.linear_1.weight": "FLUX.1, its transformer in diffusers' layout",
    "single_stream_modulation.linear.weight": "FLUX.2, its transformer in diffusers' layout",
    "text_fusion.projector.weight": "Krea 2, its transformer in diffusers' layout",
    "add_embedding.linear_1.weight": "SDXL, its UNet in diffusers' layout",
    "down_blocks.0.resnets.0.conv1.weight": "Stable Diffusion 1 or 2, its UNet in diffusers' layout",
}
# What goes with a model. The names of a ControlNet are a UNet's, too, so these are looked at before `DENOISERS`.
PARTS: Final = {
    **dict.fromkeys(
        ("controlnet_cond_embedding.conv_in.weight", "controlnet_blocks.0.weight", "input_hint_block.0.weight",
         "control_model.input_hint_block.0.weight"),
        "a ControlNet, with which Salon does not draw",
    ),
    "decoder.up.0.block.0.norm1.weight": "an autoencoder (name it with --vae)",
    "decoder.up_blocks.0.resnets.0.norm1.weight": "an autoencoder (name it with --vae)",
    "decoder.middle.0.residual.0.gamma": "an autoencoder of Wan or Qwen-Image (name it with --vae)",
    "decoder.mid_block.resnets.0.norm1.gamma": "an autoencoder of Wan or Qwen-Image (name it with --vae)",
    "text_model.embeddings.token_embedding.weight": "a CLIP text encoder (name it with --text-encoder)",
    "embeddings.token_embedding.weight": "a CLIP text encoder (name it with --text-encoder)",
    "vision_model.embeddings.patch_embedding.weight": "an image encoder (name it with --image-encoder)",
    "encoder.block.0.layer.0.SelfAttention.q.weight": "a T5 text encoder (name it with --text-encoder)",
    "model.layers.0.self_attn.q_proj.weight": "a language model (name it with --text-encoder)",
    "language_model.layers.0.self_attn.q_proj.weight": "a language model (name it with --text-encoder)",
}  # fmt: skip
PREFIXES: Final = ("", "model.diffusion_model.", "model.")
LORA: Final = (".lora_down.weight", ".lora_A.weight", ".lora_up.weight", ".lora_B.weight", ".hada_w1_a", ".lokr_w1")
IP_ADAPTER: Final = ("to_k_ip.weight", "ip_adapter_double_stream_k_proj.weight")
UNKNOWN: Final = "nothing that Salon can tell"


def describe_pipeline(name: str) -> str | None:
    """Return the family of a pipeline's class; None: it is none that Salon can tell."""
    return next((family for start, family in PIPELINES.items() if name.startswith(start)), None)


def describe_file(keys: Collection[str]) -> str:
    """Return what a safetensors file is by the names of its arrays, or `UNKNOWN`."""
    return _first(ARRAYS, keys) or describe_part(keys) or describe_denoiser(keys) or UNKNOWN


def describe_part(keys: Collection[str]) -> str | None:
    """Return what a file is that goes with a model; None: it is none that Salon can tell."""
    if _first(ARRAYS, keys) is not None:
        return None
    if any(key.endswith(LORA) for key in keys):
        return "a LoRA (name it with --lora)"
    if any(key.endswith(IP_ADAPTER) for key in keys):
        return "an IP-Adapter (name it with --ip-adapter)"
    return _first(PARTS, keys)


def describe_denoiser(keys: Collection[str]) -> str | None:
    """Return which model's denoiser a file is, in diffusers' layout; None: it is none that Salon can tell."""
    return _first(DENOISERS, keys)


def _first(table: Mapping[str, str], keys: Collection[str]) -> str | None:
    names = ((f"{prefix}{name}", what) for name, what in table.items() for prefix in PREFIXES)
    return next((what for name, what in names if name in keys), None)
