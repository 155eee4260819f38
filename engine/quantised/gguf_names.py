"""Give text encoders in GGUF, which have llama.cpp's names, transformers' names and order of rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .coded import Coded, Decode, matrix

_BLOCK: Final = re.compile(r"(?:enc\.)?blk\.(\d+)\.(.+)")
_T5: Final = {
    "token_embd": "shared",
    "enc.output_norm": "encoder.final_layer_norm",
    "attn_q": "layer.0.SelfAttention.q",
    "attn_k": "layer.0.SelfAttention.k",
    "attn_v": "layer.0.SelfAttention.v",
    "attn_o": "layer.0.SelfAttention.o",
    "attn_norm": "layer.0.layer_norm",
    "attn_rel_b": "layer.0.SelfAttention.relative_attention_bias",
    "ffn_gate": "layer.1.DenseReluDense.wi_0",
    "ffn_up": "layer.1.DenseReluDense.wi_1",
    "ffn_down": "layer.1.DenseReluDense.wo",
    "ffn_norm": "layer.1.layer_norm",
}
_LANGUAGE: Final = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    **{f"attn_{x}": f"self_attn.{x}_proj" for x in "qkv"},
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    **{f"ffn_{x}": f"mlp.{x}_proj" for x in ("gate", "up", "down")},
    "ffn_norm": "post_attention_layernorm",
}


@dataclass(frozen=True)
class Names:
    """How an architecture's arrays are called.

    Attributes:
        table: llama.cpp's name without the block -> transformers'.
        block: what stands before a block's number.
        pairs: whether rows of q and k that are rotated together stand side by side, and not half a head apart.
    """

    table: dict[str, str]
    block: str
    pairs: bool = False

    def __call__(self, name: str) -> str:
        """Return transformers' name of an array. One that is unknown stays, and is told as that."""
        stem, _, part = name.rpartition(".")
        match = _BLOCK.fullmatch(stem)
        if match is None:
            return f"{self.table[stem]}.{part}" if stem in self.table else name
        return f"{self.block}{match[1]}.{self.table[match[2]]}.{part}" if match[2] in self.table else name


# Values of general.architecture.
ARCHITECTURES: Final = {
    **dict.fromkeys(("t5", "t5encoder"), Names(_T5, "encoder.block.")),
    **dict.fromkeys(("qwen3", "qwen2", "qwen2vl"), Names(_LANGUAGE, "model.layers.")),
    **dict.fromkeys(("llama", "mistral", "mistral3"), Names(_LANGUAGE, "model.layers.", pairs=True)),
}


def halved(coded: Coded, heads: int) -> Coded:
    """Return an array of q or k whose rows that are rotated together stand half a head apart, as transformers has them.

    Args:
        coded: the array with these rows side by side.
        heads: a divisor of half of its rows.
    """
    rows, columns = matrix(coded.shape)
    head = rows // heads

    def begin(narrowed: bool) -> Decode:
        decode = coded.begin(narrowed)

        def halves(start: int, stop: int, out: NDArray[Any]) -> None:
            first, last = start // head * head, -(-stop // head) * head
            whole = np.empty((last - first, columns), out.dtype)
            decode(first, last, whole)
            ordered = whole.reshape(-1, head // 2, 2, columns).swapaxes(1, 2).reshape(whole.shape)
            out[...] = ordered[start - first : stop - first]

        return halves

    return replace(coded, begin=begin, unit=head)
