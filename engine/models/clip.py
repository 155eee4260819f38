"""Encode text by CLIP's text encoders over ragged rows: CLIP-L of FLUX.1, SD 1.5 and SDXL, and SDXL's OpenCLIP bigG.

Source: 2103.00020, section 2.4: causal attention, pre-norm blocks, and the state of the end token as the text's. A test
compares it with transformers' `CLIPTextModel` and `CLIPTextModelWithProjection`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ...kernels.ops import Activation, LowRankTerm, Ops
from ...kernels.segments import Int32
from ..weights.clip import ARCHITECTURES, LEGACY_EOS, ClipConfig, ClipWeights, load_clip
from ..weights.clip_lora import PROJECTION
from ..weights.reader import Norm
from .token_rows import gather_words

__all__ = ["ARCHITECTURES", "ClipConfig", "ClipStates", "ClipWeights", "encode", "load_clip"]


@dataclass(frozen=True, eq=False)
class ClipStates:
    """What CLIP knows of texts.

    Attributes:
        states: float32 [T, D], a state for each token.
        pooled: float32 [S, D], or [S, projection_dim] where the model has a projection; one for each text.
    """

    states: Any
    pooled: Any


def encode(
    ops: Ops[Any, Any],
    weights: ClipWeights,
    tokens: Sequence[Int32],
    layer: int | None = None,
    low_rank: Callable[[str, str], Sequence[LowRankTerm]] = lambda _target, _place: (),
) -> ClipStates:
    """Encode texts, each of which attends to itself alone.

    Args:
        tokens: int32 ids of each text, special tokens included. At least one text, and none is empty.
        layer: whose states are returned, as transformers numbers its `hidden_states`: 0 the words, -1 the last layer's,
            -2 those before (SDXL); without the final norm. None: the last layer's, with the final norm.
        low_rank: returns the terms of a linear (`clip_lora`) that reads the rows of the place "text", a row for each
            token, or "pooled", a row for each text.

    Raises:
        ValueError: an id is outside the vocabulary, a text is empty or longer than the positions, or there is no such
            layer.
    """
    config = weights.config
    d, eps, count = config.hidden_size, config.layer_norm_eps, len(weights.layers)
    if any(not len(part) for part in tokens) or not tokens:
        raise ValueError("tokens: got an empty text, want at least its start and end tokens")
    if layer is not None and not -count - 1 <= layer <= count:
        raise ValueError(f"layer: got {layer}, want {-count - 1}..{count}")
    wanted = None if layer is None else layer % (count + 1)
    segments = ops.segments([len(part) for part in tokens])
    activation = cast(Activation, config.hidden_act)
    x = gather_words(ops, weights.words, tokens, weights.positions)
    states = ops.cast(x, "float32") if wanted == 0 else None
    for number, block in enumerate(weights.layers, start=1):
        qkv, out, up, down = (low_rank(f"{number - 1}.{name}", "text") for name in ("qkv", "out", "up", "down"))
        qkv = ops.linear(_normed(ops, x, block.attention_norm, eps), block.qkv, low_rank=qkv)
        q, k, v = (ops.columns(qkv, i * d, (i + 1) * d) for i in range(3))
        attended = ops.attention(q, k, v, segments, config.num_attention_heads, causal=True)
        ops.linear(attended, block.out, residual=x, low_rank=out)
        hidden = ops.linear(_normed(ops, x, block.feed_norm, eps), block.up, activation=activation, low_rank=up)
        ops.linear(hidden, block.down, residual=x, low_rank=down)
        if number == wanted:
            states = ops.cast(x, "float32")
    last = ops.norm(x, weights.norm.weight, weights.norm.bias, eps=eps, dtype="float32")
    ends = segments.offsets[:-1] + np.array([_end_of(part, config.eos_token_id) for part in tokens], np.int32)
    pooled = ops.concat([ops.rows(last, end, end + 1) for end in ends.tolist()])
    if weights.projection is not None:
        terms = low_rank(PROJECTION, "pooled")
        pooled = ops.linear(ops.cast(pooled), weights.projection, dtype="float32", low_rank=terms)
    return ClipStates(last if states is None else states, pooled)


def _normed(ops: Ops[Any, Any], x: Any, norm: Norm, eps: float) -> Any:
    return ops.norm(x, norm.weight, norm.bias, eps=eps)


def _end_of(tokens: Int32, eos: int) -> int:
    """Return the place of a text's end token: the first one, and the first token of all if there is none.

    Configs that say `LEGACY_EOS` mean the token of the highest id.
    """
    return int(np.argmax(tokens if eos == LEGACY_EOS else tokens == eos))
