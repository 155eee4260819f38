"""Define the autoencoder's ops for the reference backend.

Images are rows of pixels one after another, channels last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bfloat16 import widen
from ..ops import DtypeName, Float32
from ..segments import Int32
from .checks import describe, refuse, want_array, want_dtype_name, want_eps, want_grids
from .dense import activate


@dataclass(frozen=True, eq=False)
class ReferenceConv:
    """A convolution: weight float32 [kh, kw, I, O], bias float32 [O]."""

    weight: Float32
    bias: Float32


def _convolve(image: Float32, conv: ReferenceConv, stride: int, before: int, after: int, wrap: bool = False) -> Float32:
    """Convolve one image [h, w, I] to [h', w', O], one product for each tap.

    Both axes are padded by `before` and `after` zeros, or with `wrap` by what lies at the opposite side.
    """
    kh, kw, _, outputs = conv.weight.shape
    padded = np.pad(image, ((before, after), (before, after), (0, 0)), mode="wrap" if wrap else "constant")
    height, width = (padded.shape[0] - kh) // stride + 1, (padded.shape[1] - kw) // stride + 1
    y = np.zeros((height * width, outputs), np.float32)
    for dy in range(kh):
        for dx in range(kw):
            window = padded[dy : dy + (height - 1) * stride + 1 : stride, dx : dx + (width - 1) * stride + 1 : stride]
            y += np.ascontiguousarray(window).reshape(height * width, -1) @ conv.weight[dy, dx]
    return (y + conv.bias).reshape(height, width, outputs)


def _each_image(x: Float32, grids: Int32, width: int, function: Callable[[Float32], Float32]) -> Float32:
    """Apply the function to every image [h, w, C]. Return the results one after another as rows [P', width]."""
    results, start = [np.empty((0, width), np.float32)], 0
    for h, w in grids.tolist():
        results.append(function(x[start : start + h * w].reshape(h, w, -1)).reshape(-1, width))
        start += h * w
    return np.concatenate(results)


class ImageOps:
    """The ops conv2d, upsample, downsample and group_norm_silu of `ReferenceOps`. `Ops` documents them."""

    def pack_conv(self, weight: NDArray[Any], bias: NDArray[Any] | None) -> ReferenceConv:
        op = "pack_conv"
        if weight.ndim != 4 or weight.shape[2:] not in ((1, 1), (3, 3)) or 0 in weight.shape:
            refuse(op, "weight", describe(weight), "[O, I, 1, 1] or [O, I, 3, 3], not empty")
        if bias is not None and bias.shape != (weight.shape[0],):
            refuse(op, "bias", describe(bias), f"[{weight.shape[0]}]")
        shift = np.zeros(weight.shape[0], np.float32) if bias is None else widen(bias, "pack_conv: bias")
        return ReferenceConv(np.ascontiguousarray(widen(weight, "pack_conv: weight").transpose(2, 3, 1, 0)), shift)

    @np.errstate(all="ignore")
    def conv2d(
        self,
        x: Float32,
        weight: ReferenceConv,
        grids: Int32,
        *,
        residual: Float32 | None = None,
        dtype: DtypeName = "compute",
        wrap: bool = False,
    ) -> Float32:
        op = "conv2d"
        self._want_conv(op, x, weight, grids)
        want_dtype_name(op, dtype)
        outputs, pad = weight.weight.shape[3], weight.weight.shape[0] // 2
        if residual is not None:
            want_array(op, "residual", residual, len(x), outputs)
        y = _each_image(x, grids, outputs, lambda image: _convolve(image, weight, 1, pad, pad, wrap))
        return y if residual is None else y + residual

    @np.errstate(all="ignore")
    def upsample(self, x: Float32, weight: ReferenceConv, grids: Int32, *, wrap: bool = False) -> Float32:
        self._want_conv("upsample", x, weight, grids, only_3x3=True)

        def double(image: Float32) -> Float32:
            return _convolve(image.repeat(2, axis=0).repeat(2, axis=1), weight, 1, 1, 1, wrap)

        return _each_image(x, grids, weight.weight.shape[3], double)

    @np.errstate(all="ignore")
    def downsample(self, x: Float32, weight: ReferenceConv, grids: Int32, *, symmetric: bool = False) -> Float32:
        self._want_conv("downsample", x, weight, grids, only_3x3=True, smallest=2)
        before = int(symmetric)
        return _each_image(x, grids, weight.weight.shape[3], lambda image: _convolve(image, weight, 2, before, 1))

    @np.errstate(all="ignore")
    def group_norm_silu(
        self,
        x: Float32,
        weight: Float32,
        bias: Float32,
        grids: Int32,
        groups: int,
        *,
        eps: float = 1e-6,
        silu: bool = True,
    ) -> Float32:
        op = "group_norm_silu"
        want_array(op, "x", x)
        channels = x.shape[1]
        want_array(op, "weight", weight, 1, channels)
        want_array(op, "bias", bias, 1, channels)
        want_grids(op, grids, len(x))
        want_eps(op, eps)
        if groups < 1 or channels % groups:
            refuse(op, "groups", groups, f"a divisor of {channels} channels")

        def one(image: Float32) -> Float32:
            v = image.reshape(-1, groups, channels // groups).astype(np.float64)
            v = v - v.mean(axis=(0, 2), keepdims=True)
            v = v / np.sqrt((v * v).mean(axis=(0, 2), keepdims=True) + eps)
            y = (v.reshape(-1, channels) * weight + bias).astype(np.float32)
            return activate(y, "silu") if silu else y

        return _each_image(x, grids, channels, one)

    @staticmethod
    def _want_conv(
        op: str, x: Float32, weight: ReferenceConv, grids: Int32, *, only_3x3: bool = False, smallest: int = 1
    ) -> None:
        if not isinstance(weight, ReferenceConv):
            refuse(op, "weight", type(weight).__name__, "the result of pack_conv")
        if only_3x3 and weight.weight.shape[0] != 3:
            refuse(op, "weight", f"{weight.weight.shape[0]}x{weight.weight.shape[1]}", "3x3")
        want_array(op, "x", x, width=weight.weight.shape[2])
        want_grids(op, grids, len(x), smallest)
