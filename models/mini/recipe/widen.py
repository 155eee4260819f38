"""More latent channels for an autoencoder that has learned, and for the transformer that draws in its latents.

The channels that there were stay what they are; the new ones add what those had no room for. So neither is begun anew:
at the start the autoencoder rebuilds and the transformer draws as before.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import Tensor

from .errors import CacheError


@torch.no_grad()
def widen_autoencoder(old: AutoencoderKL, latents: int) -> AutoencoderKL:
    """Widen `old` to `latents` channels: the first are its own, the decoder does not listen to the others yet.

    Raises CacheError when it has more."""
    had = int(old.config.latent_channels)
    if had > latents:
        raise CacheError(
            f"the autoencoder to start from has {had} latent channels, {latents} are wanted: none is left out"
        )
    new = AutoencoderKL.from_config({**old.config, "latent_channels": latents})
    state, source = new.state_dict(), old.state_dict()
    for name, value in source.items():
        if state[name].shape == value.shape:
            state[name].copy_(value)
    for part in ("weight", "bias"):  # rows: the means of all channels, then their log-variances
        rows, own = source[f"encoder.conv_out.{part}"], state[f"encoder.conv_out.{part}"]
        own[:had], own[latents : latents + had] = rows[:had], rows[had:]
    state["encoder.conv_out.bias"][had:latents] = 0
    state["encoder.conv_out.weight"][latents + had :] *= 0.1
    state["encoder.conv_out.bias"][latents + had :] = -5  # small posterior variance at the start
    state["decoder.conv_in.weight"][:, :had] = source["decoder.conv_in.weight"]
    state["decoder.conv_in.weight"][:, had:] = 0
    return new


@torch.no_grad()
def even_out(model: AutoencoderKL, had: int, deviation: Tensor) -> None:
    """Give the channels from `had` on the mean deviation of those before, exactly undone in the decoder.

    `deviation` [C]: that of every channel's posterior means. Noise is added to all channels alike, so what varies less
    would be drowned first."""
    total = len(deviation)
    for channel in range(had, total):
        factor = float(deviation[:had].pow(2).mean().sqrt() / deviation[channel].clamp(min=1e-3))
        model.encoder.conv_out.weight[channel] *= factor
        model.encoder.conv_out.bias[channel] *= factor
        model.encoder.conv_out.bias[total + channel] += 2 * torch.tensor(factor).log()
        model.decoder.conv_in.weight[:, channel] /= factor


@torch.no_grad()
def widened_rows(old: dict[str, Tensor], model: FluxTransformer2DModel) -> dict[str, Tensor]:
    """Widen the first and last projection of a transformer of fewer latent channels, for `model`.

    It does not see the new channels yet, and holds them for zero.
    """
    out = {}
    for name, axis in (("x_embedder.weight", 1), ("proj_out.weight", 0), ("proj_out.bias", 0)):
        value = torch.zeros_like(model.state_dict()[name], device="cpu")
        value.narrow(axis, 0, old[name].shape[axis]).copy_(old[name])
        out[name] = value
    return out
