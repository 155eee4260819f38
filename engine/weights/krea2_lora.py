"""Name the packed linears of Krea 2, and the layers of LoRA files that lie in them.

Files name layers as diffusers does, or as the original files do.
"""

from __future__ import annotations

from ..files.krea2 import original_name
from .krea2 import Krea2Config
from .lora_map import LoraMap, MapMaker

IMAGE_IN, IMAGE_OUT, MODULATION = "img_in", "final_layer.linear", "time_mod_proj"
TIME_FIRST, TIME_SECOND = "time_embed.linear_1", "time_embed.linear_2"
TEXT_FIRST, TEXT_SECOND = "txt_in.linear_1", "txt_in.linear_2"
PROJECTOR = "text_fusion.projector"


def lora_map(config: Krea2Config) -> LoraMap:
    """Return where the layers of a Krea 2 transformer lie. `engine/models/krea2.py` uses its names, diffusers'."""
    maker, d, text = MapMaker(), config.width, config.text_hidden_dim
    for name, depth, rows in (
        (IMAGE_IN, config.in_channels, d), (IMAGE_OUT, d, config.in_channels), (MODULATION, d, 6 * d),
        (TIME_FIRST, config.timestep_embed_dim, d), (TIME_SECOND, d, d), (TEXT_FIRST, text, d), (TEXT_SECOND, d, d),
        (PROJECTOR, config.num_text_layers, 1),
    ):  # fmt: skip
        maker.add(name, depth, [(name, rows)])
    maker.whole.add(PROJECTOR)

    def block(at: str, width: int, heads: int, kv_heads: int, inner: int) -> None:
        kv = kv_heads * (width // heads)
        rows = {"to_q": width, "to_k": kv, "to_v": kv}
        maker.add(f"{at}.qkv", width, [(f"{at}.attn.{name}", count) for name, count in rows.items()])
        maker.add(f"{at}.gate", width, [(f"{at}.attn.to_gate", width)])
        maker.add(f"{at}.out", width, [(f"{at}.attn.to_out.0", width)])
        maker.gated(f"{at}.up", width, [(f"{at}.ff.{name}", inner) for name in ("gate", "up")])
        maker.add(f"{at}.down", inner, [(f"{at}.ff.down", width)])

    heads = config.text_num_attention_heads, config.text_num_key_value_heads, config.text_intermediate_size
    for name, count in (
        ("layerwise", config.num_layerwise_text_blocks), ("refiner", config.num_refiner_text_blocks),
    ):  # fmt: skip
        for i in range(count):
            block(f"text_fusion.{name}_blocks.{i}", text, *heads)
    heads = config.num_attention_heads, config.num_key_value_heads, config.intermediate_size
    for i in range(config.num_layers):
        block(f"transformer_blocks.{i}", d, *heads)
    for name in [*maker.layers]:
        maker.layers[original_name(name)] = maker.layers[name]
    return maker.made()
