"""What every trainer shares: device set-up, learning-rate schedule, averaged weights, resumable state."""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import io
import pickle
from collections.abc import Iterable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .config import Run
from .errors import CacheError
from .store import atomic, digest


def set_up(run: Run, seed: int) -> torch.device:
    """Threads, seed and device of a stage."""
    torch.set_num_threads(run.threads)
    torch.manual_seed(seed)
    if run.device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    return torch.device(run.device)


def bf16(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast to bf16; the weights stay float32 (weights in pure bf16 did not learn)."""
    return torch.autocast(device.type, torch.bfloat16)


def schedule(done: int, budget: int, step: int, *, warmup: int, decay_from: float, floor: float = 0.02) -> float:
    """Factor of the learning rate: linear warm-up in steps, flat, then linear to `floor` at the end of the budget."""
    share = done / max(budget, 1)
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
        """The averaged weights in place of the live ones."""
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


def save_state(path: Path, config: Any, **state: Any) -> None:
    """A resumable state (tensors, optimiser, random generators), written atomically with its configuration's digest."""
    buffer = io.BytesIO()
    torch.save({"config": digest(config), **state}, buffer)
    with atomic(path) as f:
        f.write(buffer.getbuffer())


def load_state(path: Path, config: Any) -> dict[str, Any] | None:
    """The state to resume from, or None when there is none.

    Raises CacheError when it is damaged or belongs to another configuration.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as e:
        raise CacheError(f"{path} is damaged ({e}): delete it to start this stage anew") from e
    if state["config"] != digest(config):
        raise CacheError(f"{path} belongs to another configuration: delete it to start anew, or undo the change")
    return state


def generator_state(rng: np.random.Generator) -> str:
    return repr(rng.bit_generator.state)


def restore_generator(rng: np.random.Generator, state: str) -> None:
    import ast

    rng.bit_generator.state = ast.literal_eval(state)


def to_uint8(x: torch.Tensor) -> np.ndarray:
    """[B, 3, H, W] in -1..1 to [B, H, W, 3] uint8."""
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def from_float(pictures: np.ndarray) -> torch.Tensor:
    """[B, H, W, 3] in 0..1 to [B, 3, H, W] in -1..1, channels last in memory."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2) * 2 - 1
    return x.contiguous(memory_format=torch.channels_last)
