"""Estimate activation memory before anything is allocated. The numbers are upper bounds, not measurements."""

from __future__ import annotations

import msgspec


class MemoryCoefficients(msgspec.Struct, frozen=True, kw_only=True):
    """Activation bytes of a model on a backend, for one of each thing.

    Attributes:
        row: bytes of a step for every row.
        image_row: further bytes of a step for every image row.
        sample: bytes of a step for every sample.
        pixel: bytes of decoding for every pixel.
    """

    row: int
    image_row: int
    sample: int
    pixel: int

    def step(self, *, text_rows: int, image_rows: int, samples: int) -> int:
        """Return the activation bytes of one model evaluation of so many rows and samples."""
        return (text_rows + image_rows) * self.row + image_rows * self.image_row + samples * self.sample

    def decode(self, pixels: int) -> int:
        """Return the activation bytes of decoding so many pixels."""
        return pixels * self.pixel
