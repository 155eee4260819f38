"""Name the packed linears of CLIP's text encoders, and the layers of LoRA files that lie in them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

from .clip import ClipConfig
from .lora_map import LoraMap, MapMaker

PROJECTION = "projection"


def lora_map(encoders: Mapping[str, ClipConfig]) -> LoraMap:
    """Return where the layers of text encoders lie, by their components' names, which stand before targets too
    (`target_of`)."""
    return reduce(LoraMap.beside, (_encoder(name, config) for name, config in encoders.items()), LoraMap({}, {}))


def target_of(encoder: str, name: str) -> str:
    """Return the target of an encoder's linear, which `engine/models/clip.py` calls so."""
    return f"{encoder}:{name}"


def _encoder(encoder: str, config: ClipConfig) -> LoraMap:
    maker, d, hidden = MapMaker(), config.hidden_size, config.intermediate_size
    for i in range(config.num_hidden_layers):
        at = f"{encoder}.text_model.encoder.layers.{i}"
        for name, depth, parts in (
            ("qkv", d, [(f"self_attn.{x}_proj", d) for x in "qkv"]), ("out", d, [("self_attn.out_proj", d)]),
            ("up", d, [("mlp.fc1", hidden)]), ("down", hidden, [("mlp.fc2", d)]),
        ):  # fmt: skip
            maker.add(target_of(encoder, f"{i}.{name}"), depth, [(f"{at}.{part}", rows) for part, rows in parts])
    if config.projection_dim is not None:
        maker.add(target_of(encoder, PROJECTION), d, [(f"{encoder}.text_projection", config.projection_dim)])
    return maker.made()
