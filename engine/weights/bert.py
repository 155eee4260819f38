"""Read the config and pack the weights of BERT encoders, under transformers' names (`BertModel`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from ...kernels.ops import Ops
from ..checkpoint import Component
from ..config import Config
from .reader import Norm, Reader

ARCHITECTURE: Final = "BertModel"
_TRAINING: Final = "of training alone"
_HEADS: Final = "of heads behind the encoder, which Salon does not read"
_SHAPE: Final = "how transformers answers, not what"
HARMLESS: Final = {
    "attention_probs_dropout_prob": _TRAINING,
    "hidden_dropout_prob": _TRAINING,
    "initializer_range": _TRAINING,
    "gradient_checkpointing": _TRAINING,
    "classifier_dropout": _HEADS,
    "id2label": _HEADS,
    "label2id": _HEADS,
    "problem_type": _HEADS,
    "tie_word_embeddings": _HEADS,
    "output_attentions": _SHAPE,
    "output_hidden_states": _SHAPE,
    "return_dict": _SHAPE,
    "use_cache": "of decoders, and this is none",
    "chunk_size_feed_forward": "saves memory; the numbers are the same",
    "pad_token_id": "rows are ragged: there is no padding",
    "bos_token_id": "the tokenizer says which tokens stand around a text",
    "eos_token_id": "the tokenizer says which tokens stand around a text",
}


@dataclass(frozen=True)
class BertConfig:
    """The sizes of a BERT encoder, under the names of its config.json."""

    hidden_size: int  # D
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float

    @classmethod
    def read(cls, config: Config) -> BertConfig:
        """Read config.json, with transformers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture([ARCHITECTURE])
        config.only("hidden_act", ("gelu",), "gelu")
        config.only("position_embedding_type", ("absolute",), "absolute")
        config.only("model_type", ("bert",), "bert")
        for key in ("is_decoder", "add_cross_attention", "is_encoder_decoder"):
            config.only(key, (False,), False)
        result = cls(
            hidden_size=config.integer("hidden_size", 768),
            num_hidden_layers=config.integer("num_hidden_layers", 12),
            num_attention_heads=config.integer("num_attention_heads", 12),
            intermediate_size=config.integer("intermediate_size", 3072),
            vocab_size=config.integer("vocab_size", 30522),
            max_position_embeddings=config.integer("max_position_embeddings", 512),
            type_vocab_size=config.integer("type_vocab_size", 2),
            layer_norm_eps=config.number("layer_norm_eps", 1e-12, 1e-30, 1.0),
        )
        if result.hidden_size % result.num_attention_heads:
            config.refuse("num_attention_heads", f"a divisor of {result.hidden_size}", result.num_attention_heads)
        config.finish(HARMLESS)
        return result


@dataclass(frozen=True, eq=False)
class Layer:
    qkv: Any  # [3 D, D]
    out: Any  # [D, D]
    attention_norm: Norm
    up: Any  # [I, D]
    down: Any  # [D, I]
    output_norm: Norm


@dataclass(frozen=True, eq=False)
class BertWeights:
    """A packed encoder. `words` [V, D] and `positions` stay in the file's memory map: a prompt touches a few rows."""

    config: BertConfig
    words: NDArray[Any]
    positions: NDArray[Any]
    types: Any  # [type vocabulary, D] float32
    embedding_norm: Norm
    layers: tuple[Layer, ...]


def load_bert(ops: Ops[Any, Any], component: Component) -> BertWeights:
    """Pack a text encoder folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    config = BertConfig.read(component.config)
    weights = component.weights()
    reader = Reader(ops, weights)
    d, hidden = config.hidden_size, config.intermediate_size

    def layer(at: str) -> Layer:
        return Layer(
            qkv=reader.stack([(f"{at}.attention.self.{name}", d) for name in ("query", "key", "value")], d),
            out=reader.linear(f"{at}.attention.output.dense", d, d),
            attention_norm=reader.norm(f"{at}.attention.output.LayerNorm", d),
            up=reader.linear(f"{at}.intermediate.dense", hidden, d),
            down=reader.linear(f"{at}.output.dense", d, hidden),
            output_norm=reader.norm(f"{at}.output.LayerNorm", d),
        )

    result = BertWeights(
        config=config,
        words=weights.take("embeddings.word_embeddings.weight", config.vocab_size, d),
        positions=weights.take("embeddings.position_embeddings.weight", config.max_position_embeddings, d),
        types=ops.array(weights.take("embeddings.token_type_embeddings.weight", config.type_vocab_size, d), "float32"),
        embedding_norm=reader.norm("embeddings.LayerNorm", d),
        layers=tuple(layer(f"encoder.layer.{i}") for i in range(config.num_hidden_layers)),
    )
    # The pooler serves classification only; position numbers are a buffer that older versions of transformers saved.
    weights.ignore("pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids")
    weights.finish()
    return result
