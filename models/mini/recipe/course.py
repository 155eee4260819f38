"""How far a training has come, and all that it needs to go on: one file, written anew in one piece."""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import ast
import io
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import CacheError
from .parallel import rank
from .store import atomic, digest
from .torch_tools import Average


def save_state(path: Path, config: Any, **state: Any) -> None:
    """Save a resumable state (tensors, optimiser, random generators), atomically and with its configuration's
    digest."""
    buffer = io.BytesIO()
    torch.save({"config": digest(config), **state}, buffer)
    with atomic(path) as f:
        f.write(buffer.getbuffer())


def load_state(path: Path, config: Any) -> dict[str, Any] | None:
    """Return the state to resume from, or None when there is none.

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


class Losses:
    """The losses of the last steps. A GPU's are fetched now and then, so that it never waits for the next step."""

    EVERY, MEMORY = 20, 200

    def __init__(self) -> None:
        self.values: list[list[float]] = []
        self._waiting: list[Tensor] = []

    def add(self, *losses: Tensor) -> None:
        """Add one step's losses. Raises FloatingPointError as `fetch`."""
        self._waiting.append(torch.stack([x.detach() for x in losses]))
        if losses[0].device.type == "cpu" or len(self._waiting) >= self.EVERY:
            self.fetch()

    def fetch(self) -> None:
        """Fetch the losses. Raises FloatingPointError when they are not finite: the training has diverged."""
        new = torch.stack(self._waiting).tolist() if self._waiting else []
        self.values, self._waiting = (self.values + new)[-self.MEMORY :], []
        if not np.isfinite(new).all():
            raise FloatingPointError(f"a loss is {new[-1]}: the training has diverged, lower the rate")

    def mean(self, steps: int = MEMORY) -> list[float]:
        """Return the mean of each loss over the last so many steps that have been fetched; empty before the first."""
        return [float(v) for v in np.mean(self.values[-steps:], 0)] if self.values else []


class Course:
    """A training's progress: `done` samples in `step` steps, the `curve` so far.

    `parts` are what has a `state_dict` (models, optimisers), by name; `average` and `rng` go along if there are any.
    """

    def __init__(
        self, path: Path, config: Any, rng: np.random.Generator, average: Average | None = None, **parts: Any
    ) -> None:
        self.path, self.config, self.rng, self.average, self.parts = path, config, rng, average, parts
        self.done, self.step, self.start = 0, 0, time.monotonic()
        self.curve: list[dict[str, Any]] = []

    def resume(self) -> bool:
        """Go on where the file says, if there is one; says whether there was. Raises CacheError as `load_state`.

        Only the first process takes over the random generators; the others start theirs anew, each its own way."""
        state = load_state(self.path, self.config)
        if state is None:
            return False
        for name, part in self.parts.items():
            if name in state:  # a part that joined later starts as it is
                part.load_state_dict(state[name])
        if self.average is not None:
            devices = [p.device for p in self.average.live]
            self.average.mean = [m.to(d) for m, d in zip(state["mean"], devices, strict=True)]
            self.average.updates = state["updates"]
        self.done, self.step, self.curve = state["done"], state["step"], state["curve"]
        if rank() == 0:
            torch.set_rng_state(state["torch"])
            self.rng.bit_generator.state = ast.literal_eval(state["numpy"])
        else:
            torch.manual_seed(self.done + rank())
            self.rng.bit_generator.state = np.random.default_rng([rank(), self.done]).bit_generator.state
        return True

    def share(self, budget: int, seconds: float) -> float:
        """Return how much of the training is done, 0 to 1: of its samples, or of its time if `seconds` are given and
        less."""
        late = (time.monotonic() - self.start) / seconds if seconds else 0.0
        return min(1.0, max(late, self.done / max(budget, 1)))

    def advance(self, number: int) -> None:
        self.done, self.step = self.done + number, self.step + 1

    def keep(self) -> None:
        """Write the file."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        if self.average is not None:
            state |= {"mean": self.average.mean, "updates": self.average.updates}
        save_state(
            self.path, self.config, **state, torch=torch.get_rng_state(), numpy=repr(self.rng.bit_generator.state),
            done=self.done, step=self.step, curve=self.curve,
        )  # fmt: skip
