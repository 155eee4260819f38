"""Encode text by language models over ragged rows: the states of chosen layers, which newer image models read.

Qwen3 (FLUX.2 klein, Z-Image), Mistral 3 (FLUX.2 dev) and Qwen2.5-VL (Qwen-Image): pre-norm blocks with RMS norms,
causal attention with fewer heads of keys than of queries (2305.13245), rotary embedding (2104.09864) and SwiGLU
(2002.05202). Tests compare it with transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...kernels.ops import Ops
from ...kernels.segments import Int32, Segments
from ..weights.language import ARCHITECTURES, LanguageConfig, LanguageWeights, load_language
from .rope import line_tables
from .token_rows import gather_words

__all__ = ["ARCHITECTURES", "LanguageConfig", "LanguageWeights", "encode", "load_language"]


def encode(
    ops: Ops[Any, Any],
    weights: LanguageWeights,
    tokens: Sequence[Int32],
    layers: Sequence[int] = (-1,),
    counts: Sequence[int] | None = None,
) -> list[Any]:
    """Return the states of chosen layers, float32 [T, D] each, of texts one after another.

    Each text attends to itself alone, a token to those before it and itself. Layers behind the last chosen one are not
    computed.

    Args:
        tokens: int32 ids of each text. At least one text.
        layers: as transformers numbers `hidden_states`: 0 the words, -1 the last layer's with the final norm, -2 those
            of the layer before.
        counts: of each text the tokens that are no padding; the padding behind is seen by no token. None: all.

    Raises:
        ValueError: an id is outside the vocabulary, there is no such layer, or a count is not one of its text.
    """
    config, eps, last = weights.config, weights.config.rms_norm_eps, len(weights.layers)
    if not layers or any(not -last - 1 <= layer <= last for layer in layers):
        raise ValueError(f"layers: got {list(layers)}, want some of {-last - 1}..{last}")
    wanted = [layer % (last + 1) for layer in layers]
    lengths = [len(part) for part in tokens]
    segments, seen = ops.segments(lengths), _seen(ops, lengths, counts)
    heads, groups, e = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    edges = [0, heads * e, (heads + groups) * e, (heads + 2 * groups) * e]
    cos, sin = (ops.array(table, "float32") for table in line_tables(lengths, e, config.rope_theta))
    x = gather_words(ops, weights.words, tokens)
    states = {0: ops.cast(x, "float32")} if 0 in wanted else {}
    for number, layer in enumerate(weights.layers[: max(wanted)], start=1):
        qkv = ops.linear(ops.norm(x, layer.attention_norm, kind="rms", eps=eps), layer.qkv)
        ops.qk_norm_rope(qkv, heads, layer.q_norm, layer.k_norm, cos, sin, eps=eps, kv_heads=groups)
        q, k, v = (ops.columns(qkv, start, stop) for start, stop in zip(edges[:-1], edges[1:], strict=True))
        attended = ops.attention(q, k, v, segments, heads, kv_segments=seen, kv_heads=groups, causal=True)
        ops.linear(attended, layer.out, residual=x)
        normed = ops.norm(x, layer.feed_norm, kind="rms", eps=eps)
        ops.linear(ops.linear(normed, layer.up, activation="swiglu"), layer.down, residual=x)
        if number in wanted:
            final = weights.norm if number == last else None
            states[number] = (
                ops.cast(x, "float32") if final is None else ops.norm(x, final, kind="rms", eps=eps, dtype="float32")
            )
    return [states[number] for number in wanted]


def _seen(ops: Ops[Any, Any], lengths: Sequence[int], counts: Sequence[int] | None) -> Segments | None:
    """Return the segments of keys: the padding of all texts belongs to a sample that has no queries."""
    if counts is None:
        return None
    if len(counts) != len(lengths) or any(not 0 <= n <= of for n, of in zip(counts, lengths, strict=False)):
        raise ValueError(f"counts: got {list(counts)}, want one in 0..{list(lengths)} for each text")
    parts = [part for n, of in zip(counts, lengths, strict=True) for part in (n, of - n)]
    owners = [owner for text in range(len(lengths)) for owner in (text, len(lengths))]
    return ops.segments(parts, owners, len(lengths) + 1)
