"""Read the config and pack the weights of T5 encoders, under transformers' names (`T5EncoderModel`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.bfloat16 import widen
from ...kernels.elementary import log
from ...kernels.ops import Ops
from ..checkpoint import Component
from ..config import Config
from .reader import Reader

ARCHITECTURES: Final = ("T5EncoderModel",)
_TRAINING: Final = "of training alone"
_DECODER: Final = "of the decoder, which an encoder does not have"
HARMLESS: Final = {
    "dropout_rate": _TRAINING,
    "initializer_factor": _TRAINING,
    "gradient_checkpointing": _TRAINING,
    "classifier_dropout": "of heads behind the encoder, which Salon does not read",
    "num_decoder_layers": _DECODER,
    "decoder_start_token_id": _DECODER,
    "scale_decoder_outputs": _DECODER,
    "tie_word_embeddings": _DECODER,
    "use_cache": _DECODER,
    "is_encoder_decoder": "of the whole model; its encoder is the same",
    "output_past": "how transformers answers, not what",
    "output_attentions": "how transformers answers, not what",
    "output_hidden_states": "how transformers answers, not what",
    "return_dict": "how transformers answers, not what",
    "task_specific_params": "of programs that use the whole model",
    "n_positions": "of no weight: positions are relative",
    "pad_token_id": "the tokenizer says which tokens stand around a text",
    "bos_token_id": "the tokenizer says which tokens stand around a text",
    "eos_token_id": "the tokenizer says which tokens stand around a text",
}


@dataclass(frozen=True)
class T5Config:
    """The sizes of a T5 encoder, under the names of its config.json."""

    d_model: int  # D
    d_kv: int  # E, width of a head
    d_ff: int
    num_layers: int
    num_heads: int
    vocab_size: int
    relative_attention_num_buckets: int
    relative_attention_max_distance: int
    layer_norm_epsilon: float

    @classmethod
    def read(cls, config: Config) -> T5Config:
        """Read config.json, with transformers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture(ARCHITECTURES)
        config.only("model_type", ("t5",), "t5")
        config.only("feed_forward_proj", ("gated-gelu",), "relu")  # what T5 v1.1 has, and every model that draws
        config.only("dense_act_fn", ("gelu_new",), "gelu_new")
        config.only("is_gated_act", (True,), True)
        config.only("is_decoder", (False,), False)
        result = cls(
            d_model=config.integer("d_model", 512),
            d_kv=config.integer("d_kv", 64),
            d_ff=config.integer("d_ff", 2048),
            num_layers=config.integer("num_layers", 6),
            num_heads=config.integer("num_heads", 8),
            vocab_size=config.integer("vocab_size", 32128),
            relative_attention_num_buckets=config.integer("relative_attention_num_buckets", 32, low=4),
            relative_attention_max_distance=config.integer("relative_attention_max_distance", 128, high=4096),
            layer_norm_epsilon=config.number("layer_norm_epsilon", 1e-6, 1e-30, 1.0),
        )
        buckets = result.relative_attention_num_buckets
        if buckets % 4:
            config.refuse("relative_attention_num_buckets", "a multiple of 4", buckets)
        if result.relative_attention_max_distance <= buckets // 4:
            expected = f"more than {buckets // 4}, a quarter of relative_attention_num_buckets"
            config.refuse("relative_attention_max_distance", expected, result.relative_attention_max_distance)
        config.finish(HARMLESS)
        return result


@dataclass(frozen=True, eq=False)
class Layer:
    attention_norm: Any  # [1, D] float32
    qkv: Any  # [3 H E, D]
    out: Any  # [D, H E]
    feed_norm: Any  # [1, D] float32
    up: Any  # [2 d_ff, D], gate and value
    down: Any  # [D, d_ff]


@dataclass(frozen=True, eq=False)
class T5Weights:
    """A packed encoder. `words` [V, D] stay in the file's memory map: a prompt touches a few rows."""

    config: T5Config
    words: NDArray[Any]
    bias: Any  # [H, 2R + 1] float32, as `Ops.attention` takes it
    layers: tuple[Layer, ...]
    norm: Any  # [1, D] float32


def load_t5(ops: Ops[Any, Any], component: Component) -> T5Weights:
    """Pack a text encoder folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    config = T5Config.read(component.config)
    weights = component.weights()
    reader = Reader(ops, weights)
    d, inner, hidden = config.d_model, config.num_heads * config.d_kv, config.d_ff

    def layer(at: str) -> Layer:
        attention, feed = f"{at}.layer.0", f"{at}.layer.1"
        return Layer(
            attention_norm=reader.vector(f"{attention}.layer_norm.weight", d),
            qkv=reader.stack([(f"{attention}.SelfAttention.{name}", inner) for name in "qkv"], d, bias=False),
            out=reader.linear(f"{attention}.SelfAttention.o", d, inner, bias=False),
            feed_norm=reader.vector(f"{feed}.layer_norm.weight", d),
            up=reader.stack([(f"{feed}.DenseReluDense.wi_{i}", hidden) for i in (0, 1)], d, bias=False, gated=True),
            down=reader.linear(f"{feed}.DenseReluDense.wo", d, hidden, bias=False),
        )

    names = ("shared.weight", "encoder.embed_tokens.weight")  # one array under two names; a file has one or both
    words = weights.table(next((name for name in names if name in weights), names[0]), config.vocab_size, d)
    biases = weights.take(
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        config.relative_attention_num_buckets,
        config.num_heads,
    )
    result = T5Weights(
        config=config,
        words=words,
        bias=ops.array(np.ascontiguousarray(widen(biases, "bias")[buckets(config)].T), "float32"),
        layers=tuple(layer(f"encoder.block.{i}") for i in range(config.num_layers)),
        norm=reader.vector("encoder.final_layer_norm.weight", d),
    )
    weights.ignore(*names)
    weights.finish()
    return result


def buckets(config: T5Config) -> NDArray[np.int64]:
    """Return the bucket of every distance from -R to R, int64 [2R + 1]. Source: T5, 1910.10683, section 2.1.

    R is the distance from which on all share a bucket. Half of the buckets are for keys behind the query. The logarithm
    is taken in float32, as transformers takes it, so that no distance falls into a neighbour's bucket.
    """
    reach = config.relative_attention_max_distance
    distance = np.arange(-reach, reach + 1)
    half = config.relative_attention_num_buckets // 2
    exact = half // 2
    size = np.abs(distance)
    ratio = np.maximum(size, 1).astype(np.float32) / np.float32(exact)
    logs = log(ratio.astype(np.float64)).astype(np.float32) / np.float32(log(reach / exact))
    wide = exact + (logs * np.float32(half - exact)).astype(np.int64)
    return (distance > 0) * half + np.where(size < exact, size, np.minimum(wide, half - 1))
