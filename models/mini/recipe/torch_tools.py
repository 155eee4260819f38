"""What every trainer shares: device set-up, learning-rate schedule, averaged weights."""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

from collections.abc import Iterable
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from ....bench.machine import describe
from .config import Run


def set_up(run: Run, seed: int) -> torch.device:
    """Set threads, seed and device of a stage."""
    torch.set_num_threads(run.threads)
    torch.manual_seed(seed)
    if run.device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    return torch.device(run.device)


def machine_of(device: torch.device) -> str:
    """Name what a stage ran on, for the model card: the GPU, or the CPU and its cores."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    facts = describe()
    return f"{facts['cpu']}, {facts['cores']} cores"


def bf16(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast to bf16; the weights stay float32 (weights in pure bf16 did not learn)."""
    return torch.autocast(device.type, torch.bfloat16)


def schedule(share: float, step: int, *, warmup: int, decay_from: float, floor: float = 0.02) -> float:
    """Return the factor of the learning rate, of a budget of which `share` is done.

    It has a linear warm-up in steps, is flat, then falls linearly to `floor` at the end of the budget.
    """
    fall = 1.0 if share < decay_from else max(floor, 1 - (share - decay_from) / max(1 - decay_from, 1e-9))
    return min(1.0, (step + 1) / max(warmup, 1)) * fall


class Average:
    """An exponential moving average of parameters, with a warm-up so that it does not remember the start."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self.live, self.decay, self.updates = list(parameters), decay, 0
        self.mean = [p.detach().clone() for p in self.live]

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        keep = min(self.decay, self.updates / (self.updates + 10))
        torch._foreach_lerp_(self.mean, [p.detach() for p in self.live], 1 - keep)

    @contextmanager
    def applied(self) -> Any:
        """Put the averaged weights in place of the live ones."""
        backup = [p.detach().clone() for p in self.live]
        with torch.no_grad():
            for p, m in zip(self.live, self.mean, strict=True):
                p.copy_(m)
        try:
            yield
        finally:
            with torch.no_grad():
                for p, b in zip(self.live, backup, strict=True):
                    p.copy_(b)


def to_uint8(x: torch.Tensor) -> np.ndarray:
    """Turn [B, 3, H, W] in -1..1 into [B, H, W, 3] uint8."""
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def from_bytes(pictures: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Turn [B, H, W, 3] uint8 into [B, 3, H, W] in -1..1 on `device`, channels last in memory."""
    x = torch.as_tensor(pictures).to(device).permute(0, 3, 1, 2)
    return (x.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def from_float(pictures: np.ndarray) -> torch.Tensor:
    """Turn [B, H, W, 3] in 0..1 into [B, 3, H, W] in -1..1, channels last in memory."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2) * 2 - 1
    return x.contiguous(memory_format=torch.channels_last)
