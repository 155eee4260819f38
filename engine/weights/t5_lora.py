"""Name the packed linears of T5 encoders, and the layers of LoRA files that lie in them."""

from __future__ import annotations

from .clip_lora import target_of
from .lora_map import LoraMap, MapMaker
from .t5 import T5Config


def lora_map(encoder: str, config: T5Config) -> LoraMap:
    """Return where the layers of a text encoder lie. `encoder`: its component's name, which stands before targets."""
    maker, d = MapMaker(), config.d_model
    inner, hidden = config.num_heads * config.d_kv, config.d_ff
    for i in range(config.num_layers):
        at = f"{encoder}.encoder.block.{i}.layer"
        attention, feed = f"{at}.0.SelfAttention", f"{at}.1.DenseReluDense"
        maker.add(target_of(encoder, f"{i}.qkv"), d, [(f"{attention}.{name}", inner) for name in "qkv"])
        maker.add(target_of(encoder, f"{i}.out"), inner, [(f"{attention}.o", d)])
        maker.gated(target_of(encoder, f"{i}.up"), d, [(f"{feed}.wi_{j}", hidden) for j in (0, 1)])
        maker.add(target_of(encoder, f"{i}.down"), hidden, [(f"{feed}.wo", d)])
    return maker.made()
