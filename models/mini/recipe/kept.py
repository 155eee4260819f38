"""Pictures of the plan in memory, for stages that look at them again and again."""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import numpy as np
import torch
from torch import Tensor

from .config import Run
from .pictures import Pictures, composed
from .progress import Progress
from .torch_tools import from_bytes


class Kept:
    """Pictures of one size, all composed beforehand and kept in bytes on the device (4.2 GB, the square ones of the
    training). In the plan's order a drawing's looks follow each other, which is ten times as fast as one by one in the
    order of a training."""

    def __init__(self, run: Run, pictures: Pictures, rows: np.ndarray, device: torch.device) -> None:
        self.device = device
        height, width = pictures.plan["buckets"][int(pictures.entries[rows[0], 4])] if len(rows) else (0, 0)
        self.bytes = torch.empty((len(rows), height, width, 3), dtype=torch.uint8, device=device)
        bar = Progress("compose", len(rows))
        for part in composed(run, pictures, [rows]):
            self.bytes[bar.done : bar.done + len(part)] = torch.from_numpy(part).to(device)
            bar.step(len(part))

    def batch(self, at: np.ndarray) -> Tensor:
        """Return pictures [N, 3, H, W] in -1..1 of positions in `rows`."""
        return from_bytes(self.bytes[torch.from_numpy(at).to(self.device)], self.device)
