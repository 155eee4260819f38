"""Name the packed linears of Qwen-Image, and the layers of LoRA files that lie in them, which are called as diffusers
calls them in every layout."""

from __future__ import annotations

from .lora_map import LoraMap, MapMaker
from .qwen_image import IMAGE, TEXT, TIME_CHANNELS, QwenImageConfig, modulations_of

IMAGE_IN, TEXT_IN, IMAGE_OUT, MODULATION = "image_in", "text_in", "image_out", "modulation"
TIME_FIRST, TIME_SECOND = "time.first", "time.second"


def lora_map(config: QwenImageConfig) -> LoraMap:
    """Return where the layers of a Qwen-Image transformer lie. `engine/models/qwen_image.py` uses its names."""
    d, time = config.width, "time_text_embed.timestep_embedder"
    maker = MapMaker()
    add = maker.add
    add(IMAGE_IN, config.in_channels, [("img_in", d)])
    add(TEXT_IN, config.joint_attention_dim, [("txt_in", d)])
    add(TIME_FIRST, TIME_CHANNELS, [(f"{time}.linear_1", d)])
    add(TIME_SECOND, d, [(f"{time}.linear_2", d)])
    add(MODULATION, d, modulations_of(config))
    add(IMAGE_OUT, d, [("proj_out", config.in_channels)])
    for i in range(config.num_layers):
        at = f"transformer_blocks.{i}"
        for half, names, out, mlp in (("image", IMAGE, "to_out.0", "img_mlp"), ("text", TEXT, "to_add_out", "txt_mlp")):
            add(f"{i}.{half}.qkv", d, [(f"{at}.attn.{name}", d) for name in names])
            add(f"{i}.{half}.out", d, [(f"{at}.attn.{out}", d)])
            add(f"{i}.{half}.up", d, [(f"{at}.{mlp}.net.0.proj", 4 * d)])
            add(f"{i}.{half}.down", 4 * d, [(f"{at}.{mlp}.net.2", d)])
    return maker.made()
