"""Read the config and pack the weights of Qwen-Image, under diffusers' names (`QwenImageTransformer2DModel`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ...kernels.ops import Ops
from ..checkpoint import Component, Weights
from ..config import Config
from .reader import Reader
from .rotation import head_and_axes

ARCHITECTURE: Final = "QwenImageTransformer2DModel"
TIME_CHANNELS: Final = 256  # columns of the timestep sinusoid
PATCH: Final = 2  # latents along a side of a token


@dataclass(frozen=True)
class QwenImageConfig:
    """The sizes of a Qwen-Image transformer, under the names of its config.json. D = width = heads * head width."""

    in_channels: int  # C: columns of a latent token, also of the velocity
    num_layers: int
    attention_head_dim: int
    num_attention_heads: int
    joint_attention_dim: int  # columns of a text token
    axes_dims_rope: tuple[int, ...]
    zero_cond_t: bool = False  # whether the rows of references are modulated as at timestep 0

    @classmethod
    def read(cls, config: Config) -> QwenImageConfig:
        """Read config.json, with diffusers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture([ARCHITECTURE])
        config.only("patch_size", (PATCH,), PATCH)
        in_channels = config.integer("in_channels", 64)
        if in_channels % (PATCH * PATCH):
            config.refuse("in_channels", f"a multiple of {PATCH * PATCH}, the latents of a token", in_channels)
        latents = in_channels // (PATCH * PATCH)
        config.only("out_channels", (latents,), 16)
        for key in ("guidance_embeds", "use_additional_t_cond", "use_layer3d_rope"):
            config.unset(key)
        head, axes = head_and_axes(config, (16, 56, 56))
        result = cls(
            in_channels=in_channels,
            num_layers=config.integer("num_layers", 60),
            attention_head_dim=head,
            num_attention_heads=config.integer("num_attention_heads", 24),
            joint_attention_dim=config.integer("joint_attention_dim", 3584),
            axes_dims_rope=axes,
            zero_cond_t=config.boolean("zero_cond_t", False),
        )
        config.finish({})
        return result

    @property
    def width(self) -> int:
        """D, columns of the residual stream."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def num_modulations(self) -> int:
        """Columns of all adaLN projections together: 12 D a block, 2 D at the end."""
        return self.width * (12 * self.num_layers + 2)


@dataclass(frozen=True, eq=False)
class Stream:
    """The image or the text half of a block."""

    qkv: Any  # [3 D, D]
    q_norm: Any  # [1, E]
    k_norm: Any  # [1, E]
    out: Any  # [D, D]
    up: Any  # [4 D, D]
    down: Any  # [D, 4 D]


@dataclass(frozen=True, eq=False)
class QwenImageWeights:
    """A packed Qwen-Image transformer.

    `modulation` [num_modulations, D] holds every adaLN projection of the model, which all read the same vector. Its
    rows are, for each block, those of the image (shift, scale, gate of attention; shift, scale, gate of the MLP), then
    those of the text in the same order; at the end norm_out (scale, shift).
    """

    config: QwenImageConfig
    image_in: Any  # [D, C]
    text_norm: Any  # [1, text width]
    text_in: Any  # [D, text width]
    time_first: Any
    time_second: Any
    modulation: Any
    blocks: tuple[tuple[Stream, Stream], ...]  # (image, text)
    image_out: Any  # [C, D]


IMAGE: Final = ("to_q", "to_k", "to_v")
TEXT: Final = ("add_q_proj", "add_k_proj", "add_v_proj")


def modulations_of(config: QwenImageConfig) -> list[tuple[str, int]]:
    """Return the layers of `QwenImageWeights.modulation` in their order, each with its rows."""
    d = config.width
    names = [f"transformer_blocks.{i}.{side}_mod.1" for i in range(config.num_layers) for side in ("img", "txt")]
    return [*((name, 6 * d) for name in names), ("norm_out.linear", 2 * d)]


def load_qwen_image(ops: Ops[Any, Any], component: Component) -> QwenImageWeights:
    """Pack a transformer folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    config = QwenImageConfig.read(component.config)
    reader = _Reader(ops, component.weights(), config)
    d, text, at = config.width, config.joint_attention_dim, "time_text_embed.timestep_embedder"
    weights = QwenImageWeights(
        config=config,
        image_in=reader.linear("img_in", d, config.in_channels),
        text_norm=reader.vector("txt_norm.weight", text),
        text_in=reader.linear("txt_in", d, text),
        time_first=reader.linear(f"{at}.linear_1", d, TIME_CHANNELS),
        time_second=reader.linear(f"{at}.linear_2", d, d),
        modulation=reader.stack(modulations_of(config), d),
        blocks=tuple(reader.block(f"transformer_blocks.{i}") for i in range(config.num_layers)),
        image_out=reader.linear("proj_out", config.in_channels, d),
    )
    reader.weights.finish()
    return weights


class _Reader(Reader):
    def __init__(self, ops: Ops[Any, Any], weights: Weights, config: QwenImageConfig) -> None:
        super().__init__(ops, weights)
        self.width = config.width
        self.head = config.attention_head_dim

    def block(self, at: str) -> tuple[Stream, Stream]:
        image = self.stream(at, IMAGE, "norm_", "to_out.0", "img_mlp")
        text = self.stream(at, TEXT, "norm_added_", "to_add_out", "txt_mlp")
        return image, text

    def stream(self, at: str, qkv: tuple[str, ...], norm: str, out: str, mlp: str) -> Stream:
        d = self.width
        return Stream(
            qkv=self.stack([(f"{at}.attn.{name}", d) for name in qkv], d),
            q_norm=self.vector(f"{at}.attn.{norm}q.weight", self.head),
            k_norm=self.vector(f"{at}.attn.{norm}k.weight", self.head),
            out=self.linear(f"{at}.attn.{out}", d, d),
            up=self.linear(f"{at}.{mlp}.net.0.proj", 4 * d, d),
            down=self.linear(f"{at}.{mlp}.net.2", d, 4 * d),
        )
