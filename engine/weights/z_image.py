"""Read the config and pack the weights of the Z-Image family, under diffusers' names (`ZImageTransformer2DModel`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.bfloat16 import widen
from ...kernels.ops import Ops
from ..checkpoint import Component, Weights
from ..config import Config
from .flux import Embedder
from .reader import Reader

ARCHITECTURE: Final = "ZImageTransformer2DModel"
SIDE: Final = 2  # latents along a side of a token
CONDITION: Final = 256  # most columns of the vector that all modulations read
TIME_CHANNELS, TIME_HIDDEN = 256, 1024
QK_EPS: Final = 1e-5
EPS_OUT: Final = 1e-6
PATCH: Final = f"{SIDE}-1"  # how the names of the first and last layer begin
HARMLESS: Final = {"axes_lens": "how many positions diffusers tabulates; Salon computes those that there are"}


@dataclass(frozen=True)
class ZImageConfig:
    """The sizes of a Z-Image transformer, under the names of its config.json. D = dim."""

    in_channels: int  # latent channels; a token has 4 times as many columns
    dim: int
    n_layers: int
    n_refiner_layers: int  # of noise, and as many of captions
    n_heads: int
    norm_eps: float
    qk_norm: bool
    cap_feat_dim: int  # columns of a text token
    rope_theta: float
    t_scale: float
    axes_dims: tuple[int, ...]

    @classmethod
    def read(cls, config: Config) -> ZImageConfig:
        """Read config.json, with diffusers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture([ARCHITECTURE])
        for key, wanted in (("all_patch_size", SIDE), ("all_f_patch_size", 1)):
            if config.integers(key, (wanted,)) != (wanted,):
                config.refuse(key, f"[{wanted}] (no other is implemented)", config.values[key])
        config.unset("siglip_feat_dim")
        dim, heads = config.integer("dim", 3840), config.integer("n_heads", 30)
        if config.integer("n_kv_heads", heads) != heads:
            config.refuse("n_kv_heads", f"{heads}, as n_heads (no other is implemented)", config.values["n_kv_heads"])
        axes = config.integers("axes_dims", (32, 48, 48))
        if len(axes) != 3 or sum(axes) * heads != dim or any(size % 2 for size in axes):
            config.refuse("axes_dims", f"three even numbers that sum to {dim} / {heads}, a head", list(axes))
        result = cls(
            in_channels=config.integer("in_channels", 16),
            dim=dim,
            n_layers=config.integer("n_layers", 30),
            n_refiner_layers=config.integer("n_refiner_layers", 2, 0),
            n_heads=heads,
            norm_eps=config.number("norm_eps", 1e-5, 1e-30, 1.0),
            qk_norm=config.boolean("qk_norm", True),
            cap_feat_dim=config.integer("cap_feat_dim", 2560),
            rope_theta=config.number("rope_theta", 256.0, 1.0),
            t_scale=config.number("t_scale", 1000.0, 1e-3, 1e6),
            axes_dims=axes,
        )
        config.finish(HARMLESS)
        return result

    @property
    def token_channels(self) -> int:
        """C, columns of a token, also of the velocity."""
        return SIDE * SIDE * self.in_channels

    @property
    def hidden(self) -> int:
        """M, columns of the feed-forward parts."""
        return int(self.dim / 3 * 8)

    @property
    def condition(self) -> int:
        """Columns of the vector that all modulations read."""
        return min(self.dim, CONDITION)

    @property
    def num_modulated(self) -> int:
        """Blocks that read the time: the refiners of noise, then the layers."""
        return self.n_refiner_layers + self.n_layers


@dataclass(frozen=True, eq=False)
class Block:
    """A block: attention, then a feed-forward part, each between two norms."""

    attention_in: Any  # [1, D]
    qkv: Any  # [3 D, D]
    q_norm: Any  # [1, E] or None
    k_norm: Any
    out: Any  # [D, D]
    attention_out: Any  # [1, D]
    feed_in: Any  # [1, D]
    up: Any  # [2 M, D]: gate, then value
    down: Any  # [D, M]
    feed_out: Any  # [1, D]


@dataclass(frozen=True, eq=False)
class ZImageWeights:
    """A packed Z-Image transformer.

    `modulation` [4 D n, condition] holds the projections of all modulated blocks, which read the same vector: first of
    every block its two scales (of attention, of the feed-forward part), then of every block its two gates. Columns of
    a token are (C, 2, 2), as other models have them; the file has (2, 2, C).
    """

    config: ZImageConfig
    image_in: Any  # [D, 4 C]
    image_pad: Any  # [1, D]
    text_norm: Any  # [1, text width]
    text_in: Any  # [D, text width]
    text_pad: Any  # [1, D]
    time: Embedder
    modulation: Any
    text_blocks: tuple[Block, ...]
    image_blocks: tuple[Block, ...]
    blocks: tuple[Block, ...]
    scale_out: Any  # [D, condition]
    image_out: Any  # [4 C, D], of the opposite sign: dx/dsigma, where the file has the way to the picture


def load_z_image(ops: Ops[Any, Any], component: Component) -> ZImageWeights:
    """Pack a transformer folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    config = ZImageConfig.read(component.config)
    reader = _Reader(ops, component.weights(), config)
    d, condition, final = config.dim, config.condition, f"all_final_layer.{PATCH}"
    names = [f"noise_refiner.{i}" for i in range(config.n_refiner_layers)]
    names += [f"layers.{i}" for i in range(config.n_layers)]
    weights = ZImageWeights(
        config=config,
        image_in=reader.image_in(),
        image_pad=reader.row("x_pad_token"),
        text_norm=reader.vector("cap_embedder.0.weight", config.cap_feat_dim),
        text_in=reader.linear("cap_embedder.1", d, config.cap_feat_dim),
        text_pad=reader.row("cap_pad_token"),
        time=Embedder(
            reader.linear("t_embedder.mlp.0", TIME_HIDDEN, TIME_CHANNELS),
            reader.linear("t_embedder.mlp.2", condition, TIME_HIDDEN),
        ),
        modulation=reader.modulation(names),
        text_blocks=tuple(reader.block(f"context_refiner.{i}") for i in range(config.n_refiner_layers)),
        image_blocks=tuple(reader.block(name) for name in names[: config.n_refiner_layers]),
        blocks=tuple(reader.block(name) for name in names[config.n_refiner_layers :]),
        scale_out=reader.linear(f"{final}.adaLN_modulation.1", d, condition),
        image_out=reader.image_out(f"{final}.linear"),
    )
    reader.weights.finish()
    return weights


class _Reader(Reader):
    def __init__(self, ops: Ops[Any, Any], weights: Weights, config: ZImageConfig) -> None:
        super().__init__(ops, weights)
        self.packing = ops
        self.config = config

    def row(self, name: str) -> Any:
        return self.packing.array(self.weights.take(name, 1, self.config.dim), "float32")

    def image_in(self) -> Any:
        config, name = self.config, f"all_x_embedder.{PATCH}"
        weight = widen(self.weights.take(f"{name}.weight", config.dim, config.token_channels), name)
        order = columns_of(config.in_channels)
        return self.packing.pack_linear([weight[:, order]], [self.weights.take(f"{name}.bias", config.dim)], exact=True)

    def image_out(self, name: str) -> Any:
        config, order = self.config, columns_of(self.config.in_channels)
        weight = widen(self.weights.take(f"{name}.weight", config.token_channels, config.dim), name)
        bias = widen(self.weights.take(f"{name}.bias", config.token_channels), name)
        return self.packing.pack_linear([-weight[order]], [-bias[order]], exact=True)

    def modulation(self, names: Sequence[str]) -> Any:
        """Pack all projections. Of a block the file has the scale and the gate of attention, then of the feed-forward
        part."""
        d, condition = self.config.dim, self.config.condition
        at = [f"{name}.adaLN_modulation.0" for name in names]
        narrowed = self.packing.compute == "bfloat16"
        weights = [self.weights.take(f"{name}.weight", 4 * d, condition, narrowed=narrowed) for name in at]
        biases = [self.weights.take(f"{name}.bias", 4 * d) for name in at]
        cuts = [slice(part * d, (part + 1) * d) for part in (0, 2, 1, 3)]
        parts = [(block, cut) for pair in (cuts[:2], cuts[2:]) for block in range(len(at)) for cut in pair]
        return self.packing.pack_linear(
            [weights[block][cut] for block, cut in parts], [biases[block][cut] for block, cut in parts]
        )

    def block(self, at: str) -> Block:
        d, hidden, head = self.config.dim, self.config.hidden, self.config.dim // self.config.n_heads
        q_norm, k_norm = (
            self.vector(f"{at}.attention.norm_{x}.weight", head) if self.config.qk_norm else None for x in "qk"
        )
        return Block(
            attention_in=self.vector(f"{at}.attention_norm1.weight", d),
            qkv=self.stack([(f"{at}.attention.to_{x}", d) for x in "qkv"], d, bias=False),
            q_norm=q_norm,
            k_norm=k_norm,
            out=self.linear(f"{at}.attention.to_out.0", d, d, bias=False),
            attention_out=self.vector(f"{at}.attention_norm2.weight", d),
            feed_in=self.vector(f"{at}.ffn_norm1.weight", d),
            up=self.stack([(f"{at}.feed_forward.w{n}", hidden) for n in (1, 3)], d, bias=False, gated=True),
            down=self.linear(f"{at}.feed_forward.w2", d, hidden, bias=False),
            feed_out=self.vector(f"{at}.ffn_norm2.weight", d),
        )


def columns_of(channels: int) -> NDArray[np.int64]:
    """Return which column of the file each column of a token is: (C, 2, 2) of (2, 2, C)."""
    return np.arange(SIDE * SIDE * channels).reshape(SIDE, SIDE, channels).transpose(2, 0, 1).reshape(-1)
