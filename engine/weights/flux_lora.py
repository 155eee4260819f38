"""Name the packed linears of the Flux family, and the layers of LoRA files that lie in them.

Files name layers as diffusers does, or as the original files of FLUX.1 do, whose fused ones are several of diffusers'.
"""

from __future__ import annotations

from dataclasses import replace

from ..files import flux as originals
from .flux import IMAGE, TEXT, TIME_CHANNELS, FluxConfig, modulations_of
from .lora_map import LoraMap, LoraPlace, MapMaker

IMAGE_IN, TEXT_IN, IMAGE_OUT, MODULATION = "image_in", "text_in", "image_out", "modulation"
BESIDE_IN = "beside_in"  # of FLUX.1 Fill
TIME, POOLED, GUIDANCE = "time", "pooled", "guidance"


def lora_map(config: FluxConfig) -> LoraMap:
    """Return where the layers of a Flux transformer lie, for LoRA files. `engine/models/flux.py` uses its names."""
    d = config.width
    maker = MapMaker()
    add, layers = maker.add, maker.layers

    def embedder(target: str, name: str, depth: int) -> None:
        add(f"{target}.first", depth, [(f"time_text_embed.{name}.linear_1", d)])
        add(f"{target}.second", d, [(f"time_text_embed.{name}.linear_2", d)])

    add(IMAGE_IN, config.in_channels, [("x_embedder", d)])
    add(TEXT_IN, config.joint_attention_dim, [("context_embedder", d)])
    embedder(TIME, "timestep_embedder", TIME_CHANNELS)
    embedder(POOLED, "text_embedder", config.pooled_projection_dim)
    if config.guidance_embeds:
        embedder(GUIDANCE, "guidance_embedder", TIME_CHANNELS)
    add(MODULATION, d, modulations_of(config))
    add(IMAGE_OUT, d, [("proj_out", config.in_channels)])
    for i in range(config.num_layers):
        at = f"transformer_blocks.{i}"
        for half, names, out, ff in (("image", IMAGE, "to_out.0", "ff"), ("text", TEXT, "to_add_out", "ff_context")):
            add(f"double.{i}.{half}.qkv", d, [(f"{at}.attn.{name}", d) for name in names])
            add(f"double.{i}.{half}.out", d, [(f"{at}.attn.{out}", d)])
            add(f"double.{i}.{half}.up", d, [(f"{at}.{ff}.net.0.proj", 4 * d)])
            add(f"double.{i}.{half}.down", 4 * d, [(f"{at}.{ff}.net.2", d)])
    for i in range(config.num_single_layers):
        at = f"single_transformer_blocks.{i}"
        add(f"single.{i}.qkv", d, [(f"{at}.attn.{name}", d) for name in IMAGE])
        add(f"single.{i}.mlp", d, [(f"{at}.proj_mlp", 4 * d)])
        add(f"single.{i}.out", 5 * d, [(f"{at}.proj_out", d)])

    rows = {name: place.stop for name, (place,) in layers.items()}
    for name, inside in originals.layers(config.num_layers, config.num_single_layers, rows).items():
        found = []
        for piece, ranges in inside:
            (place,) = layers[piece]
            row = place.at
            for start, stop in ranges:
                found.append(LoraPlace(place.target, row, start, stop))
                row += stop - start
        layers[name] = tuple(found)
    if beside := config.beside_channels:  # one layer in files, two linears here
        own, all_columns = config.in_channels, config.in_channels + beside
        maker.targets[BESIDE_IN] = d, beside
        for name in ("x_embedder", "img_in"):
            (place,) = layers[name]
            layers[name] = (replace(place, columns=(0, own)), LoraPlace(BESIDE_IN, 0, 0, d, (own, all_columns)))
    return maker.made()
