"""Read the config and pack the weights of diffusers' `UNet2DConditionModel`: of Stable Diffusion 1.5 and SDXL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ...kernels.ops import Ops
from ..checkpoint import Component
from ..config import Config
from ..errors import UnknownArchitecture
from .reader import Norm, Reader

ARCHITECTURE: Final = "UNet2DConditionModel"
ADDED: Final = "text_time"  # the one addition_embed_type: SDXL's pooled text and sizes
SIZES: Final = 6  # numbers of that: height, width, top, left, height, width
HARMLESS: Final = {
    "sample_size": "the default size, which the family reads",
    "dropout": "of training alone",
    "upcast_attention": "a guard against overflow in float16, in which Salon computes nothing",
    "addition_embed_type_num_heads": "of another addition_embed_type",
}
# What Salon implements, where a key has one value; the first is diffusers' default.
_ONLY: Final[dict[str, tuple[Any, ...]]] = {
    "center_input_sample": (False,),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "only_cross_attention": (False,),
    "downsample_padding": (1,),
    "mid_block_scale_factor": (1, 1.0),
    "act_fn": ("silu",),
    "dual_cross_attention": (False,),
    "resnet_time_scale_shift": ("default",),
    "resnet_skip_time_act": (False,),
    "resnet_out_scale_factor": (1.0, 1),
    "time_embedding_type": ("positional",),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "attention_type": ("default",),
    "class_embeddings_concat": (False,),
    "mid_block_only_cross_attention": (False,),
}
_UNSET: Final = (
    "reverse_transformer_layers_per_block", "encoder_hid_dim", "encoder_hid_dim_type", "num_attention_heads",
    "class_embed_type", "num_class_embeds", "time_embedding_dim", "time_embedding_act_fn", "timestep_post_act",
    "time_cond_proj_dim", "cross_attention_norm",
)  # fmt: skip
_DOWN: Final = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}  # class -> whether it attends
_UP: Final = {"CrossAttnUpBlock2D": True, "UpBlock2D": False}
_DOWN_USUAL: Final = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
_UP_USUAL: Final = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3


@dataclass(frozen=True)
class UNetConfig:
    """The sizes of a UNet, under the names of its config.json; of the levels the finest stands first."""

    in_channels: int
    block_out_channels: tuple[int, ...]
    layers_per_block: int
    down_attends: tuple[bool, ...]  # of each level, on the way down
    up_attends: tuple[bool, ...]  # of each level, coarsest first
    transformer_layers: tuple[int, ...]
    heads: tuple[int, ...]  # what config.json calls attention_head_dim
    cross_attention_dim: int
    norm_num_groups: int
    norm_eps: float
    use_linear_projection: bool
    addition_time_embed_dim: int | None  # None: the model reads neither a pooled text nor sizes
    projection_class_embeddings_input_dim: int  # 0 then

    @classmethod
    def read(cls, config: Config) -> UNetConfig:
        """Read config.json, with diffusers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture([ARCHITECTURE])
        for key, allowed in _ONLY.items():
            config.only(key, allowed, allowed[0])
        for key in _UNSET:
            config.unset(key)
        widths = config.integers("block_out_channels", (320, 640, 1280, 1280))
        levels, groups = len(widths), config.integer("norm_num_groups", 32)
        channels = config.integer("in_channels", 4)
        config.only("out_channels", (channels,), 4)
        heads = _each(config, "attention_head_dim", 8, levels)
        added = config.only("addition_embed_type", (ADDED,), ADDED) if config.raw("addition_embed_type") else None
        if added is None:
            for key in ("addition_time_embed_dim", "projection_class_embeddings_input_dim"):
                config.unset(key)
        for width, count in zip(widths, heads, strict=True):
            if width % groups:
                config.refuse("norm_num_groups", f"a divisor of {list(widths)}", groups)
            if width % count:
                config.refuse("attention_head_dim", f"divisors of {list(widths)}, numbers of heads", list(heads))
        result = cls(
            in_channels=channels,
            block_out_channels=widths,
            layers_per_block=config.integer("layers_per_block", 2),
            down_attends=_attends(config, "down_block_types", _DOWN, _DOWN_USUAL, levels),
            up_attends=_attends(config, "up_block_types", _UP, _UP_USUAL, levels),
            transformer_layers=_each(config, "transformer_layers_per_block", 1, levels),
            heads=heads,
            cross_attention_dim=config.integer("cross_attention_dim", 1280),
            norm_num_groups=groups,
            norm_eps=config.number("norm_eps", 1e-5, 1e-30, 1.0),
            use_linear_projection=config.boolean("use_linear_projection", False),
            addition_time_embed_dim=config.integer("addition_time_embed_dim") if added else None,
            projection_class_embeddings_input_dim=(
                config.integer("projection_class_embeddings_input_dim") if added else 0
            ),
        )
        if added and result.pooled < 1:
            expected = f"more than {SIZES} x addition_time_embed_dim"
            config.refuse(
                "projection_class_embeddings_input_dim", expected, result.projection_class_embeddings_input_dim
            )
        config.finish(HARMLESS)
        return result

    @property
    def pooled(self) -> int:
        """Columns of the pooled text; 0: the model reads none."""
        return self.projection_class_embeddings_input_dim - SIZES * (self.addition_time_embed_dim or 0)

    @property
    def time_width(self) -> int:
        """Columns of the vector that resnets are told of time."""
        return 4 * self.block_out_channels[0]

    @property
    def text_columns(self) -> int:
        """Columns of keys and values that all layers together make of a text row."""
        deep = self.layers_per_block
        down = [deep * int(each) for each in self.down_attends]
        up = [(deep + 1) * int(each) for each in self.up_attends[::-1]]
        sums = [a + b for a, b in zip(down, up, strict=True)]
        sums[-1] += 1  # the middle
        return sum(
            2 * width * layers * count
            for width, layers, count in zip(self.block_out_channels, self.transformer_layers, sums, strict=True)
        )


def _each(config: Config, key: str, default: int, levels: int) -> tuple[int, ...]:
    """Read an integer, or a list of one for each level."""
    if isinstance(config.raw(key), list | tuple):
        found = config.integers(key)
        if len(found) != levels:
            config.refuse(key, f"{levels} numbers, one for each level", list(found))
        return found
    return (config.integer(key, default),) * levels


def _attends(config: Config, key: str, kinds: dict[str, bool], usual: tuple[str, ...], levels: int) -> tuple[bool, ...]:
    """Read the class of each level's block: whether it attends."""
    found = config.raw(key)
    found = list(usual) if found is None else found
    if not isinstance(found, list | tuple) or len(found) != levels or any(kind not in kinds for kind in found):
        config.refuse(key, f"{levels} of {' and '.join(kinds)}", found, UnknownArchitecture)
    return tuple(kinds[kind] for kind in found)


@dataclass(frozen=True, eq=False)
class Resnet:
    """A residual block. `time`: its columns (start, stop) of what `UNetWeights.time_projection` makes."""

    name: str  # diffusers', as those of the other parts
    norm1: Norm
    conv1: Any  # 3x3 [O, I]
    time: tuple[int, int]
    norm2: Norm
    conv2: Any  # 3x3 [O, O]
    shortcut: Any | None  # 1x1 [O, I] where I != O


@dataclass(frozen=True, eq=False)
class Layer:
    """Self-attention, attention to the text, and a gated feed-forward."""

    name: str
    norm1: Norm
    qkv: Any  # [3 D, D]
    out: Any  # [D, D]
    norm2: Norm
    text_q: Any  # [D, D]
    text_kv: Any  # [2 D, text width]
    text_out: Any  # [D, D]
    norm3: Norm
    up: Any  # [8 D, D], gate and value
    down: Any  # [D, 4 D]


@dataclass(frozen=True, eq=False)
class Transformer:
    name: str
    width: int  # D
    heads: int
    norm: Norm
    first: Any  # linear [D, D]
    layers: tuple[Layer, ...]
    last: Any  # 1x1 convolution [D, D], which adds the residual in one pass


@dataclass(frozen=True, eq=False)
class Block:
    """What is done at one resolution, before the convolution that changes it (None at the last block).

    `transformers`: one behind each resnet, or none.
    """

    name: str  # of that convolution
    resnets: tuple[Resnet, ...]
    transformers: tuple[Transformer, ...]
    resample: Any | None


@dataclass(frozen=True, eq=False)
class Embedder:
    """Two linear layers with SiLU between."""

    first: Any
    second: Any


@dataclass(frozen=True, eq=False)
class UNetWeights:
    """A packed UNet. `down` has the finest block first, `up` the coarsest."""

    config: UNetConfig
    conv_in: Any
    time: Embedder
    added: Embedder | None
    time_projection: Any  # [columns of all resnets, time width]
    down: tuple[Block, ...]
    middle: Block  # two resnets, and a transformer between them
    up: tuple[Block, ...]
    norm_out: Norm
    conv_out: Any

    @property
    def transformers(self) -> Iterator[Transformer]:
        """All transformers, in the order in which they are computed."""
        for block in (*self.down, self.middle, *self.up):
            yield from block.transformers


def load_unet(ops: Ops[Any, Any], component: Component) -> UNetWeights:
    """Pack a UNet folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    config = UNetConfig.read(component.config)
    reader = _Reader(ops, component, config)
    widths, deep = config.block_out_channels, config.layers_per_block
    first, last = widths[0], len(widths) - 1
    conv_in = reader.conv("conv_in", first, config.in_channels, 3)
    down, skips, width = [], [first], first
    for i, out in enumerate(widths):
        at, inputs = f"down_blocks.{i}", [width if j == 0 else out for j in range(deep)]
        down.append(
            reader.block(at, i, inputs, attends=config.down_attends[i], resample="downsamplers", last=i == last)
        )
        skips += [out] * (deep if i == last else deep + 1)
        width = out
    middle = reader.block("mid_block", last, [width, width], attends=True, resample="", last=True)
    up = []
    for i, out in enumerate(reversed(widths)):
        inputs = []
        for _ in range(deep + 1):
            inputs.append(width + skips.pop())
            width = out
        at, attends = f"up_blocks.{i}", config.up_attends[i]
        up.append(reader.block(at, last - i, inputs, attends=attends, resample="upsamplers", last=i == last))
    added = config.projection_class_embeddings_input_dim
    weights = UNetWeights(
        config=config,
        conv_in=conv_in,
        time=reader.embedder("time_embedding", first),
        added=reader.embedder("add_embedding", added) if added else None,
        time_projection=reader.stack(reader.projections, config.time_width),
        down=tuple(down),
        middle=middle,
        up=tuple(up),
        norm_out=reader.norm("conv_norm_out", first),
        conv_out=reader.conv("conv_out", config.in_channels, first, 3),
    )
    reader.weights.finish()
    return weights


class _Reader(Reader):
    def __init__(self, ops: Ops[Any, Any], component: Component, config: UNetConfig) -> None:
        super().__init__(ops, component.weights())
        self.config = config
        self.projections: list[tuple[str, int]] = []  # of the time, of all resnets so far
        self._columns = 0

    def block(self, at: str, level: int, inputs: list[int], *, attends: bool, resample: str, last: bool) -> Block:
        """Read a block of the width of a level, whose resnets have `inputs` columns."""
        out = self.config.block_out_channels[level]
        resnets = tuple(self.resnet(f"{at}.resnets.{j}", width, out) for j, width in enumerate(inputs))
        count = 0 if not attends else len(inputs) if resample else len(inputs) - 1
        return Block(
            f"{at}.{resample}.0.conv",
            resnets,
            tuple(self.transformer(f"{at}.attentions.{j}", level) for j in range(count)),
            None if last else self.conv(f"{at}.{resample}.0.conv", out, out, 3),
        )

    def resnet(self, at: str, inputs: int, outputs: int) -> Resnet:
        self.projections.append((f"{at}.time_emb_proj", outputs))
        start, self._columns = self._columns, self._columns + outputs
        return Resnet(
            name=at,
            norm1=self.norm(f"{at}.norm1", inputs),
            conv1=self.conv(f"{at}.conv1", outputs, inputs, 3),
            time=(start, self._columns),
            norm2=self.norm(f"{at}.norm2", outputs),
            conv2=self.conv(f"{at}.conv2", outputs, outputs, 3),
            shortcut=self.conv(f"{at}.conv_shortcut", outputs, inputs, 1) if inputs != outputs else None,
        )

    def transformer(self, at: str, level: int) -> Transformer:
        width = self.config.block_out_channels[level]
        shape = (width, width) if self.config.use_linear_projection else (width, width, 1, 1)
        first, last = (self.weights.take(f"{at}.{name}.weight", *shape) for name in ("proj_in", "proj_out"))
        biases = [self.weights.take(f"{at}.{name}.bias", width) for name in ("proj_in", "proj_out")]
        return Transformer(
            name=at,
            width=width,
            heads=self.config.heads[level],
            norm=self.norm(f"{at}.norm", width),
            first=self.ops.pack_linear([first.reshape(width, width)], biases[:1]) if self.ops else None,
            layers=tuple(
                self.layer(f"{at}.transformer_blocks.{k}", width) for k in range(self.config.transformer_layers[level])
            ),
            last=self.ops.pack_conv(last.reshape(width, width, 1, 1), biases[1]) if self.ops else None,
        )

    def layer(self, at: str, width: int) -> Layer:
        text = self.config.cross_attention_dim
        names = [(f"{at}.attn1.to_{x}", width) for x in "qkv"]
        kv = [(f"{at}.attn2.to_{x}", width) for x in "kv"]
        return Layer(
            name=at,
            norm1=self.norm(f"{at}.norm1", width),
            qkv=self.stack(names, width, bias=False),
            out=self.linear(f"{at}.attn1.to_out.0", width, width),
            norm2=self.norm(f"{at}.norm2", width),
            text_q=self.linear(f"{at}.attn2.to_q", width, width, bias=False),
            text_kv=self.stack(kv, text, bias=False),
            text_out=self.linear(f"{at}.attn2.to_out.0", width, width),
            norm3=self.norm(f"{at}.norm3", width),
            up=self.gated(f"{at}.ff.net.0.proj", 4 * width, width),
            down=self.linear(f"{at}.ff.net.2", width, 4 * width),
        )

    def gated(self, name: str, outputs: int, inputs: int) -> Any:
        """Pack a gated layer, in which diffusers has the value first and then the gate."""
        weight = self.weights.take(f"{name}.weight", 2 * outputs, inputs)
        bias = self.weights.take(f"{name}.bias", 2 * outputs)
        halves = [slice(outputs, None), slice(None, outputs)]
        if self.ops is None:
            return None
        return self.ops.pack_linear([weight[half] for half in halves], [bias[half] for half in halves], swiglu=True)

    def conv(self, at: str, outputs: int, inputs: int, side: int) -> Any:
        weight = self.weights.take(f"{at}.weight", outputs, inputs, side, side)
        bias = self.weights.take(f"{at}.bias", outputs)
        return None if self.ops is None else self.ops.pack_conv(weight, bias)

    def embedder(self, at: str, inputs: int) -> Embedder:
        width = self.config.time_width
        return Embedder(self.linear(f"{at}.linear_1", width, inputs), self.linear(f"{at}.linear_2", width, width))
