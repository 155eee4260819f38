"""Name the packed linears of FLUX.2, and the layers of LoRA files that lie in them.

Files name layers as diffusers does, or as the original files do.
"""

from __future__ import annotations

from ..files.blocks import FUSED
from ..files.flux2 import DOUBLE, SINGLE, TOP
from .flux2 import Flux2Config, modulations_of
from .lora_map import LoraMap, LoraPlace, MapMaker

IMAGE_IN, TEXT_IN, IMAGE_OUT, MODULATION = "image_in", "text_in", "image_out", "modulation"
TIME, GUIDANCE = "time", "guidance"


def lora_map(config: Flux2Config) -> LoraMap:
    """Return where the layers of a FLUX.2 transformer lie. `engine/models/flux2.py` uses its names."""
    maker, d, hidden = MapMaker(), config.width, config.hidden
    maker.add(IMAGE_IN, config.in_channels, [("x_embedder", d)])
    maker.add(TEXT_IN, config.joint_attention_dim, [("context_embedder", d)])
    for target, name in ((TIME, "timestep"), (GUIDANCE, "guidance")):
        if target == TIME or config.guidance_embeds:
            at = f"time_guidance_embed.{name}_embedder"
            maker.add(f"{target}.first", config.timestep_guidance_channels, [(f"{at}.linear_1", d)])
            maker.add(f"{target}.second", d, [(f"{at}.linear_2", d)])
    maker.add(MODULATION, d, modulations_of(config))
    maker.add(IMAGE_OUT, d, [("proj_out", config.in_channels)])
    for i in range(config.num_layers):
        at = f"transformer_blocks.{i}"
        for half, fused, out, feed in (
            ("image", "img_attn.qkv", "to_out.0", "ff"), ("text", "txt_attn.qkv", "to_add_out", "ff_context"),
        ):  # fmt: skip
            maker.add(f"double.{i}.{half}.qkv", d, [(f"{at}.{name}", d) for name in FUSED[fused]])
            maker.add(f"double.{i}.{half}.out", d, [(f"{at}.attn.{out}", d)])
            maker.gated(f"double.{i}.{half}.up", d, [(f"{at}.{feed}.linear_in", 2 * hidden)])
            maker.add(f"double.{i}.{half}.down", hidden, [(f"{at}.{feed}.linear_out", d)])
            maker.alias(f"double_blocks.{i}.{fused}", [(f"{at}.{name}", 0, d) for name in FUSED[fused]])
        _rename(maker, f"double_blocks.{i}", at, DOUBLE)
    for i in range(config.num_single_layers):
        at = f"single_transformer_blocks.{i}"
        qkv, up, both = f"single.{i}.qkv", f"single.{i}.up", f"{at}.attn.to_qkv_mlp_proj"
        maker.add(qkv, d, [(both, 3 * d)])
        maker.gated(up, d, [(both, 2 * hidden)])
        maker.layers[both] = (LoraPlace(qkv, 0, 0, 3 * d), LoraPlace(up, 0, 3 * d, 3 * d + 2 * hidden))
        maker.add(f"single.{i}.out", d + hidden, [(f"{at}.attn.to_out", d)])
        _rename(maker, f"single_blocks.{i}", at, SINGLE)
    for old, new in TOP.items():
        if new in maker.layers:
            maker.layers[old] = maker.layers[new]
    # shift and scale there, scale and shift in diffusers
    maker.alias("final_layer.adaLN_modulation.1", [("norm_out.linear", d, 2 * d), ("norm_out.linear", 0, d)])
    return maker.made()


def _rename(maker: MapMaker, to: str, at: str, names: dict[str, str]) -> None:
    """Add the original names of a block's layers; norms are none."""
    for old, new in names.items():
        if f"{at}.{new}" in maker.layers:
            maker.layers[f"{to}.{old}"] = maker.layers[f"{at}.{new}"]
