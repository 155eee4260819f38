"""Read the config and pack the weights of language models that serve as text encoders, under transformers' names.

Qwen3 (FLUX.2 klein, Z-Image), the language sides of Mistral 3 (FLUX.2 dev), of Qwen2.5-VL (Qwen-Image) and of Qwen3-VL
(Krea 2). They differ in whether queries and keys are normed, and whether they have biases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.bfloat16 import widen
from ...kernels.ops import Ops
from ..checkpoint import Component, Weights
from ..config import Config
from ..errors import MissingKey, UnknownArchitecture
from .reader import Reader

# Class -> the kind of its language model.
ARCHITECTURES: Final[Mapping[str, str]] = {
    "Qwen3ForCausalLM": "qwen3",
    "Qwen3Model": "qwen3",
    "Qwen3VLModel": "qwen3",
    "Qwen3VLForConditionalGeneration": "qwen3",
    "Mistral3ForConditionalGeneration": "mistral",
    "Qwen2_5_VLForConditionalGeneration": "qwen2_5_vl",
}
TEXT_KEY: Final = "text_config"  # where the config of a model that sees pictures has its language side
_FIRST: Final = "layers.0.input_layernorm.weight"
_BESIDE: Final = ("lm_head.", "visual.", "vision_tower.", "multi_modal_projector.")  # and behind "model."
_TRAINING: Final = "of training alone"
_TOKENS: Final = "the tokenizer and the text pipeline say which tokens stand in a text"
_HEADS: Final = "of the head that predicts words, which Salon does not read"
_PICTURES: Final = "of pictures, which Salon does not show to the text encoder"
HARMLESS: Final = {
    "attention_dropout": _TRAINING,
    "initializer_range": _TRAINING,
    "gradient_checkpointing": _TRAINING,
    "use_cache": "of writing text",
    "tie_word_embeddings": _HEADS,
    "max_position_embeddings": "prompts are far shorter",
    "max_window_layers": "of sliding windows, which are off",
    "layer_types": "of sliding windows, which are off",
    "base_model_tp_plan": "of several devices",
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), _TOKENS),
    **dict.fromkeys(("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"), _PICTURES),
    **dict.fromkeys(("vision_token_id", "image_token_index", "vision_config", "spatial_merge_size"), _PICTURES),
    **dict.fromkeys(("vision_feature_layer", "projector_hidden_act", "multimodal_projector_bias"), _PICTURES),
    **dict.fromkeys(("output_attentions", "output_hidden_states", "return_dict"), "how transformers answers, not what"),
}


@dataclass(frozen=True)
class LanguageConfig:
    """The sizes of a language model, under the names of its config.json."""

    kind: str  # qwen3, mistral or qwen2_5_vl
    hidden_size: int  # D
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int  # H
    num_key_value_heads: int  # G
    head_dim: int  # E
    vocab_size: int
    rms_norm_eps: float
    rope_theta: float
    final_norm: bool  # whether there is one behind the last layer; files that lack the last layers have none

    @property
    def normed(self) -> bool:
        """Whether queries and keys are normed."""
        return self.kind == "qwen3"

    @property
    def biased(self) -> bool:
        """Whether queries, keys and values have biases."""
        return self.kind == "qwen2_5_vl"

    @classmethod
    def read(cls, config: Config) -> LanguageConfig:
        """Read config.json. Raise UnknownArchitecture or WrongConfig for what does not fit."""
        config.want_architecture(ARCHITECTURES)
        kind = ARCHITECTURES[config.architecture]
        text = config
        if isinstance(config.values.get(TEXT_KEY), dict):
            text = Config(config.path, {**config.mapping(TEXT_KEY), "architectures": [config.architecture]})
            text.want_architecture(ARCHITECTURES)
            config.raw("model_type")
            repeated = dict.fromkeys(text.values, "the language side's own config says it too")
            config.finish(HARMLESS | repeated)
        text.raw("model_type")
        text.only("hidden_act", ("silu",), "silu")
        text.only("attention_bias", (False,), False)
        text.only("mlp_bias", (False,), False)
        if text.raw("use_sliding_window") is True:
            text.refuse("use_sliding_window", "false (not implemented)", True, UnknownArchitecture)
        if text.raw("sliding_window") is not None and kind == "mistral":
            text.refuse("sliding_window", "null (not implemented)", text.values["sliding_window"], UnknownArchitecture)
        width, heads = text.integer("hidden_size"), text.integer("num_attention_heads")
        result = cls(
            kind=kind,
            hidden_size=width,
            intermediate_size=text.integer("intermediate_size"),
            num_hidden_layers=text.integer("num_hidden_layers"),
            num_attention_heads=heads,
            num_key_value_heads=text.integer("num_key_value_heads", heads),
            head_dim=text.integer("head_dim", 128 if kind == "qwen3" else max(1, width // heads)),
            vocab_size=text.integer("vocab_size"),
            rms_norm_eps=text.number("rms_norm_eps", 1e-6, 1e-30, 1.0),
            rope_theta=_theta(text, 10_000.0 if kind == "mistral" else 1_000_000.0),
            final_norm=text.boolean("final_norm", True),
        )
        if heads % result.num_key_value_heads:
            text.refuse("num_key_value_heads", f"a divisor of {heads}", result.num_key_value_heads)
        if result.head_dim % 2:
            text.refuse("head_dim", "an even number", result.head_dim)
        text.finish(HARMLESS)
        return result


def _theta(text: Config, default: float) -> float:
    """Return the base of the rotary embedding, which versions of transformers write in two places.

    A text has the same position on all axes of the multimodal embedding ("mrope"), which then is the plain one.
    """
    theta = text.number("rope_theta", default, 1.0)
    for key in ("rope_parameters", "rope_scaling"):
        found = text.raw(key)
        if found is None:
            continue
        if not isinstance(found, dict):
            text.refuse(key, "an object", found)
        for name in ("rope_type", "type"):
            if found.get(name, "default") not in ("default", "mrope"):
                text.refuse(f"{key}.{name}", "default or mrope (not implemented)", found[name], UnknownArchitecture)
        theta = Config(text.path, found).number("rope_theta", theta, 1.0)
    return theta


@dataclass(frozen=True, eq=False)
class Layer:
    attention_norm: Any  # [1, D] float32
    qkv: Any  # [(H + 2 G) E, D], columns of q and k in rotary pairs
    q_norm: Any  # [1, E] float32 or None, in rotary pairs
    k_norm: Any
    out: Any  # [D, H E]
    feed_norm: Any  # [1, D] float32
    up: Any  # [2 I, D], gate and value
    down: Any  # [D, I]


@dataclass(frozen=True, eq=False)
class LanguageWeights:
    """A packed model. `words` [V, D] stay in the file's memory map: a prompt touches a few rows."""

    config: LanguageConfig
    words: NDArray[Any]
    layers: tuple[Layer, ...]
    norm: Any | None  # [1, D] float32


def load_language(ops: Ops[Any, Any], component: Component) -> LanguageWeights:
    """Pack a text encoder folder. Of a model that sees pictures the language side is read.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    config = LanguageConfig.read(component.config)
    weights = component.weights()
    reader = Reader(ops, weights)
    d, inner, hidden = config.hidden_size, config.num_attention_heads * config.head_dim, config.intermediate_size
    names = weights.keys()
    root = _root(weights, names)

    def layer(at: str) -> Layer:
        attention = f"{at}.self_attn"
        return Layer(
            attention_norm=reader.vector(f"{at}.input_layernorm.weight", d),
            qkv=_qkv(ops, weights, attention, config),
            q_norm=_head_norm(ops, weights, f"{attention}.q_norm.weight", config),
            k_norm=_head_norm(ops, weights, f"{attention}.k_norm.weight", config),
            out=reader.linear(f"{attention}.o_proj", d, inner, bias=False),
            feed_norm=reader.vector(f"{at}.post_attention_layernorm.weight", d),
            up=reader.stack([(f"{at}.mlp.{name}_proj", hidden) for name in ("gate", "up")], d, bias=False, gated=True),
            down=reader.linear(f"{at}.mlp.down_proj", d, hidden, bias=False),
        )

    result = LanguageWeights(
        config=config,
        words=weights.table(f"{root}embed_tokens.weight", config.vocab_size, d),
        layers=tuple(layer(f"{root}layers.{i}") for i in range(config.num_hidden_layers)),
        norm=reader.vector(f"{root}norm.weight", d) if config.final_norm else None,
    )
    weights.ignore(*(name for name in names if _beside(name)))
    weights.finish()
    return result


def _root(weights: Weights, names: Sequence[str]) -> str:
    """Return what stands before the names of the language side's weights."""
    for name in names:
        if name.endswith(_FIRST) and not _beside(name):
            return name.removesuffix(_FIRST)
    expected = f"a name that ends in {_FIRST}"
    raise MissingKey("missing weight", path=weights.path, key=_FIRST, expected=expected, found="none")


def _beside(key: str) -> bool:
    return key.removeprefix("model.").removeprefix("language_model.").startswith(_BESIDE)


def pairs(width: int) -> NDArray[np.int64]:
    """Return the order of a head's columns that puts the halves' columns side by side: 0, E/2, 1, E/2 + 1, ...

    These models turn column j with column j + E/2, the op table turns neighbours. Scores stay the same.
    """
    return np.arange(width).reshape(2, width // 2).T.reshape(-1)


def _qkv(ops: Ops[Any, Any], weights: Weights, at: str, config: LanguageConfig) -> Any:
    e, heads = config.head_dim, (config.num_attention_heads, *[config.num_key_value_heads] * 2)
    order = pairs(e)
    arrays, biases = [], []
    for name, count in zip("qkv", heads, strict=True):
        turned = name != "v"
        weight = weights.take(f"{at}.{name}_proj.weight", count * e, config.hidden_size)
        arrays.append(weight.reshape(count, e, -1)[:, order].reshape(count * e, -1) if turned else weight)
        if config.biased:
            bias = weights.take(f"{at}.{name}_proj.bias", count * e)
            biases.append(bias.reshape(count, e)[:, order].reshape(-1) if turned else bias)
    return ops.pack_linear(arrays, biases or None)


def _head_norm(ops: Ops[Any, Any], weights: Weights, name: str, config: LanguageConfig) -> Any:
    if not config.normed:
        return None
    return ops.array(widen(weights.take(name, config.head_dim), name)[pairs(config.head_dim)], "float32")
