"""Encode text by T5 encoders (T5 v1.1) over ragged rows: the token states that FLUX.1 and SD3 read.

Source: 1910.10683; gated GELU: 2002.05202. RMS norms without a mean, attention without a scale, and one bias by
relative position that all layers share. A test compares it with transformers' `T5EncoderModel`.

The residual stream is float32 on every backend: T5's grows beyond what half precision holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...kernels.ops import LowRankTerm, Ops
from ...kernels.segments import Int32
from ..weights.t5 import ARCHITECTURES, T5Config, T5Weights, load_t5
from .token_rows import gather_words

__all__ = ["ARCHITECTURES", "T5Config", "T5Weights", "encode", "load_t5"]


def encode(
    ops: Ops[Any, Any],
    weights: T5Weights,
    tokens: Sequence[Int32],
    low_rank: Callable[[str], Sequence[LowRankTerm]] = lambda _target: (),
) -> Any:
    """Return the last hidden states, float32 [T, D], of texts one after another. Each text attends to itself alone.

    Args:
        tokens: int32 ids of each text, special tokens included, and padding where a pipeline pads without a mask. At
            least one text; a text may be empty.
        low_rank: returns the terms of a linear (`t5_lora`), which reads a row for each token.

    Raises:
        ValueError: an id is outside the vocabulary.
    """
    config, eps = weights.config, weights.config.layer_norm_epsilon
    inner = config.num_heads * config.d_kv
    segments = ops.segments([len(part) for part in tokens])
    x = gather_words(ops, weights.words, tokens)
    for number, layer in enumerate(weights.layers):
        qkv, out, up, down = (low_rank(f"{number}.{name}") for name in ("qkv", "out", "up", "down"))
        qkv = ops.linear(ops.norm(x, layer.attention_norm, kind="rms", eps=eps), layer.qkv, low_rank=qkv)
        q, k, v = (ops.columns(qkv, i * inner, (i + 1) * inner) for i in range(3))
        attended = ops.attention(q, k, v, segments, config.num_heads, scale=1.0, bias=weights.bias)
        ops.linear(attended, layer.out, residual=x, low_rank=out)
        normed = ops.norm(x, layer.feed_norm, kind="rms", eps=eps)
        hidden = ops.linear(normed, layer.up, activation="geglu_tanh", low_rank=up)
        ops.linear(hidden, layer.down, residual=x, low_rank=down)
    return ops.norm(x, weights.norm, kind="rms", eps=eps, dtype="float32")
