"""Name the packed linears of Z-Image, and the layers of LoRA files that lie in them.

Files name layers as diffusers does, or as the original files do, whose attention has one layer for queries, keys and
values.
"""

from __future__ import annotations

from ..files.z_image import original_name
from .lora_map import LoraMap, LoraPlace, MapMaker, Turned
from .z_image import PATCH, TIME_CHANNELS, TIME_HIDDEN, ZImageConfig, columns_of

IMAGE_IN, IMAGE_OUT = "image_in", "image_out"
TEXT_IN, MODULATION, SCALE_OUT = "text_in", "modulation", "scale_out"
TIME_FIRST, TIME_SECOND = "time.first", "time.second"


def lora_map(config: ZImageConfig) -> LoraMap:
    """Return where the layers of a Z-Image transformer lie. `engine/models/z_image.py` uses its names."""
    maker, d, hidden, n = MapMaker(), config.dim, config.hidden, config.num_modulated
    columns, channels, final = columns_of(config.in_channels), config.token_channels, f"all_final_layer.{PATCH}"
    maker.add(IMAGE_IN, channels, [(f"all_x_embedder.{PATCH}", d)])
    maker.add(IMAGE_OUT, d, [(f"{final}.linear", channels)])
    maker.turned |= {IMAGE_IN: Turned(columns=columns), IMAGE_OUT: Turned(rows=columns, sign=-1.0)}
    maker.add(TEXT_IN, config.cap_feat_dim, [("cap_embedder.1", d)])
    maker.add(TIME_FIRST, TIME_CHANNELS, [("t_embedder.mlp.0", TIME_HIDDEN)])
    maker.add(TIME_SECOND, TIME_HIDDEN, [("t_embedder.mlp.2", config.condition)])
    maker.add(SCALE_OUT, config.condition, [(f"{final}.adaLN_modulation.1", d)])
    names = [f"noise_refiner.{i}" for i in range(config.n_refiner_layers)]
    names += [f"layers.{i}" for i in range(config.n_layers)]
    maker.targets[MODULATION] = (4 * d * n, config.condition)
    for number, at in enumerate(names):
        # scales of all blocks, then gates; a layer has scale and gate of attention, then of the feed-forward part
        scales, gates = 2 * d * number, 2 * d * (n + number)
        starts = (scales, gates, scales + d, gates + d)
        maker.layers[f"{at}.adaLN_modulation.0"] = tuple(
            LoraPlace(MODULATION, start, part * d, (part + 1) * d) for part, start in enumerate(starts)
        )
    for at in (*names, *(f"context_refiner.{i}" for i in range(config.n_refiner_layers))):
        maker.add(f"{at}.qkv", d, [(f"{at}.attention.to_{x}", d) for x in "qkv"])
        maker.add(f"{at}.out", d, [(f"{at}.attention.to_out.0", d)])
        maker.gated(f"{at}.up", d, [(f"{at}.feed_forward.w{i}", hidden) for i in (1, 3)])
        maker.add(f"{at}.down", hidden, [(f"{at}.feed_forward.w2", d)])
        maker.alias(f"{at}.attention.qkv", [(f"{at}.attention.to_{x}", 0, d) for x in "qkv"])
    for name in [*maker.layers]:
        maker.layers.setdefault(original_name(name), maker.layers[name])
    return maker.made()
