"""Pictures by entry of the plan, composed when needed, or read where the stage `compose` has kept them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import numpy as np

from .config import Run
from .looks import Look, compose_placed, place
from .plan import stage as plan_stage
from .sets import BY_NAME
from .store import STAMP, open_stage

PART = 64  # pictures that one process composes at a time


@dataclass(frozen=True)
class Pictures:
    """`entries` [N, 6]: drawing, palette, background, finish, bucket, split (see `plan`)."""

    rgba: np.ndarray
    icons: list[dict[str, str]]
    entries: np.ndarray
    plan: dict[str, Any]
    _placed: dict[tuple[int, int, int], np.ndarray] = field(default_factory=dict, repr=False)

    def look(self, entry: int) -> Look:
        _, p, b, f, _, _ = (int(v) for v in self.entries[entry])
        return Look(self.plan["palettes"][p], self.plan["backgrounds"][b], self.plan["finishes"][f])

    def concept(self, entry: int) -> str:
        return self.icons[int(self.entries[entry, 0])]["concept"]

    def style(self, entry: int) -> str:
        return self.icons[int(self.entries[entry, 0])]["set"]

    def draw(self, entry: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """Draw one picture [height, width, 3] in 0..1, in its bucket's size unless another is asked for."""
        height, width = size or self.plan["buckets"][int(self.entries[entry, 4])]
        key = int(self.entries[entry, 0]), height, width
        if key not in self._placed:  # the last one is kept: a drawing's looks follow each other in the plan
            self._placed.clear()
            self._placed[key] = place(self.rgba[key[0]], height, width)
        return compose_placed(self._placed[key], self.look(entry), ink=BY_NAME[self.style(entry)].ink)

    def batch(self, entries: Sequence[int]) -> np.ndarray:
        return np.stack([self.draw(int(e)) for e in entries])

    def labels(self) -> dict[str, np.ndarray]:
        """Return class numbers of every entry: concept, style (the drawing set), palette, background, finish."""
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


_mine: Pictures | None = None  # of a composing process


def _open(run: Run) -> None:
    global _mine
    _mine = open_pictures(run)


def _compose(entries: np.ndarray) -> np.ndarray:
    assert _mine is not None
    return to_bytes(_mine.batch(entries.tolist()))


def to_bytes(pictures: np.ndarray) -> np.ndarray:
    """Turn pictures in 0..1 into uint8."""
    return (pictures * 255).round().astype(np.uint8)


def file_of(height: int, width: int) -> str:
    """Return the file of `compose` that holds the pictures of a size."""
    return f"pictures_{height}x{width}.npy"


def composed(run: Run, pictures: Pictures, groups: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Compose pictures of groups of plan entries, in order, as uint8 [n, H, W, 3] of up to `PART` of one group.

    The pictures of a group have one size. Those that `compose` has kept are read. Else `run.threads` processes compose
    them, if there are many."""
    parts = [part for group in groups for part in np.split(group, range(PART, len(group), PART)) if len(part)]
    if (run.work / "compose" / STAMP).is_file():
        done, bucket = open_stage(run.work, "compose"), pictures.entries[:, 4]
        kept = [done.array(file_of(*size)) for size in pictures.plan["buckets"]]
        row = np.empty(len(bucket), np.int64)  # of an entry in its size's file
        for number in range(len(kept)):
            row[bucket == number] = np.arange((bucket == number).sum())
        yield from (kept[int(bucket[part[0]])][row[part]] for part in parts)
        return
    if run.threads == 1 or len(parts) < 2 * run.threads:
        yield from (to_bytes(pictures.batch(part.tolist())) for part in parts)
        return
    with get_context("spawn").Pool(run.threads, _open, (run,)) as pool:
        yield from pool.imap(_compose, parts)
