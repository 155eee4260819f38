"""Muon for the blocks' matrices, AdamW for everything else.

Muon takes the momentum's nearest orthogonal matrix as the step (Newton-Schulz iterations), so that every direction of
a matrix learns alike. On a toy of this task (128 wide, 400 steps of 64, held-out loss, each at its best rate of those
tried) it ended at .552 and AdamW at .628, a loss that it reached before step 300. Its products cost a fifth of a step
of 64 samples; training processes share them.
Source: K. Jordan, Muon (2024); scaling to AdamW's step size after Moonlight (2502.16982); the iterations' coefficients
from Polar Express (2505.16932).
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return,no-untyped-call"
# (torch is untyped to the checker: its classes and decorators are Any)

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .half import gains, multiply, product
from .parallel import rank, world

POLYNOMIALS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
)


def orthogonal(x: Tensor) -> Tensor:
    """Return about the nearest matrix to `x` whose singular values are all 1 (they come out between .4 and 1.6)."""
    if x.shape[0] > x.shape[1]:
        return orthogonal(x.T).T
    x = x / (x.norm() * 1.01 + 1e-9)
    return _of_wide(x) if x.shape[1] >= 2 * x.shape[0] else _of_square(x)


def orthogonal_together(x: Tensor) -> Tensor:
    """Do as `orthogonal`, of matrices [N, R, C] of one shape, in bfloat16, which the coefficients allow for."""
    if x.shape[1] > x.shape[2]:
        return orthogonal_together(x.mT).mT
    x = (x / (x.norm(dim=(1, 2), keepdim=True) * 1.01 + 1e-9)).bfloat16()
    for a, b, c in POLYNOMIALS:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.float()


def _of_square(x: Tensor) -> Tensor:
    mine = x.half() if gains(x, x.T) else x
    for a, b, c in POLYNOMIALS:
        gram = product(mine, mine.T)
        step = (gram * b).add_(product(gram, gram), alpha=c)
        step.diagonal().add_(a)
        mine = product(step, mine)
    return mine.float()


def _of_wide(x: Tensor) -> Tensor:
    """Iterate only the small Gram matrix; the product of the polynomials is applied once, at the end.

    In float32: an eigenvalue that rounding makes negative grows without bound, which needs no more than float16's.
    """
    gram, total = x @ x.T, torch.eye(len(x), device=x.device)
    for i, (a, b, c) in enumerate(POLYNOMIALS):
        step = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        step.diagonal().add_(a)
        total = step if i == 0 else step @ total
        if i < len(POLYNOMIALS) - 1:
            gram = step @ (step @ gram)
    return multiply(total, x)


class Muon(torch.optim.Optimizer):
    """`rate` is on AdamW's scale. Gradients must be the same in every process (see `average_gradients`)."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.01):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            mine = [p for p in group["params"] if p.grad is not None]
            if mine and mine[0].device.type == "cuda" and world() == 1:
                self._step_together(mine, group)
                continue
            steps = [self._step_of(p, group["momentum"], i % world() == rank()) for i, p in enumerate(mine)]
            if world() > 1:
                flat = torch.cat([s.reshape(-1) for s in steps])
                dist.all_reduce(flat)
                parts = flat.split([s.numel() for s in steps])
                steps = [part.view_as(s) for part, s in zip(parts, steps, strict=True)]
            for p, s in zip(mine, steps, strict=True):
                p.mul_(1 - group["lr"] * group["decay"]).add_(s, alpha=-group["lr"])

    def _step_together(self, mine: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Make the same step for all matrices at once: a GPU would spend its time on starting thousands of small
        kernels."""
        means = [self.state[p].setdefault("mean", torch.zeros_like(p)) for p in mine]
        grads: list[Tensor] = [p.grad for p in mine if p.grad is not None]
        torch._foreach_lerp_(means, grads, 1 - group["momentum"])
        updates = torch._foreach_lerp(grads, means, group["momentum"])
        torch._foreach_mul_(mine, 1 - group["lr"] * group["decay"])
        for shape in {p.shape for p in mine}:
            at = [i for i, p in enumerate(mine) if p.shape == shape]
            steps = orthogonal_together(torch.stack([updates[i] for i in at])) * (0.2 * max(shape) ** 0.5)
            torch._foreach_add_([mine[i] for i in at], list(steps.unbind()), alpha=-group["lr"])

    def _step_of(self, p: nn.Parameter, momentum: float, here: bool) -> Tensor:
        """Make the step of one matrix, RMS .2 like a typical step of AdamW; zeros if another process makes it."""
        mean = self.state[p].setdefault("mean", torch.zeros_like(p))
        mean.lerp_(p.grad, 1 - momentum)
        if not here:
            return torch.zeros_like(p)
        return orthogonal(p.grad.lerp(mean, momentum)) * (0.2 * max(p.shape) ** 0.5)


class Mixed:
    """Muon for the matrices inside the blocks, AdamW for modulations, embeddings, the last projection and all vectors.

    With `muon_rate` 0 AdamW takes everything.
    """

    def __init__(self, model: nn.Module, rate: float, muon_rate: float) -> None:
        named = list(model.named_parameters())
        inner = [p for n, p in named if muon_rate and p.ndim == 2 and "blocks." in n and "norm" not in n]
        taken = {id(p) for p in inner}
        rest = [p for _, p in named if id(p) not in taken]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        ]
        self.rates = [rate]
        if inner:
            self.parts.append(Muon(inner, muon_rate))
            self.rates.append(muon_rate)

    def step(self, factor: float) -> None:
        """Take one step at `factor` of the rates; gradients are cleared."""
        for part, rate in zip(self.parts, self.rates, strict=True):
            for group in part.param_groups:
                group["lr"] = rate * factor
            part.step()
            part.zero_grad()

    def clear(self) -> None:
        for part in self.parts:
            part.zero_grad()

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        for part, own in zip(self.parts, state, strict=True):
            part.load_state_dict(own)
