"""Estimates of activation memory, made before anything is allocated. Bounds, not measurements."""

from __future__ import annotations

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
