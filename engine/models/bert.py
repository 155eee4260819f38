"""Encode text by BERT encoders (MiniLM and its like) over ragged rows: token states for the text pipeline.

Source: 1810.04805, post-norm blocks with exact GELU. A test compares it with transformers' `BertModel`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels.ops import Ops
from ...kernels.segments import Int32
from ..errors import LimitError
from ..weights.bert import ARCHITECTURE, BertConfig, BertWeights, load_bert
from ..weights.reader import Norm

__all__ = ["ARCHITECTURE", "BertConfig", "BertWeights", "encode", "load_bert"]


def encode(ops: Ops[Any, Any], weights: BertWeights, tokens: Sequence[Int32]) -> Any:
    """Return the last hidden states, float32 [T, D], of texts one after another. Each text attends to itself alone.

    Args:
        tokens: int32 ids of each text, special tokens included. At least one text; a text may be empty.

    Raises:
        LimitError: a text is longer than the model's positions.
        ValueError: an id is outside the vocabulary.
    """
    config = weights.config
    d, eps = config.hidden_size, config.layer_norm_eps
    longest = max((len(part) for part in tokens), default=0)
    if longest > config.max_position_embeddings:
        allowed = f"{config.max_position_embeddings} (the text encoder's positions)"
        raise LimitError(f"text: got {longest} tokens, allowed {allowed}; shorten it")
    ids = np.concatenate([np.empty(0, np.int32), *tokens]).astype(np.int32)
    if len(ids) and (ids.min() < 0 or ids.max() >= config.vocab_size):
        raise ValueError(f"tokens: got {ids.min()}..{ids.max()}, want ids in 0..{config.vocab_size - 1}")
    segments = ops.segments([len(part) for part in tokens])
    places = np.concatenate([np.empty(0, np.int32), *(np.arange(len(part), dtype=np.int32) for part in tokens)])

    rows = np.arange(len(ids), dtype=np.int32)
    indices = ops.vectors(rows, places.astype(np.int32), np.zeros_like(rows))
    tables = [
        ops.array(weights.words[ids], "float32"),
        ops.array(weights.positions[:longest], "float32"),
        weights.types,
    ]
    embedded = ops.embed(indices, tables)
    x = _apply(ops, embedded, weights.embedding_norm, eps)
    for layer in weights.layers:
        qkv = ops.linear(ops.cast(x), layer.qkv)
        q, k, v = (ops.columns(qkv, i * d, (i + 1) * d) for i in range(3))
        attended = ops.attention(q, k, v, segments, config.num_attention_heads)
        x = _apply(ops, ops.linear(attended, layer.out, residual=x), layer.attention_norm, eps)
        hidden = ops.linear(ops.cast(x), layer.up, activation="gelu")
        x = _apply(ops, ops.linear(hidden, layer.down, residual=x), layer.output_norm, eps)
    return x


def _apply(ops: Ops[Any, Any], x: Any, norm: Norm, eps: float) -> Any:
    return ops.norm(x, norm.weight, norm.bias, eps=eps, dtype="float32")
