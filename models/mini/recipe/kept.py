"""Pictures of the plan in memory, for stages that look at them again and again."""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import numpy as np
import torch
from torch import Tensor

from .config import Run
from .pictures import Pictures, composed, to_bytes
from .progress import Progress
from .torch_tools import from_bytes


class Kept:
    """Pictures of one size, composed when first asked for and kept in bytes (4.2 GB, the square ones of the training).

    On a GPU all are composed beforehand and kept there."""

    def __init__(self, run: Run, pictures: Pictures, rows: np.ndarray, device: torch.device) -> None:
        self.pictures, self.rows, self.device = pictures, rows, device
        height, width = pictures.plan["buckets"][int(pictures.entries[rows[0], 4])] if len(rows) else (0, 0)
        shape = (len(rows), height, width, 3)
        self.bytes = torch.empty(shape, dtype=torch.uint8, device=device)  # a CPU's is taken as it is written
        self.have = np.zeros(len(rows), bool)
        if device.type != "cpu":
            bar = Progress("compose", len(rows))
            for part in composed(run, pictures, [rows]):
                self.bytes[bar.done : bar.done + len(part)] = torch.from_numpy(part).to(device)
                bar.step(len(part))
            self.have[:] = True

    def batch(self, at: np.ndarray) -> Tensor:
        """Pictures [N, 3, H, W] in -1..1 of positions in `rows`."""
        for i in at[~self.have[at]]:
            self.bytes[i] = torch.from_numpy(to_bytes(self.pictures.draw(int(self.rows[i]))))
            self.have[i] = True
        return from_bytes(self.bytes[torch.from_numpy(at).to(self.device)], self.device)
