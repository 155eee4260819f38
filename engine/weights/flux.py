"""Read the config and pack the weights of the Flux family, under diffusers' names (`FluxTransformer2DModel`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ...kernels.ops import Ops
from ..checkpoint import Component, Weights
from ..config import Config
from .reader import Reader
from .rotation import head_and_axes

ARCHITECTURE: Final = "FluxTransformer2DModel"
TIME_CHANNELS: Final = 256  # columns of the timestep sinusoid


@dataclass(frozen=True)
class FluxConfig:
    """The sizes of a Flux transformer, under the names of its config.json. D = width = heads * head width."""

    in_channels: int  # C: columns of a latent token, also of the velocity; without what FLUX.1 Fill reads beside it
    num_layers: int  # double blocks
    num_single_layers: int
    attention_head_dim: int
    num_attention_heads: int
    joint_attention_dim: int  # columns of a text token
    pooled_projection_dim: int
    guidance_embeds: bool
    axes_dims_rope: tuple[int, ...]
    beside_channels: int = 0  # columns of what FLUX.1 Fill reads beside every token; 0: of other models

    @classmethod
    def read(cls, config: Config) -> FluxConfig:
        """Read config.json, with diffusers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture([ARCHITECTURE])
        config.only("patch_size", (1,), 1)
        read = config.integer("in_channels", 64)
        in_channels = config.integer("out_channels", read)
        mask = read - 2 * in_channels  # of FLUX.1 Fill: the pixels of a token, on 4, 8, 16, ... sides
        if in_channels != read and mask not in (4**levels for levels in range(1, 9)):
            config.only("out_channels", (read,))
        head, axes = head_and_axes(config, (16, 56, 56))
        result = cls(
            in_channels=in_channels,
            num_layers=config.integer("num_layers", 19, 0),
            num_single_layers=config.integer("num_single_layers", 38, 0),
            attention_head_dim=head,
            num_attention_heads=config.integer("num_attention_heads", 24),
            joint_attention_dim=config.integer("joint_attention_dim", 4096),
            pooled_projection_dim=config.integer("pooled_projection_dim", 768),
            guidance_embeds=config.boolean("guidance_embeds", False),
            axes_dims_rope=axes,
            beside_channels=read - in_channels,
        )
        config.finish({})
        return result

    @property
    def width(self) -> int:
        """D, columns of the residual stream."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def num_double_blocks(self) -> int:
        """Number of double blocks, each of which has an adapter branch."""
        return self.num_layers

    @property
    def num_modulations(self) -> int:
        """Columns of all adaLN projections together: 12 D a double block, 3 D a single block, 2 D at the end."""
        return self.width * (12 * self.num_layers + 3 * self.num_single_layers + 2)


@dataclass(frozen=True, eq=False)
class Embedder:
    """Two linear layers with SiLU between."""

    first: Any
    second: Any


@dataclass(frozen=True, eq=False)
class Stream:
    """The image or the text half of a double block."""

    qkv: Any  # [3 D, D]
    q_norm: Any  # [1, E]
    k_norm: Any  # [1, E]
    out: Any  # [D, D]
    up: Any  # [4 D, D]
    down: Any  # [D, 4 D]


@dataclass(frozen=True, eq=False)
class DoubleBlock:
    image: Stream
    text: Stream


@dataclass(frozen=True, eq=False)
class SingleBlock:
    qkv: Any  # [3 D, D]
    q_norm: Any  # [1, E]
    k_norm: Any  # [1, E]
    mlp: Any  # [4 D, D]
    out: Any  # [D, 5 D]: attention columns, then MLP columns


@dataclass(frozen=True, eq=False)
class FluxWeights:
    """A packed Flux transformer.

    `modulation` [num_modulations, D] holds every adaLN projection of the model, which all read the same vector. Its
    rows are, for each double block, those of norm1 (shift, scale, gate of attention; shift, scale, gate of the MLP),
    then those of norm1_context in the same order; for each single block shift, scale, gate; at the end norm_out (scale,
    shift).
    """

    config: FluxConfig
    image_in: Any  # [D, C]
    text_in: Any  # [D, text width]
    time: Embedder
    pooled: Embedder
    guidance: Embedder | None
    modulation: Any
    double_blocks: tuple[DoubleBlock, ...]
    single_blocks: tuple[SingleBlock, ...]
    image_out: Any  # [C, D]
    beside_in: Any = None  # [D, beside_channels], without a bias; None: there are none


IMAGE: Final = ("to_q", "to_k", "to_v")
TEXT: Final = ("add_q_proj", "add_k_proj", "add_v_proj")


def modulations_of(config: FluxConfig) -> list[tuple[str, int]]:
    """Return the layers of `FluxWeights.modulation` in their order, each with its rows."""
    d, found = config.width, list[tuple[str, int]]()
    for i in range(config.num_layers):
        found += [(f"transformer_blocks.{i}.{name}.linear", 6 * d) for name in ("norm1", "norm1_context")]
    found += [(f"single_transformer_blocks.{i}.norm.linear", 3 * d) for i in range(config.num_single_layers)]
    return [*found, ("norm_out.linear", 2 * d)]


def load_flux(ops: Ops[Any, Any], component: Component) -> FluxWeights:
    """Pack a transformer folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    config = FluxConfig.read(component.config)
    reader = _Reader(ops, component.weights(), config)
    d = config.width
    image_in, beside_in = reader.image_in()
    weights = FluxWeights(
        config=config,
        image_in=image_in,
        beside_in=beside_in,
        text_in=reader.linear("context_embedder", d, config.joint_attention_dim),
        time=reader.embedder("timestep_embedder", TIME_CHANNELS),
        pooled=reader.embedder("text_embedder", config.pooled_projection_dim),
        guidance=reader.embedder("guidance_embedder", TIME_CHANNELS) if config.guidance_embeds else None,
        modulation=reader.stack(modulations_of(config), d),
        double_blocks=tuple(reader.double_block(f"transformer_blocks.{i}") for i in range(config.num_layers)),
        single_blocks=tuple(
            reader.single_block(f"single_transformer_blocks.{i}") for i in range(config.num_single_layers)
        ),
        image_out=reader.linear("proj_out", config.in_channels, d),
    )
    reader.weights.finish()
    return weights


class _Reader(Reader):
    def __init__(self, ops: Ops[Any, Any], weights: Weights, config: FluxConfig) -> None:
        super().__init__(ops, weights)
        self.width = config.width
        self.channels, self.beside = config.in_channels, config.beside_channels
        self.head = config.attention_head_dim

    def image_in(self) -> tuple[Any, Any]:
        """Pack the layer that reads image tokens, and apart from it its columns of what is read beside them."""
        if not self.beside:
            return self.linear("x_embedder", self.width, self.channels), None
        assert self.ops is not None, "a backend"
        weight = self.weights.take("x_embedder.weight", self.width, self.channels + self.beside)
        bias = self.weights.take("x_embedder.bias", self.width)
        own, beside = (np.ascontiguousarray(part) for part in np.split(weight, [self.channels], axis=1))
        return self.ops.pack_linear([own], [bias]), self.ops.pack_linear([beside], None)

    def embedder(self, name: str, inputs: int) -> Embedder:
        at = f"time_text_embed.{name}"
        return Embedder(
            self.linear(f"{at}.linear_1", self.width, inputs), self.linear(f"{at}.linear_2", self.width, self.width)
        )

    def head_norm(self, name: str) -> Any:
        return self.vector(f"{name}.weight", self.head)

    def qkv(self, at: str, names: tuple[str, str, str]) -> Any:
        return self.stack([(f"{at}.attn.{name}", self.width) for name in names], self.width)

    def double_block(self, at: str) -> DoubleBlock:
        d = self.width
        image = Stream(
            qkv=self.qkv(at, IMAGE),
            q_norm=self.head_norm(f"{at}.attn.norm_q"),
            k_norm=self.head_norm(f"{at}.attn.norm_k"),
            out=self.linear(f"{at}.attn.to_out.0", d, d),
            up=self.linear(f"{at}.ff.net.0.proj", 4 * d, d),
            down=self.linear(f"{at}.ff.net.2", d, 4 * d),
        )
        text = Stream(
            qkv=self.qkv(at, TEXT),
            q_norm=self.head_norm(f"{at}.attn.norm_added_q"),
            k_norm=self.head_norm(f"{at}.attn.norm_added_k"),
            out=self.linear(f"{at}.attn.to_add_out", d, d),
            up=self.linear(f"{at}.ff_context.net.0.proj", 4 * d, d),
            down=self.linear(f"{at}.ff_context.net.2", d, 4 * d),
        )
        return DoubleBlock(image, text)

    def single_block(self, at: str) -> SingleBlock:
        d = self.width
        return SingleBlock(
            qkv=self.qkv(at, IMAGE),
            q_norm=self.head_norm(f"{at}.attn.norm_q"),
            k_norm=self.head_norm(f"{at}.attn.norm_k"),
            mlp=self.linear(f"{at}.proj_mlp", 4 * d, d),
            out=self.linear(f"{at}.proj_out", d, 5 * d),
        )
