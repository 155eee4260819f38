"""What the autoencoder is trained with: crops of pictures, composed as they are drawn, or kept by a GPU."""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import numpy as np
import torch

from .config import Run
from .kept import Kept
from .looks import BACKGROUNDS, FINISHES, PALETTES, Look, compose
from .pictures import Pictures
from .plan import HELD
from .sets import BY_NAME
from .torch_tools import from_bytes, from_float


class Crops:
    """Random crops of the training drawings in random looks, a third of them with random colours."""

    def __init__(self, pictures: Pictures, size: int, rng: np.random.Generator) -> None:
        held = set(pictures.entries[pictures.entries[:, 5] == HELD, 0].tolist())
        self.drawings = np.array([i for i in range(len(pictures.icons)) if i not in held])
        self.rgba, self.icons, self.size, self.rng = pictures.rgba, pictures.icons, size, rng

    def picture(self, size: int) -> np.ndarray:
        rng = self.rng
        i = int(self.drawings[rng.integers(len(self.drawings))])
        palette = "natural" if rng.random() < 0.6 else list(PALETTES)[rng.integers(len(PALETTES))]
        background = "white" if rng.random() < 0.2 else list(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))]
        finish = "none" if rng.random() < 0.7 else list(FINISHES)[rng.integers(len(FINISHES))]
        look = Look(palette, background, finish)
        x = compose(self.rgba[i], look, ink=BY_NAME[self.icons[i]["set"]].ink, height=size, width=size)
        if rng.random() < 0.35:
            gain = rng.uniform(0.6, 1.1, 3).astype(np.float32)
            x = x[..., rng.permutation(3)] * gain + (1 - gain) * rng.random(3).astype(np.float32)
        return x[:, ::-1] if rng.random() < 0.5 else x

    def batch(self, number: int, crop: int) -> torch.Tensor:
        """Return [number, 3, crop, crop] in -1..1; up to two crops of each picture, some from twice the resolution."""
        out = np.empty((number, crop, crop, 3), np.float32)
        x, size = self.picture(self.size), self.size
        for i in range(number):
            if i and (crop >= self.size or i % 2 == 0):
                size = self.size * (2 if crop < self.size and self.rng.random() < 0.2 else 1)
                x = self.picture(size)
            room = size - crop
            y0, x0 = np.clip(self.rng.normal(room / 2, size / 5.5, 2), 0, room).astype(int)
            out[i] = x[y0 : y0 + crop, x0 : x0 + crop]
        return from_float(out)


class KeptCrops:
    """As `Crops`, for a GPU: crops of the plan's pictures, all of which lie in its memory."""

    def __init__(self, run: Run, pictures: Pictures, size: int, rng: np.random.Generator, device: torch.device) -> None:
        self.size, self.rng, self.device = size, rng, device
        e = pictures.entries
        groups = [np.flatnonzero((e[:, 4] == b) & (e[:, 5] != HELD)) for b in (0, int(e[:, 4].max()))]
        self.whole, self.large = (Kept(run, pictures, rows, device).bytes for rows in groups)

    def batch(self, number: int, crop: int) -> torch.Tensor:
        """Return [number, 3, crop, crop] in -1..1; a tenth of the batches from twice the resolution."""
        rng = self.rng
        source = self.large if crop < self.size and len(self.large) and rng.random() < 0.1 else self.whole
        side = source.shape[1]
        rows = rng.integers(len(source), size=(number, 1, 1))
        corner = np.clip(rng.normal((side - crop) / 2, side / 5.5, (2, number)), 0, side - crop).astype(int)
        y, x = (c[:, None] + np.arange(crop) for c in corner)
        x = np.where(rng.random((number, 1)) < 0.5, x, x[:, ::-1])
        at = (torch.from_numpy(v).to(self.device) for v in (rows, y[:, :, None], x[:, None, :]))
        out = from_bytes(source[tuple(at)], self.device)
        some = max(1, number // 3)  # with random colours
        gain = torch.from_numpy(rng.uniform(0.6, 1.1, (some, 3, 1, 1)).astype(np.float32)).to(self.device)
        shade = torch.from_numpy(rng.uniform(-1, 1, (some, 3, 1, 1)).astype(np.float32)).to(self.device)
        order = torch.from_numpy(rng.permuted(np.tile(np.arange(3), (some, 1)), axis=1)).to(self.device)
        mixed = out[:some].gather(1, order[:, :, None, None].expand(-1, -1, crop, crop))
        out[:some] = mixed * gain + (1 - gain) * shade
        return out
