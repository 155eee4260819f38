"""Sampling: steps of the flow with classifier-free guidance, then the decoder."""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .network import Velocity, fold_empty, pack, unpack
from .precision import autocast
from .torch_tools import from_float


@dataclass(frozen=True)
class Reference:
    """Adapter tokens of a style reference [B, K, D], the null reference's [1, K, D], and the adapter's weight."""

    tokens: Tensor
    null: Tensor
    weight: float = 1.0


@dataclass(frozen=True)
class Start:
    """Packed latents [B, L, 4C] to begin with, and the sigma of the noise added to them (SDEdit, 2108.01073)."""

    latents: Tensor
    strength: float = 0.4


@dataclass(frozen=True)
class Sampler:
    """How a picture is sampled: solver steps ("heun" evaluates twice in all but the last), guidance, sigma shift."""

    steps: int = 20
    guidance: float = 3.0
    shift: float = 1.0
    solver: str = "euler"

    def sigmas(self) -> list[float]:
        """Return noise levels from 1 to 0, steps + 1 of them; a shift above 1 spends more steps where noise is
        strong."""
        s = np.linspace(1, 0, self.steps + 1)
        return [float(v) for v in self.shift * s / (1 + (self.shift - 1) * s)]

    def evaluations(self) -> int:
        """Number of evaluations of the model, guidance's second branch not counted."""
        return self.steps if self.solver == "euler" else 2 * self.steps - 1


def needed_room(tokens: Tensor) -> int:
    """Count the text rows of [B, R, E] that must be left when the empty ones are folded: the filled ones and one
    more."""
    return min(tokens.shape[1], 1 + int((tokens.abs().amax(-1) > 0).sum(1).max()))


@torch.no_grad()
def sample(
    net: Velocity,
    tokens: Tensor,
    pooled: Tensor,
    *,
    sampler: Sampler,
    size: tuple[int, int] = (128, 128),
    seed: int = 0,
    reference: Reference | None = None,
    room: int = 0,
    forward: Callable[..., Tensor] | None = None,
    start: Start | None = None,
) -> Tensor:
    """Draw packed latents [B, L, 4C] for text rows [B, R, 384] and pooled [B, 384].

    The unconditional branch has zero text and, with a reference, the null reference, so guidance amplifies both. A
    reference of weight 0 is no reference at all. `room` is how many text rows are left of the R (see `fold_empty`; 0:
    as few as these rows allow); `forward` computes what `net` does, compiled. With a `start`, noise is added to those
    latents and all steps are spent on taking it away again.
    """
    device, b = tokens.device, len(tokens)
    h, w = size[0] // 8, size[1] // 8
    channels = net.model.config.in_channels
    noise = torch.Generator().manual_seed(seed)
    x = torch.randn(b, h // 2 * (w // 2), channels, generator=noise).to(device)
    room = room or needed_room(tokens)
    both_tokens, bias = fold_empty(torch.cat([tokens, torch.zeros_like(tokens)]), room)
    both_pooled = torch.cat([pooled, torch.zeros_like(pooled)])
    ip_tokens = ip_weight = None
    if reference is not None and reference.weight:
        ip_tokens = torch.cat([reference.tokens, reference.null.expand_as(reference.tokens)])
        ip_weight = torch.full((2 * b,), reference.weight, device=device)
    rotary, sigmas, forward = net.rotary(h, w), sampler.sigmas(), net if forward is None else forward
    if start is not None:
        x = (1 - start.strength) * start.latents + start.strength * x
        sigmas = [start.strength * sigma for sigma in sigmas]

    def velocity(at: Tensor, sigma: float) -> Tensor:
        t = torch.full((2 * b,), sigma, device=device)
        with autocast(device):
            v = forward(torch.cat([at, at]), both_tokens, both_pooled, t, rotary, ip_tokens, ip_weight, bias).float()
        conditional, unconditional = v.chunk(2)
        return unconditional + sampler.guidance * (conditional - unconditional)

    for now, then in zip(sigmas[:-1], sigmas[1:], strict=True):
        v = velocity(x, now)
        if sampler.solver == "heun" and then > 0:  # the model was never asked about sigma 0
            v = (v + velocity(x + (then - now) * v, then)) / 2
        x = x + (then - now) * v
    return x


@torch.no_grad()
def encode(
    autoencoder: AutoencoderKL, pictures: np.ndarray, device: torch.device, shift: float, scale: float
) -> Tensor:
    """Turn pictures [B, H, W, 3] in 0..1 into packed latents [B, L, 4C]: `decode` the other way."""
    out = []
    for part in np.array_split(pictures, max(1, len(pictures) // 8)):
        with autocast(device):
            out.append(autoencoder.encoder(from_float(part).to(device)).float().chunk(2, 1)[0])
    return pack((torch.cat(out) - shift) * scale)


@torch.no_grad()
def decode(autoencoder: AutoencoderKL, x: Tensor, *, size: tuple[int, int], shift: float, scale: float) -> np.ndarray:
    """Turn packed latents into pictures [B, H, W, 3] in 0..1."""
    out = []
    for part in unpack(x, size[0] // 8, size[1] // 8).split(16):
        with autocast(x.device):
            y = autoencoder.decoder((part / scale + shift).contiguous(memory_format=torch.channels_last)).float()
        out.append(((y.clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(out)
