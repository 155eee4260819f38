"""Estimates of activation memory, made before anything is allocated. Bounds, not measurements."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class MemoryCoefficients(msgspec.Struct, frozen=True, kw_only=True):
    """Activation bytes of a model on a backend, by what there is of each thing.

    Attributes:
        row: of a step, for every row.
        image_row: of a step, for every image row besides.
        sample: of a step, for every sample.
        pixel: of decoding, for every pixel.
    """

    row: int
    image_row: int
    sample: int
    pixel: int

    def step(self, *, text_rows: int, image_rows: int, samples: int) -> int:
        """Return the activation bytes of one model evaluation of so many rows and samples, all together."""
        return (text_rows + image_rows) * self.row + image_rows * self.image_row + samples * self.sample

    def decode(self, pixels: int) -> int:
        """Return the activation bytes of decoding so many pixels."""
        return pixels * self.pixel


def flux_coefficients(
    *, width: int, channels: int, modulations: int, coder_channels: Sequence[int], itemsize: int
) -> MemoryCoefficients:
    """Return the coefficients of a Flux transformer and its autoencoder.

    Args:
        width: D of the transformer.
        channels: C of the latents.
        modulations: columns of all adaLN projections together, float32 [S, modulations].
        coder_channels: widths of the autoencoder, finest first. The finest level dominates: the upsampled input, which
            still has the next level's width, and four arrays of its own.
        itemsize: bytes of the compute dtype.
    """
    residual = 4 * width  # float32
    block = itemsize * width * 14  # modulated input, qkv, plain q, attention and adapter outputs, feed-forward hidden
    coarser = coder_channels[1] if len(coder_channels) > 1 else coder_channels[0]
    return MemoryCoefficients(
        row=residual + block,
        image_row=channels * 4 * 4,
        sample=modulations * 4,
        pixel=itemsize * (coarser + 4 * coder_channels[0]) + 3 * 4 * 2,
    )
