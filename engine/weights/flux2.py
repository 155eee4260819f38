"""Read the config and pack the weights of the FLUX.2 family, under diffusers' names (`Flux2Transformer2DModel`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ...kernels.ops import Ops
from ..checkpoint import Component, Weights
from ..config import Config
from .flux import Embedder
from .reader import Reader
from .rotation import head_and_axes

ARCHITECTURE: Final = "Flux2Transformer2DModel"


@dataclass(frozen=True)
class Flux2Config:
    """The sizes of a FLUX.2 transformer, under the names of its config.json. D = width = heads * head width."""

    in_channels: int  # C: columns of a latent token, also of the velocity
    num_layers: int  # double blocks
    num_single_layers: int
    attention_head_dim: int
    num_attention_heads: int
    joint_attention_dim: int  # columns of a text token
    timestep_guidance_channels: int  # columns of the sinusoids
    mlp_ratio: float
    axes_dims_rope: tuple[int, ...]
    rope_theta: float
    eps: float
    guidance_embeds: bool

    @classmethod
    def read(cls, config: Config) -> Flux2Config:
        """Read config.json, with diffusers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture([ARCHITECTURE])
        config.only("patch_size", (1,), 1)
        in_channels = config.integer("in_channels", 128)
        config.only("out_channels", (in_channels,), in_channels)
        head, axes = head_and_axes(config, (32, 32, 32, 32))
        channels = config.integer("timestep_guidance_channels", 256)
        if channels % 2:
            config.refuse("timestep_guidance_channels", "an even number", channels)
        result = cls(
            in_channels=in_channels,
            num_layers=config.integer("num_layers", 8, 0),
            num_single_layers=config.integer("num_single_layers", 48, 0),
            attention_head_dim=head,
            num_attention_heads=config.integer("num_attention_heads", 48),
            joint_attention_dim=config.integer("joint_attention_dim", 15360),
            timestep_guidance_channels=channels,
            mlp_ratio=config.number("mlp_ratio", 3.0, 1e-3, 1e3),
            axes_dims_rope=axes,
            rope_theta=config.number("rope_theta", 2000, 1.0),
            eps=config.number("eps", 1e-6, 1e-30, 1.0),
            guidance_embeds=config.boolean("guidance_embeds", True),
        )
        config.finish({})
        return result

    @property
    def width(self) -> int:
        """D, columns of the residual stream."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def hidden(self) -> int:
        """M, columns of the feed-forward parts."""
        return int(self.width * self.mlp_ratio)


@dataclass(frozen=True, eq=False)
class Stream:
    """The image or the text half of a double block."""

    qkv: Any  # [3 D, D]
    q_norm: Any  # [1, E]
    k_norm: Any  # [1, E]
    out: Any  # [D, D]
    up: Any  # [2 M, D]: gate, then value
    down: Any  # [D, M]


@dataclass(frozen=True, eq=False)
class DoubleBlock:
    image: Stream
    text: Stream


@dataclass(frozen=True, eq=False)
class SingleBlock:
    qkv: Any  # [3 D, D]
    q_norm: Any  # [1, E]
    k_norm: Any  # [1, E]
    up: Any  # [2 M, D]: gate, then value
    out: Any  # [D, D + M]: attention columns, then feed-forward columns


@dataclass(frozen=True, eq=False)
class Flux2Weights:
    """A packed FLUX.2 transformer.

    `modulation` [17 D, D] holds every adaLN projection. All blocks of a kind share theirs: double blocks, image (shift,
    scale, gate of attention; shift, scale, gate of the feed-forward), then text in the same order; single blocks
    (shift, scale, gate); at the end norm_out (scale, shift).
    """

    config: Flux2Config
    image_in: Any  # [D, C]
    text_in: Any  # [D, text width]
    time: Embedder
    guidance: Embedder | None
    modulation: Any
    double_blocks: tuple[DoubleBlock, ...]
    single_blocks: tuple[SingleBlock, ...]
    image_out: Any  # [C, D]


def modulations_of(config: Flux2Config) -> list[tuple[str, int]]:
    """Return the layers of `Flux2Weights.modulation` in their order, each with its rows."""
    d = config.width
    found = [(f"double_stream_modulation_{name}.linear", 6 * d) for name in ("img", "txt")]
    return [*found, ("single_stream_modulation.linear", 3 * d), ("norm_out.linear", 2 * d)]


def load_flux2(ops: Ops[Any, Any], component: Component) -> Flux2Weights:
    """Pack a transformer folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    config = Flux2Config.read(component.config)
    reader = _Reader(ops, component.weights(), config)
    d = config.width
    weights = Flux2Weights(
        config=config,
        image_in=reader.linear("x_embedder", d, config.in_channels, bias=False),
        text_in=reader.linear("context_embedder", d, config.joint_attention_dim, bias=False),
        time=reader.embedder("timestep_embedder"),
        guidance=reader.embedder("guidance_embedder") if config.guidance_embeds else None,
        modulation=reader.stack(modulations_of(config), d, bias=False),
        double_blocks=tuple(reader.double_block(f"transformer_blocks.{i}") for i in range(config.num_layers)),
        single_blocks=tuple(
            reader.single_block(f"single_transformer_blocks.{i}") for i in range(config.num_single_layers)
        ),
        image_out=reader.linear("proj_out", config.in_channels, d, bias=False),
    )
    reader.weights.finish()
    return weights


class _Reader(Reader):
    def __init__(self, ops: Ops[Any, Any], weights: Weights, config: Flux2Config) -> None:
        super().__init__(ops, weights)
        self.config = config
        self.width, self.hidden = config.width, config.hidden

    def embedder(self, name: str) -> Embedder:
        at, inputs = f"time_guidance_embed.{name}", self.config.timestep_guidance_channels
        return Embedder(
            self.linear(f"{at}.linear_1", self.width, inputs, bias=False),
            self.linear(f"{at}.linear_2", self.width, self.width, bias=False),
        )

    def head_norm(self, name: str) -> Any:
        return self.vector(f"{name}.weight", self.config.attention_head_dim)

    def stream(self, at: str, names: tuple[str, str, str], norm: str, out: str, feed: str) -> Stream:
        d = self.width
        return Stream(
            qkv=self.stack([(f"{at}.attn.{name}", d) for name in names], d, bias=False),
            q_norm=self.head_norm(f"{at}.attn.{norm}_q"),
            k_norm=self.head_norm(f"{at}.attn.{norm}_k"),
            out=self.linear(f"{at}.attn.{out}", d, d, bias=False),
            up=self.stack([(f"{at}.{feed}.linear_in", 2 * self.hidden)], d, bias=False, gated=True),
            down=self.linear(f"{at}.{feed}.linear_out", d, self.hidden, bias=False),
        )

    def double_block(self, at: str) -> DoubleBlock:
        return DoubleBlock(
            image=self.stream(at, ("to_q", "to_k", "to_v"), "norm", "to_out.0", "ff"),
            text=self.stream(
                at, ("add_q_proj", "add_k_proj", "add_v_proj"), "norm_added", "to_add_out", "ff_context"
            ),
        )  # fmt: skip

    def single_block(self, at: str) -> SingleBlock:
        d, hidden = self.width, self.hidden
        assert self.ops is not None
        name, narrowed = f"{at}.attn.to_qkv_mlp_proj.weight", self.ops.compute == "bfloat16"
        joined = self.weights.take(name, 3 * d + 2 * hidden, d, narrowed=narrowed)
        return SingleBlock(
            qkv=self.ops.pack_linear([joined[: 3 * d]]),
            q_norm=self.head_norm(f"{at}.attn.norm_q"),
            k_norm=self.head_norm(f"{at}.attn.norm_k"),
            up=self.ops.pack_linear([joined[3 * d :]], swiglu=True),
            out=self.linear(f"{at}.attn.to_out", d, d + hidden, bias=False),
        )
