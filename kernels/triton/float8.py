"""Keep the weights of linear layers in float8 (e4m3), and refuse it to layers that lose too much by it.

A weight has a scale for each of its rows, and a product's input one for each token, found anew at every call: a scale
for a whole tensor would make a row's bits depend on the other rows of the call.

The quality gate: a layer is tried on fixed random tokens, of which every 64th number is twenty times as large, as it is
in transformers. If the root mean square of what the results are off by is more than `GATE` of that of the results, the
layer stays in the compute dtype. Layers with a side below `LEAST` stay so, too: what they would save is nothing.
"""

from __future__ import annotations

from typing import Final

import torch

GATE: Final = 0.05  # rounding both sides to e4m3 makes 0.036 of normal numbers
LEAST: Final = 256  # rows and columns of a weight that is worth it
LARGEST: Final = 448.0  # what e4m3 holds
TOKENS: Final = 64  # that a layer is tried on
CHUNK: Final = 4096  # rows of a weight that are rounded at a time


class Float8:
    """Rounds weights, and counts those for which it did.

    Args:
        gate, least: the bounds.

    Attributes:
        layers: how many were tried.
        kept: how many are in float8.
        worst: the largest error among these, as a share.
    """

    def __init__(self, *, gate: float = GATE, least: int = LEAST) -> None:
        self.gate, self.least = gate, least
        self.layers = self.kept = 0
        self.worst = 0.0

    def __str__(self) -> str:
        return (
            f"float8: {self.kept} of {self.layers} layers, whose products are off by {self.worst:.1%} at most "
            f"(allowed {self.gate:.0%}); the others stay as they were"
        )

    def rounded(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return a weight [N, K] in float8 with its scales, float32 [N]; None: it has to stay as it is."""
        self.layers += 1
        count, width = weight.shape
        if min(count, width) < self.least or weight.device.type == "meta":
            return None
        step = -(-width // 16) * 16  # rows start at multiples of 16 bytes
        made = torch.zeros((count, step), dtype=torch.uint8, device=weight.device).view(torch.float8_e4m3fn)[:, :width]
        scales = torch.empty(count, dtype=torch.float32, device=weight.device)
        tokens = _tokens(width).to(weight.device)
        small = _by_row(tokens)
        off = total = 0.0
        for start in range(0, count, CHUNK):
            rows = slice(start, start + CHUNK)
            exact = weight[rows].float()
            scale = _scale(exact)
            made[rows] = (exact / scale[:, None]).to(torch.float8_e4m3fn)
            scales[rows] = scale
            want = tokens @ exact.T
            got = small @ (made[rows].float() * scale[:, None]).T
            off += float((got - want).double().square().sum())
            total += float(want.double().square().sum())
        error = (off / total) ** 0.5 if total else 0.0
        if not error <= self.gate:  # NaN is not
            return None
        self.kept += 1
        self.worst = max(self.worst, error)
        return made, scales


def _tokens(width: int) -> torch.Tensor:
    """Return the tokens on which layers are tried: float32 [TOKENS, width]."""
    made = torch.randn(TOKENS, width, generator=torch.Generator().manual_seed(8))
    made[:, ::64] *= 20
    return made


def _scale(x: torch.Tensor) -> torch.Tensor:
    """Return the scale of each row, float32 [T], by which its largest number is LARGEST."""
    largest = x.abs().amax(1)
    return torch.where(largest == 0, torch.ones_like(largest), largest / LARGEST)


def _by_row(x: torch.Tensor) -> torch.Tensor:
    """Return rows as float8 with a scale for each holds them, in float32."""
    scale = _scale(x)[:, None]
    return (x / scale).to(torch.float8_e4m3fn).float() * scale
