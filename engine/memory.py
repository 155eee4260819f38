"""Estimates of activation memory, made before anything is allocated. Bounds, not measurements."""

from __future__ import annotations

from collections.abc import Sequence


def step_bytes(
    *,
    text_rows: int,
    image_rows: int,
    samples: int,
    width: int,
    channels: int,
    modulations: int,
    itemsize: int,
) -> int:
    """Activation bytes of one model evaluation.

    Args:
        text_rows, image_rows: rows of all samples together.
        samples: S.
        width: D of the transformer.
        channels: C of the latents.
        modulations: columns of all adaLN projections together, float32 [S, modulations].
        itemsize: bytes of the compute dtype.
    """
    rows = text_rows + image_rows
    residual = 4 * width  # float32, one row
    block = itemsize * width * 14  # modulated input, qkv, plain q, attention and adapter outputs, feed-forward hidden
    return rows * (residual + block) + samples * modulations * 4 + image_rows * channels * 4 * 4


def decode_bytes(*, pixels: int, channels: Sequence[int], itemsize: int) -> int:
    """Activation bytes of decoding `pixels` pixels by an autoencoder of widths `channels` (finest first).

    The finest level dominates: the upsampled input, which still has the next level's width, and four arrays of its own.
    """
    coarser = channels[1] if len(channels) > 1 else channels[0]
    return pixels * (itemsize * (coarser + 4 * channels[0]) + 3 * 4 * 2)
