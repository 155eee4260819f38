"""Pictures by entry of the plan, composed when needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .config import Run
from .looks import Look, compose
from .plan import stage as plan_stage
from .sets import BY_NAME
from .store import open_stage


@dataclass(frozen=True)
class Pictures:
    """`entries` [N, 6]: drawing, palette, background, finish, bucket, split (see `plan`)."""

    rgba: np.ndarray
    icons: list[dict[str, str]]
    entries: np.ndarray
    plan: dict[str, Any]

    def look(self, entry: int) -> Look:
        _, p, b, f, _, _ = (int(v) for v in self.entries[entry])
        return Look(self.plan["palettes"][p], self.plan["backgrounds"][b], self.plan["finishes"][f])

    def concept(self, entry: int) -> str:
        return self.icons[int(self.entries[entry, 0])]["concept"]

    def style(self, entry: int) -> str:
        return self.icons[int(self.entries[entry, 0])]["set"]

    def draw(self, entry: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """One picture [height, width, 3] in 0..1, in its bucket's size unless another is asked for."""
        height, width = size or self.plan["buckets"][int(self.entries[entry, 4])]
        drawing = self.rgba[int(self.entries[entry, 0])]
        return compose(drawing, self.look(entry), ink=BY_NAME[self.style(entry)].ink, height=height, width=width)

    def batch(self, entries: Sequence[int]) -> np.ndarray:
        return np.stack([self.draw(int(e)) for e in entries])

    def labels(self) -> dict[str, np.ndarray]:
        """Class numbers of every entry: concept, style (the drawing set), palette, background, finish."""
        concept = {c: i for i, c in enumerate(self.plan["concepts"])}
        style = {s: i for i, s in enumerate(self.plan["styles"])}
        at = self.entries[:, 0]
        of = [(concept.get(r["concept"], -1), style.get(r["set"], -1)) for r in self.icons]
        both = np.array(of)[at]
        return {
            "concept": both[:, 0],
            "style": both[:, 1],
            "palette": self.entries[:, 1].astype(np.int64),
            "background": self.entries[:, 2].astype(np.int64),
            "finish": self.entries[:, 3].astype(np.int64),
        }


def open_pictures(run: Run) -> Pictures:
    done, raster = open_stage(run.work, "plan", key=plan_stage(run).key), open_stage(run.work, "raster")
    entries = np.array(done.array("entries.npy"))
    return Pictures(raster.array("rgba.npy"), raster.json("icons.json"), entries, done.json("plan.json"))
