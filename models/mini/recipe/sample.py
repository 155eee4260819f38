"""Sampling: Euler steps of the flow with classifier-free guidance, then the decoder."""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .network import Velocity, unpack
from .precision import autocast


@dataclass(frozen=True)
class Reference:
    """Adapter tokens of a style reference [B, K, D], the null reference's [1, K, D], and the adapter's weight."""

    tokens: Tensor
    null: Tensor
    weight: float = 1.0


@torch.no_grad()
def sample(
    net: Velocity,
    tokens: Tensor,
    pooled: Tensor,
    *,
    size: tuple[int, int] = (128, 128),
    steps: int = 20,
    guidance: float = 3.0,
    seed: int = 0,
    reference: Reference | None = None,
) -> Tensor:
    """Packed latents [B, L, 4C] for text rows [B, R, 384] and pooled [B, 384].

    The unconditional branch has zero text and, with a reference, the null reference, so guidance amplifies both.
    """
    device, b = tokens.device, len(tokens)
    h, w = size[0] // 8, size[1] // 8
    channels = net.model.config.in_channels
    noise = torch.Generator().manual_seed(seed)
    x = torch.randn(b, h // 2 * (w // 2), channels, generator=noise).to(device)
    both_tokens = torch.cat([tokens, torch.zeros_like(tokens)])
    both_pooled = torch.cat([pooled, torch.zeros_like(pooled)])
    ip_tokens = ip_weight = None
    if reference is not None:
        ip_tokens = torch.cat([reference.tokens, reference.null.expand_as(reference.tokens)])
        ip_weight = torch.full((2 * b,), reference.weight, device=device)
    rotary, sigmas = net.rotary(h, w), np.linspace(1, 0, steps + 1)
    for now, then in zip(sigmas[:-1], sigmas[1:], strict=True):
        t = torch.full((2 * b,), float(now), device=device)
        with autocast(device):
            v = net(torch.cat([x, x]), both_tokens, both_pooled, t, rotary, ip_tokens, ip_weight).float()
        conditional, unconditional = v.chunk(2)
        x = x + float(then - now) * (unconditional + guidance * (conditional - unconditional))
    return x


@torch.no_grad()
def decode(autoencoder: AutoencoderKL, x: Tensor, *, size: tuple[int, int], shift: float, scale: float) -> np.ndarray:
    """Packed latents to pictures [B, H, W, 3] in 0..1."""
    out = []
    for part in unpack(x, size[0] // 8, size[1] // 8).split(16):
        with autocast(x.device):
            y = autoencoder.decoder((part / scale + shift).contiguous(memory_format=torch.channels_last)).float()
        out.append(((y.clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(out)
