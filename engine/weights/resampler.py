"""Read and compute the resampler of IP-Adapter Plus: a few learned queries that attend to a picture's tokens.

Source: the Perceiver resampler of Flamingo (2204.14198, section 3.1.1), as IP-Adapter's files have it
(`image_proj.latents`, `image_proj.layers.N.0` attention, `image_proj.layers.N.1` feed-forward).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.bfloat16 import widen
from ...kernels.ops import Ops
from .reader import Norm

NORM_EPS: Final = 1e-5  # torch's LayerNorm default
HEAD: Final = 64  # columns of a head, which the files do not say
Take = Callable[..., NDArray[Any]]  # the array of a name and a shape, of which None is any side


@dataclass(frozen=True, eq=False)
class ResamplerLayer:
    """`ln0` is the picture's norm, `ln1` that of the queries; both make keys and values."""

    ln0: Norm
    ln1: Norm
    to_q: Any  # [H E, D]
    to_kv: Any  # [2 H E, D]
    to_out: Any  # [D, H E]
    feed: Norm
    up: Any
    down: Any


@dataclass(frozen=True, eq=False)
class Resampler:
    """The projection of a picture's states to `num_tokens` tokens.

    Attributes:
        latents: float32 [num_tokens, D], the learned queries.
        inner: columns of queries, keys and values.
        embedding_width: columns of the states that it reads.
    """

    latents: Any
    first: Any
    layers: tuple[ResamplerLayer, ...]
    last: Any
    norm: Norm
    inner: int
    num_tokens: int
    token_width: int
    embedding_width: int

    def tokens(self, ops: Ops[Any, Any], states: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the tokens float32 [num_tokens, token_width] of a picture's states float32 [n, embedding_width].

        Raises:
            ValueError: the states have another width.
        """
        if states.ndim != 2 or states.shape[1] != self.embedding_width:
            raise ValueError(f"tokens: states: got {list(states.shape)}, want [n, {self.embedding_width}]")

        def normed(x: Any, norm: Norm, dtype: Any = "compute") -> Any:
            return ops.norm(x, norm.weight, norm.bias, eps=NORM_EPS, dtype=dtype)

        picture = ops.linear(ops.array(states), self.first, dtype="float32")
        x = ops.cast(self.latents, "float32")
        queries, keys = ops.segments([self.num_tokens]), ops.segments([len(states) + self.num_tokens])
        for layer in self.layers:
            own = normed(x, layer.ln1)
            kv = ops.linear(ops.concat([normed(picture, layer.ln0), own]), layer.to_kv)
            k, v = ops.columns(kv, 0, self.inner), ops.columns(kv, self.inner, 2 * self.inner)
            q = ops.linear(own, layer.to_q)
            attended = ops.attention(q, k, v, queries, self.inner // HEAD, kv_segments=keys)
            ops.linear(attended, layer.to_out, residual=x)
            ops.linear(ops.linear(normed(x, layer.feed), layer.up, activation="gelu"), layer.down, residual=x)
        return ops.numpy(normed(ops.linear(ops.cast(x), self.last, dtype="float32"), self.norm, "float32"))


def load_resampler(ops: Ops[Any, Any], take: Take, layers: int) -> Resampler:
    """Pack the resampler of a file.

    Args:
        take: returns an array of a name behind `image_proj.`, checked by its shape.
        layers: how many layers its names count.

    Raises:
        CheckpointError: of `take`.
    """

    def linear(name: str, outputs: int | None, inputs: int | None, *, bias: bool = False) -> Any:
        weight = take(f"{name}.weight", outputs, inputs)
        return ops.pack_linear([weight], [take(f"{name}.bias", len(weight))] if bias else None)

    def norm(name: str, width: int) -> Norm:
        return Norm(*(ops.array(take(f"{name}.{part}", width), "float32") for part in ("weight", "bias")))

    latents = take("latents", 1, None, None)
    count, d = latents.shape[1:]
    inner = take("layers.0.0.to_q.weight", None, d).shape[0]
    wide, read = take("proj_out.weight", None, d).shape[0], take("proj_in.weight", d, None).shape[1]

    def layer(number: int) -> ResamplerLayer:
        at, feed = f"layers.{number}.0", f"layers.{number}.1"
        hidden = take(f"{feed}.1.weight", None, d).shape[0]
        return ResamplerLayer(
            ln0=norm(f"{at}.norm1", d),
            ln1=norm(f"{at}.norm2", d),
            to_q=linear(f"{at}.to_q", inner, d),
            to_kv=linear(f"{at}.to_kv", 2 * inner, d),
            to_out=linear(f"{at}.to_out", d, inner),
            feed=norm(f"{feed}.0", d),
            up=linear(f"{feed}.1", hidden, d),
            down=linear(f"{feed}.3", d, hidden),
        )

    return Resampler(
        latents=ops.array(widen(latents, "latents").reshape(count, d), "float32"),
        first=linear("proj_in", d, read, bias=True),
        layers=tuple(layer(number) for number in range(layers)),
        last=linear("proj_out", wide, d, bias=True),
        norm=norm("norm_out", wide),
        inner=inner,
        num_tokens=count,
        token_width=wide,
        embedding_width=read,
    )
