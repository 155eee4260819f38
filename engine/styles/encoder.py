"""Encode a picture's latents as a style vector.

The encoder is three convolutions, then mean and deviation of the latents and of each layer over the whole picture, then
a network of two layers. The means lose where things are before the vector is made. The recipe that trained the encoder
has the same in torch (`models/mini/recipe/style.py`), and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.bfloat16 import widen
from ...kernels.elementary import exp
from ...kernels.ops import Ops
from ...kernels.segments import Int32
from ..errors import MalformedFile, WrongShape
from ..safetensors_file import SafetensorsFile

Float32 = NDArray[np.float32]

VARIANCE: Final = 1e-4  # added to a layer's variance before the root
SQUARE: Final = 1e-6  # added to the vector's mean square before the root
PREFIX: Final = "encoder."


@dataclass(frozen=True, eq=False)
class StyleEncoder:
    """The packed weights of the encoder.

    Attributes:
        convolutions: three, 3 x 3; the third takes every second row and column.
        layers: two linears, with SiLU between.
        channels: columns of the latents.
        width: W, the length of the vectors.
    """

    convolutions: Sequence[Any]
    layers: Sequence[Any]
    channels: int
    width: int

    def vector(self, ops: Ops[Any, Any], latents: Float32) -> Float32:
        """Return the style vector float32 [W], of unit mean square, of latents float32 [height, width, channels].

        The latents are shifted and scaled, as a diffusion model sees them. Both sides are at least 2.
        """
        height, width, channels = latents.shape
        grid: Int32 = np.array([[height, width]], np.int32)
        rows = latents.reshape(height * width, channels)
        seen = [rows]
        for convolution in self.convolutions:
            rows = _silu(ops.numpy(ops.conv2d(ops.array(rows), convolution, grid, dtype="float32")))
            seen.append(rows)
        last = seen[-1].reshape(height, width, -1)[::2, ::2]
        seen[-1] = last.reshape(-1, last.shape[2])
        features = np.concatenate([part for rows in seen for part in _moments(rows)])
        hidden = ops.numpy(ops.linear(ops.array(features[None]), self.layers[0], dtype="float32"))
        out = ops.numpy(ops.linear(ops.array(_silu(hidden)), self.layers[1], dtype="float32"))
        return unit(out[0].astype(np.float64))


def load_style_encoder(ops: Ops[Any, Any], file: SafetensorsFile) -> StyleEncoder:
    """Pack the encoder of a file of styles.

    Raises:
        CheckpointError: a weight is missing, is not finite, or does not fit the shapes of the others.
    """

    def take(name: str, *shape: int | None) -> NDArray[np.float32]:
        key = PREFIX + name
        values = widen(file.array(key), key)
        sides = zip(values.shape, shape, strict=False)
        if values.ndim != len(shape) or not all(want in (None, have) for have, want in sides):
            expected = str([side if side is not None else "any" for side in shape]).replace("'", "")
            raise WrongShape("style encoder", path=file.path, key=key, expected=expected, found=str(list(values.shape)))
        if not np.isfinite(values).all():
            raise MalformedFile("style encoder", path=file.path, key=key, expected="finite numbers", found="others")
        return values

    convolutions, inputs, seen = [], None, 0
    channels = 0
    for name in ("first", "second", "third"):
        weight = take(f"{name}.0.weight", None, inputs, 3, 3)
        convolutions.append(ops.pack_conv(weight, take(f"{name}.0.bias", len(weight))))
        if inputs is None:
            channels = seen = weight.shape[1]
        inputs = len(weight)
        seen += inputs
    first = take("out.0.weight", None, 2 * seen)
    second = take("out.2.weight", None, len(first))
    layers = [
        ops.pack_linear([weight], [take(f"{name}.bias", len(weight))], exact=True)
        for name, weight in (("out.0", first), ("out.2", second))
    ]
    return StyleEncoder(convolutions, layers, channels, len(second))


def unit(vector: NDArray[np.float64]) -> Float32:
    """Return a vector float64 [W] scaled to unit mean square, as float32.

    The sum is taken in order, so the bits are the same on every machine.
    """
    square = 0.0
    for value in vector.tolist():
        square += value * value
    scaled: Float32 = (vector / np.sqrt(square / len(vector) + SQUARE)).astype(np.float32)
    return scaled


def _silu(x: NDArray[np.float32]) -> Float32:
    wide = x.astype(np.float64)
    return (wide / (1.0 + exp(-wide))).astype(np.float32)


def _moments(rows: Float32) -> tuple[Float32, Float32]:
    """Return mean and deviation [C] of the columns of [P, C], by sums down the rows one by one, in float64."""
    wide = rows.astype(np.float64)
    mean = np.add.reduce(wide, axis=0) / len(wide)
    variance = np.add.reduce((wide - mean) ** 2, axis=0) / len(wide)
    return mean.astype(np.float32), np.sqrt(variance + VARIANCE).astype(np.float32)
