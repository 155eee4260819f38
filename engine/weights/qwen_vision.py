"""Read the config and pack the weights of Qwen2.5-VL's image encoder, under transformers' names.

They lie in the folder of the whole model, beside its language side (`weights/language.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ...kernels.bfloat16 import widen
from ...kernels.ops import Ops
from ..checkpoint import Component, Weights
from ..config import Config
from ..errors import MissingKey, UnknownArchitecture
from .language import TEXT_KEY, pairs
from .reader import Reader

KEY: Final = "vision_config"  # in the config of the whole model
COLOURS: Final = 3
FRAMES: Final = 2  # of a patch; those of a picture are alike
MERGED: Final = 2  # patches along a side of what becomes one token
SECTIONS: Final = (16, 24, 24)  # frequencies of the language side that turn by time, row and column
REMEDY: Final = "name a text encoder that sees pictures, such as qwen_2.5_vl_7b.safetensors"
_FIRST: Final = "visual.patch_embed.proj.weight"
_REPEATED: Final = "another name of a number that is read"
_TRAINING: Final = "of training alone"
HARMLESS: Final = {
    "model_type": "the class of the whole model says it",
    "spatial_patch_size": _REPEATED,
    "in_chans": _REPEATED,
    "tokens_per_second": "of videos",
    "initializer_range": _TRAINING,
    "architectures": "the class of the whole model says it",
}


@dataclass(frozen=True)
class QwenVisionConfig:
    """The sizes of the image encoder, under the names of its config.json."""

    depth: int
    hidden_size: int  # D
    intermediate_size: int
    num_heads: int
    patch_size: int
    window_size: int  # of attention, in pixels
    fullatt_block_indexes: tuple[int, ...]  # blocks in which a patch attends to the whole picture
    out_hidden_size: int  # of the language side
    sections: tuple[int, ...]  # of the language side, see `models/rope.py`

    @property
    def unit(self) -> int:
        """Length in pixels of a side of a token."""
        return self.patch_size * MERGED

    @property
    def window(self) -> int:
        """Tokens along a side of a window."""
        return self.window_size // self.unit

    @classmethod
    def read(cls, whole: Config) -> QwenVisionConfig:
        """Read the config.json of the whole model, with transformers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        if not whole.mapping(KEY):
            whole.refuse(KEY, "that of an image encoder", None, UnknownArchitecture, REMEDY)
        config = Config(whole.path, whole.mapping(KEY))
        config.only("hidden_act", ("silu",), "silu")
        config.only("in_channels", (COLOURS,), COLOURS)
        config.only("temporal_patch_size", (FRAMES,), FRAMES)
        config.only("spatial_merge_size", (MERGED,), MERGED)
        rope = config.mapping("rope_parameters")
        if rope.get("rope_type", "axial") != "axial" or rope.get("rope_theta", 10_000.0) != 10_000.0:
            config.refuse("rope_parameters", "axial, with theta 10000", rope)
        text = whole.values.get(TEXT_KEY)
        language = text if isinstance(text, dict) else whole.values
        said = language.get("rope_parameters") or language.get("rope_scaling") or {}
        sections = said.get("mrope_section", SECTIONS) if isinstance(said, dict) else SECTIONS
        result = cls(
            depth=config.integer("depth", 32),
            hidden_size=config.integer("hidden_size", 3584),
            intermediate_size=config.integer("intermediate_size", 3420),
            num_heads=config.integer("num_heads", 16),
            patch_size=config.integer("patch_size", 14, high=1024),
            window_size=config.integer("window_size", 112, high=65536),
            fullatt_block_indexes=config.integers("fullatt_block_indexes", (7, 15, 23, 31), low=0),
            out_hidden_size=config.integer("out_hidden_size", 3584),
            sections=tuple(sections) if isinstance(sections, list | tuple) else (),
        )
        if result.hidden_size % (4 * result.num_heads):
            config.refuse("num_heads", f"a divisor of {result.hidden_size} with heads of 4 n columns", result.num_heads)
        if len(result.sections) != 3 or any(type(each) is not int or each < 0 for each in result.sections):
            whole.refuse("mrope_section", "three whole numbers", list(result.sections))
        if result.window < 1:
            config.refuse("window_size", f"at least {result.unit} pixels, a token", result.window_size)
        config.finish(HARMLESS)
        return result


@dataclass(frozen=True, eq=False)
class Block:
    attention_norm: Any  # [1, D] float32
    qkv: Any  # [3 D, D], columns of q and k in rotary pairs
    out: Any  # [D, D]
    feed_norm: Any  # [1, D] float32
    up: Any  # [2 I, D], gate and value
    down: Any  # [D, I]


@dataclass(frozen=True, eq=False)
class QwenVisionWeights:
    """A packed image encoder.

    Attributes:
        patch: linear [D, 3 P P], whose input is a patch's numbers by colour, row and column: both frames in one.
        norm: float32 [1, D], before patches are merged.
        first, second: linears [4 D, 4 D] and [width of the language side, 4 D], which merge them.
    """

    config: QwenVisionConfig
    patch: Any
    blocks: tuple[Block, ...]
    norm: Any
    first: Any
    second: Any


def load_qwen_vision(ops: Ops[Any, Any], component: Component) -> QwenVisionWeights:
    """Pack the image encoder in a text encoder's folder or file.

    Raises:
        CheckpointError: it has none, or anything is wrong with it.
    """
    config = QwenVisionConfig.read(component.config)
    weights = component.weights()
    root, reader = _root(weights), Reader(ops, weights)
    d, hidden, merged = config.hidden_size, config.intermediate_size, MERGED**2 * config.hidden_size
    side = config.patch_size
    key = f"{root}patch_embed.proj.weight"
    patch = widen(weights.take(key, d, COLOURS, FRAMES, side, side), key).sum(axis=2)

    def block(at: str) -> Block:
        return Block(
            attention_norm=reader.vector(f"{at}.norm1.weight", d),
            qkv=_qkv(ops, weights, f"{at}.attn.qkv", config),
            out=reader.linear(f"{at}.attn.proj", d, d),
            feed_norm=reader.vector(f"{at}.norm2.weight", d),
            up=reader.stack([(f"{at}.mlp.{name}_proj", hidden) for name in ("gate", "up")], d, gated=True),
            down=reader.linear(f"{at}.mlp.down_proj", d, hidden),
        )

    result = QwenVisionWeights(
        config=config,
        patch=ops.pack_linear([patch.reshape(d, -1)], exact=True),
        blocks=tuple(block(f"{root}blocks.{i}") for i in range(config.depth)),
        norm=reader.vector(f"{root}merger.ln_q.weight", d),
        first=reader.linear(f"{root}merger.mlp.0", merged, merged),
        second=reader.linear(f"{root}merger.mlp.2", config.out_hidden_size, merged),
    )
    names = weights.keys()
    weights.ignore(*(name for name in names if not name.startswith(root)))  # the language side's
    weights.finish()
    return result


def _root(weights: Weights) -> str:
    """Return what stands before the names of the image encoder's weights."""
    names = weights.keys()
    for name in names:
        if name.endswith(_FIRST):
            return name.removesuffix(_FIRST) + "visual."
    raise MissingKey(
        "a text encoder that sees no pictures", path=weights.path, key=_FIRST,
        expected="Qwen2.5-VL with its image encoder", found="its language side alone",
        remedy=REMEDY,
    )  # fmt: skip


def _qkv(ops: Ops[Any, Any], weights: Weights, at: str, config: QwenVisionConfig) -> Any:
    d, heads = config.hidden_size, config.num_heads
    e = d // heads
    order = np.arange(3 * d).reshape(3, heads, e)
    order[:2] = order[:2][:, :, pairs(e)]
    rows = order.reshape(-1)
    weight, bias = weights.take(f"{at}.weight", 3 * d, d), weights.take(f"{at}.bias", 3 * d)
    return ops.pack_linear([weight[rows]], [bias[rows]])
