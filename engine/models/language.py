"""Encode text by language models over ragged rows: the states of chosen layers, which newer image models read.

Qwen3 (FLUX.2 klein, Z-Image), Mistral 3 (FLUX.2 dev) and Qwen2.5-VL (Qwen-Image): pre-norm blocks with RMS norms,
causal attention with fewer heads of keys than of queries (2305.13245), rotary embedding (2104.09864) and SwiGLU
(2002.05202). Tests compare it with transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...kernels.ops import Ops
from ...kernels.segments import Int32, Segments
from ..weights.language import ARCHITECTURES, LanguageConfig, LanguageWeights, load_language
from .rope import line_tables, place_tables
from .token_rows import gather_words

__all__ = ["ARCHITECTURES", "LanguageConfig", "LanguageWeights", "Sight", "encode", "load_language"]


@dataclass(frozen=True, eq=False)
class Sight:
    """A picture within a text.

    Attributes:
        at: the first of its tokens in the text.
        grid: (height, width) in tokens.
        rows: backend array float32 [height * width, D], which stand for words.
    """

    at: int
    grid: tuple[int, int]
    rows: Any

    @property
    def end(self) -> int:
        """The token behind its last one."""
        return self.at + self.grid[0] * self.grid[1]


def encode(
    ops: Ops[Any, Any],
    weights: LanguageWeights,
    tokens: Sequence[Int32],
    layers: Sequence[int] = (-1,),
    counts: Sequence[int] | None = None,
    sights: Sequence[Sequence[Sight]] | None = None,
    sections: Sequence[int] = (),
) -> list[Any]:
    """Return the states of chosen layers, float32 [T, D] each, of texts one after another.

    Each text attends to itself alone, a token to those before it and itself. Layers behind the last chosen one are not
    computed.

    Args:
        tokens: int32 ids of each text. At least one text.
        layers: as transformers numbers `hidden_states`: 0 the words, -1 the last layer's with the final norm, -2 those
            of the layer before.
        counts: of each text the tokens that are no padding; the padding behind is seen by no token. None: all.
        sights: of each text its pictures, in their order; the ids of their tokens are not read as words. None: none.
        sections: how many frequencies turn by the place of a token in time, by its row and by its column, which differ
            in pictures.

    Raises:
        ValueError: an id is outside the vocabulary, there is no such layer, a count is not one of its text, or a
            picture stands outside of it.
    """
    config, eps, last = weights.config, weights.config.rms_norm_eps, len(weights.layers)
    if not layers or any(not -last - 1 <= layer <= last for layer in layers):
        raise ValueError(f"layers: got {list(layers)}, want some of {-last - 1}..{last}")
    wanted = [layer % (last + 1) for layer in layers]
    lengths = [len(part) for part in tokens]
    segments, seen = ops.segments(lengths), _seen(ops, lengths, counts)
    heads, groups, e = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    edges = [0, heads * e, (heads + groups) * e, (heads + 2 * groups) * e]
    x = gather_words(ops, weights.words, tokens)
    if sights is None:
        tables = line_tables(lengths, e, config.rope_theta)
    else:
        x = _with_pictures(ops, x, lengths, sights)
        places = [places_of(length, seen) for length, seen in zip(lengths, sights, strict=True)]
        tables = place_tables(np.concatenate(places, axis=1), sections, e, config.rope_theta)
    cos, sin = (ops.array(table, "float32") for table in tables)
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


def places_of(length: int, sights: Sequence[Sight]) -> Int32:
    """Return the places int32 [3, length] of a text's tokens: in time, row and column.

    A word has the same on all three. The tokens of a picture begin where a word would; the word behind stands beyond
    its longer side.
    """
    parts, at, place = [], 0, 0
    for sight in sights:
        height, width = sight.grid
        words = np.arange(place, place + sight.at - at)
        place += sight.at - at
        rows, columns = np.divmod(np.arange(height * width), width)
        parts += [np.stack([words] * 3), np.stack([np.zeros_like(rows), rows, columns]) + place]
        place, at = place + max(sight.grid), sight.end
    parts.append(np.stack([np.arange(place, place + length - at)] * 3))
    return np.concatenate(parts, axis=1).astype(np.int32)


def _with_pictures(ops: Ops[Any, Any], x: Any, lengths: Sequence[int], sights: Sequence[Sequence[Sight]]) -> Any:
    """Return the rows float32 [T, D] of words and pictures, of the rows `x` [T, D] of words alone."""
    parts, at, start = [], 0, 0
    for length, seen in zip(lengths, sights, strict=True):
        for sight in seen:
            if not at <= start + sight.at <= start + sight.end <= start + length:
                raise ValueError(f"sights: got a picture at {sight.at}..{sight.end} of a text of {length} tokens")
            parts += [ops.rows(x, at, start + sight.at), sight.rows]
            at = start + sight.end
        start += length
    parts.append(ops.rows(x, at, start))
    return ops.concat(parts)


def _seen(ops: Ops[Any, Any], lengths: Sequence[int], counts: Sequence[int] | None) -> Segments | None:
    """Return the segments of keys: the padding of all texts belongs to a sample that has no queries."""
    if counts is None:
        return None
    if len(counts) != len(lengths) or any(not 0 <= n <= of for n, of in zip(counts, lengths, strict=False)):
        raise ValueError(f"counts: got {list(counts)}, want one in 0..{list(lengths)} for each text")
    parts = [part for n, of in zip(counts, lengths, strict=True) for part in (n, of - n)]
    owners = [owner for text in range(len(lengths)) for owner in (text, len(lengths))]
    return ops.segments(parts, owners, len(lengths) + 1)
