"""Read the config and pack the weights of Krea 2, under diffusers' names (`Krea2Transformer2DModel`).

Norms are stored as what is added to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ...kernels.bfloat16 import widen
from ...kernels.ops import Ops
from ..checkpoint import Component, Weights
from ..config import Config
from .reader import Reader
from .rotation import head_and_axes

ARCHITECTURE: Final = "Krea2Transformer2DModel"


@dataclass(frozen=True)
class Krea2Config:
    """The sizes of a Krea 2 transformer, under the names of its config.json. D = width = heads * head width."""

    in_channels: int  # C: columns of a latent token, also of the velocity
    num_layers: int
    attention_head_dim: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int
    timestep_embed_dim: int
    text_hidden_dim: int  # columns of one state of a text token
    num_text_layers: int  # L, states of a text token
    text_num_attention_heads: int
    text_num_key_value_heads: int
    text_intermediate_size: int
    num_layerwise_text_blocks: int
    num_refiner_text_blocks: int
    axes_dims_rope: tuple[int, ...]
    rope_theta: float
    norm_eps: float

    @classmethod
    def read(cls, config: Config) -> Krea2Config:
        """Read config.json, with diffusers' defaults.

        Raise UnknownArchitecture or WrongConfig for what does not fit.
        """
        config.want_architecture([ARCHITECTURE])
        head, axes = head_and_axes(config, (32, 48, 48))
        steps = config.integer("timestep_embed_dim", 256, 2)
        if steps % 2:
            config.refuse("timestep_embed_dim", "an even number", steps)
        result = cls(
            in_channels=config.integer("in_channels", 64),
            num_layers=config.integer("num_layers", 28),
            attention_head_dim=head,
            num_attention_heads=config.integer("num_attention_heads", 48),
            num_key_value_heads=config.integer("num_key_value_heads", 12),
            intermediate_size=config.integer("intermediate_size", 16384),
            timestep_embed_dim=steps,
            text_hidden_dim=config.integer("text_hidden_dim", 2560),
            num_text_layers=config.integer("num_text_layers", 12),
            text_num_attention_heads=config.integer("text_num_attention_heads", 20),
            text_num_key_value_heads=config.integer("text_num_key_value_heads", 20),
            text_intermediate_size=config.integer("text_intermediate_size", 6912),
            num_layerwise_text_blocks=config.integer("num_layerwise_text_blocks", 2, 0),
            num_refiner_text_blocks=config.integer("num_refiner_text_blocks", 2, 0),
            axes_dims_rope=axes,
            rope_theta=config.number("rope_theta", 1000.0, 1.0),
            norm_eps=config.number("norm_eps", 1e-5, 1e-30, 1.0),
        )
        for key, whole in (
            ("num_key_value_heads", result.num_attention_heads),
            ("text_num_key_value_heads", result.text_num_attention_heads),
            ("text_num_attention_heads", result.text_hidden_dim),
        ):
            if whole % getattr(result, key):
                config.refuse(key, f"a divisor of {whole}", getattr(result, key))
        if (result.text_hidden_dim // result.text_num_attention_heads) % 2:
            config.refuse("text_num_attention_heads", "heads of an even width", result.text_num_attention_heads)
        config.finish({})
        return result

    @property
    def width(self) -> int:
        """D, columns of the residual stream."""
        return self.num_attention_heads * self.attention_head_dim


@dataclass(frozen=True, eq=False)
class Block:
    """A block of the transformer, or one of text fusion. E: head width, H and G: heads of queries and of keys."""

    width: int  # D
    heads: int
    kv_heads: int
    norm1: Any  # [1, D] float32
    norm2: Any  # [1, D] float32
    qkv: Any  # [(H + 2 G) E, D]
    gate: Any  # [D, D]
    q_norm: Any  # [1, E] float32
    k_norm: Any  # [1, E] float32
    out: Any  # [D, D]
    up: Any  # [2 I, D], gate and value
    down: Any  # [D, I]
    table: Any | None  # [1, 6 D] float32, added to the modulation of all blocks; None: the block has none


@dataclass(frozen=True, eq=False)
class Krea2Weights:
    """A packed Krea 2 transformer."""

    config: Krea2Config
    image_in: Any  # [D, C]
    time_first: Any
    time_second: Any
    modulation: Any  # [6 D, D], of all blocks: scale, shift, gate of attention, then of the MLP
    layerwise: tuple[Block, ...]  # over the states of each text token
    projector: Any  # float32 [L], the factor of each state in their sum, on the host
    refiners: tuple[Block, ...]  # over the tokens of each text
    text_norm: Any  # [1, text width] float32
    text_first: Any
    text_second: Any
    blocks: tuple[Block, ...]
    final_scale: Any  # [1, D] float32, added to the time's vector
    final_shift: Any
    final_norm: Any  # [1, D] float32
    image_out: Any  # [C, D]


def load_krea2(ops: Ops[Any, Any], component: Component) -> Krea2Weights:
    """Pack a transformer folder.

    Raises:
        CheckpointError: anything is wrong with the folder, see `engine.errors`.
    """
    c = Krea2Config.read(component.config)
    reader = _Reader(ops, component.weights())
    d, text = c.width, c.text_hidden_dim
    heads, inner = (c.num_attention_heads, c.num_key_value_heads), c.intermediate_size
    text_heads, text_inner = (c.text_num_attention_heads, c.text_num_key_value_heads), c.text_intermediate_size

    def fusion(name: str, count: int) -> tuple[Block, ...]:
        names = (f"text_fusion.{name}.{i}" for i in range(count))
        return tuple(reader.block(at, text, *text_heads, text_inner, table=False) for at in names)

    final = widen(reader.weights.take("final_layer.scale_shift_table", 2, d), "scale_shift_table")
    projector = reader.weights.take("text_fusion.projector.weight", 1, c.num_text_layers)
    weights = Krea2Weights(
        config=c,
        image_in=reader.linear("img_in", d, c.in_channels),
        time_first=reader.linear("time_embed.linear_1", d, c.timestep_embed_dim),
        time_second=reader.linear("time_embed.linear_2", d, d),
        modulation=reader.linear("time_mod_proj", 6 * d, d),
        layerwise=fusion("layerwise_blocks", c.num_layerwise_text_blocks),
        projector=widen(projector, "projector").reshape(-1).copy(),
        refiners=fusion("refiner_blocks", c.num_refiner_text_blocks),
        text_norm=reader.scale("txt_in.norm.weight", text),
        text_first=reader.linear("txt_in.linear_1", d, text),
        text_second=reader.linear("txt_in.linear_2", d, d),
        blocks=tuple(
            reader.block(f"transformer_blocks.{i}", d, *heads, inner, table=True) for i in range(c.num_layers)
        ),
        final_scale=ops.array(final[0], "float32"),
        final_shift=ops.array(final[1], "float32"),
        final_norm=reader.scale("final_layer.norm.weight", d),
        image_out=reader.linear("final_layer.linear", c.in_channels, d),
    )
    reader.weights.finish()
    return weights


class _Reader(Reader):
    ops: Ops[Any, Any]

    def __init__(self, ops: Ops[Any, Any], weights: Weights) -> None:
        super().__init__(ops, weights)

    def scale(self, name: str, width: int) -> Any:
        """Read a norm's scale, which is stored without its 1."""
        return self.ops.array(widen(self.weights.take(name, width), name) + 1, "float32")

    def block(self, at: str, width: int, heads: int, kv_heads: int, inner: int, *, table: bool) -> Block:
        head = width // heads
        rows = [(f"{at}.attn.to_q", width), *((f"{at}.attn.to_{x}", kv_heads * head) for x in "kv")]
        return Block(
            width=width,
            heads=heads,
            kv_heads=kv_heads,
            norm1=self.scale(f"{at}.norm1.weight", width),
            norm2=self.scale(f"{at}.norm2.weight", width),
            qkv=self.stack(rows, width, bias=False),
            gate=self.linear(f"{at}.attn.to_gate", width, width, bias=False),
            q_norm=self.scale(f"{at}.attn.norm_q.weight", head),
            k_norm=self.scale(f"{at}.attn.norm_k.weight", head),
            out=self.linear(f"{at}.attn.to_out.0", width, width, bias=False),
            up=self.stack([(f"{at}.ff.{name}", inner) for name in ("gate", "up")], width, bias=False, gated=True),
            down=self.linear(f"{at}.ff.down", width, inner, bias=False),
            table=self.table(f"{at}.scale_shift_table", width) if table else None,
        )

    def table(self, name: str, width: int) -> Any:
        """Read what a block adds to the modulation: six rows, which original files have as one."""
        flat = name in self.weights and len(self.weights.shape(name)) == 1
        values = self.weights.take(name, 6 * width) if flat else self.weights.take(name, 6, width)
        return self.ops.array(values.reshape(-1), "float32")
