"""Read the config and pack the weights of CLIP's text encoders, under transformers' names (`CLIPTextModel`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from ...kernels.ops import Ops
from ..checkpoint import Component
from ..config import Config
from .reader import Norm, Reader

PROJECTED: Final = "CLIPTextModelWithProjection"
ARCHITECTURES: Final = ("CLIPTextModel", PROJECTED)
LEGACY_EOS: Final = 2  # what configs said of the EOS token for years: then it is the token of the highest id
_TRAINING: Final = "of training alone"
_SHAPE: Final = "how transformers answers, not what"
HARMLESS: Final = {
    "attention_dropout": _TRAINING,
    "dropout": _TRAINING,
    "initializer_factor": _TRAINING,
    "initializer_range": _TRAINING,
    "gradient_checkpointing": _TRAINING,
    "tie_word_embeddings": "of heads behind the encoder, which Salon does not read",
    "output_attentions": _SHAPE,
    "output_hidden_states": _SHAPE,
    "return_dict": _SHAPE,
    "pad_token_id": "the tokenizer says which tokens stand around a text",
    "bos_token_id": "the tokenizer says which tokens stand around a text",
}


@dataclass(frozen=True)
class ClipConfig:
    """The sizes of a CLIP text encoder, under the names of its config.json."""

    hidden_size: int  # D
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    max_position_embeddings: int
    hidden_act: str
    layer_norm_eps: float
    eos_token_id: int
    projection_dim: int | None  # None: the model has no projection

    @classmethod
    def read(cls, config: Config) -> ClipConfig:
        """Read config.json, with transformers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture(ARCHITECTURES)
        config.only("model_type", ("clip_text_model",), "clip_text_model")
        width = config.integer("projection_dim", 512)  # every config says it, whether there is a projection or not
        result = cls(
            hidden_size=config.integer("hidden_size", 512),
            intermediate_size=config.integer("intermediate_size", 2048),
            num_hidden_layers=config.integer("num_hidden_layers", 12),
            num_attention_heads=config.integer("num_attention_heads", 8),
            vocab_size=config.integer("vocab_size", 49408),
            max_position_embeddings=config.integer("max_position_embeddings", 77),
            hidden_act=config.only("hidden_act", ("quick_gelu", "gelu"), "quick_gelu"),
            layer_norm_eps=config.number("layer_norm_eps", 1e-5, 1e-30, 1.0),
            eos_token_id=config.integer("eos_token_id", 49407, low=0),
            projection_dim=width if config.architecture == PROJECTED else None,
        )
        if result.hidden_size % result.num_attention_heads:
            config.refuse("num_attention_heads", f"a divisor of {result.hidden_size}", result.num_attention_heads)
        config.finish(HARMLESS)
        return result


@dataclass(frozen=True, eq=False)
class Layer:
    attention_norm: Norm
    qkv: Any  # [3 D, D]
    out: Any  # [D, D]
    feed_norm: Norm
    up: Any  # [I, D]
    down: Any  # [D, I]

    @classmethod
    def read_all(cls, reader: Reader, at: str, count: int, width: int, hidden: int) -> tuple[Layer, ...]:
        """Take the layers of an encoder of CLIP's kind, of text or of pictures.

        Args:
            at: what stands before their numbers.
            width, hidden: D and I.
        """

        def layer(at: str) -> Layer:
            return cls(
                attention_norm=reader.norm(f"{at}.layer_norm1", width),
                qkv=reader.stack([(f"{at}.self_attn.{name}_proj", width) for name in "qkv"], width),
                out=reader.linear(f"{at}.self_attn.out_proj", width, width),
                feed_norm=reader.norm(f"{at}.layer_norm2", width),
                up=reader.linear(f"{at}.mlp.fc1", hidden, width),
                down=reader.linear(f"{at}.mlp.fc2", width, hidden),
            )

        return tuple(layer(f"{at}.{number}") for number in range(count))


@dataclass(frozen=True, eq=False)
class ClipWeights:
    """A packed encoder. `words` [V, D] and `positions` stay in the file's memory map: a prompt touches a few rows."""

    config: ClipConfig
    words: NDArray[Any]
    positions: NDArray[Any]
    layers: tuple[Layer, ...]
    norm: Norm
    projection: Any  # [projection_dim, D], or None


def load_clip(ops: Ops[Any, Any], component: Component) -> ClipWeights:
    """Pack a text encoder folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    config = ClipConfig.read(component.config)
    weights = component.weights()
    reader = Reader(ops, weights)
    d, hidden = config.hidden_size, config.intermediate_size
    # Files of the model without a projection have the prefix or not, by the version of transformers that wrote them.
    names = weights.keys()
    root = "text_model." if any(name.startswith("text_model.") for name in names) else ""

    result = ClipWeights(
        config=config,
        words=weights.table(f"{root}embeddings.token_embedding.weight", config.vocab_size, d),
        positions=weights.take(f"{root}embeddings.position_embedding.weight", config.max_position_embeddings, d),
        layers=Layer.read_all(reader, f"{root}encoder.layers", config.num_hidden_layers, d, hidden),
        norm=reader.norm(f"{root}final_layer_norm", d),
        projection=None
        if config.projection_dim is None
        else reader.linear("text_projection", config.projection_dim, d, bias=False),
    )
    weights.ignore(f"{root}embeddings.position_ids")  # a buffer that older versions of transformers saved
    weights.finish()
    return result
