"""Training batches of the transformer and the adapter: cached latents and texts, with clauses left out at random."""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .config import Run
from .network import fold_empty, pack, unpack
from .pictures import open_pictures
from .plan import HELD
from .store import open_stage
from .text import bare_names
from .vocabulary import read_vocabulary

# How often a clause is left out of a training caption, so that any part of it may be missing at inference.
ALL_DROPPED, NAME_ONLY = 0.10, 0.25
DROPPED = {"style": 0.2, "background": 0.2, "palette": 0.2, "finish": 0.1}
ROOM = 13  # text rows of a training sample, the empty ones folded into one; 2 % of the captions lose a clause by it


@dataclass
class Bucket:
    """The cached pictures of one size; `x` [N, L, 4C] packed latents, `entry` rows of the plan."""

    height: int
    width: int
    x: Tensor
    entry: np.ndarray
    plain: np.ndarray  # rows of x that a training step may draw
    other: np.ndarray
    held: np.ndarray

    @property
    def train(self) -> np.ndarray:
        """All rows that a training step may draw."""
        return np.r_[self.plain, self.other]


def lengthened(x: Tensor, h: int, w: int) -> tuple[Tensor, int, int]:
    """Return packed latents [B, L, 4C] with one more row of tokens along the longer side, and their new h and w.

    The drawing stays in the middle: next to both ends, where there is nothing but background, a row of latents stands
    twice. So a model learns more sizes than its pictures were made in."""
    z = unpack(x, h, w)
    axis = 2 if h > w else 3
    n = z.shape[axis]
    z = z.index_select(axis, torch.tensor(sorted([*range(n), 1, n - 2]), device=z.device))
    return pack(z), int(z.shape[2]), int(z.shape[3])


class Batches:
    """Draws training batches: latents, text rows and pooled vector, with clauses left out at random."""

    def __init__(self, run: Run, device: torch.device, rng: np.random.Generator) -> None:
        self.rng, self.device, self.config = rng, device, run.recipe.transformer
        pictures = open_pictures(run)
        self.labels, entries = pictures.labels(), pictures.entries
        source = open_stage(run.work, "latents")
        facts = source.json("latents.json")
        self.shift, self.scale = float(facts["shift"]), float(facts["scale"])
        self.buckets = []
        for height, width in facts["buckets"]:
            z = torch.from_numpy(np.array(source.array(f"z_{height}x{width}.npy"))).float()
            rows = np.array(source.array(f"entries_{height}x{width}.npy"))
            e = entries[rows]
            train = e[:, 5] != HELD
            plain = (e[:, 1] == 0) & (e[:, 3] == 0) & np.r_[True, np.diff(e[:, 0]) != 0]
            x = pack((z - self.shift) * self.scale).half().to(device)
            parts = [np.flatnonzero(m) for m in (train & plain, train & ~plain, ~train)]
            self.buckets.append(Bucket(height, width, x, rows, *parts))
        texts, known = open_stage(run.work, "text"), {c.name: c for c in read_vocabulary()}
        concepts = [known[name] for name in pictures.plan["concepts"]]
        self.names = np.array(bare_names(texts.json("texts.json")["subject"], concepts))  # rows of the subject table
        with np.load(texts.folder / "text.npz") as table:
            self.text = {k: torch.from_numpy(table[k]).float().to(device) for k in table.files if "stats" not in k}
        self.lengths = {
            k: (self.text[k].abs().amax(-1) > 0).sum(1).cpu().numpy() for k in ("subject", *DROPPED)
        }  # filled rows
        concept = self.text["subject_concept"].long().cpu().numpy()
        order = np.argsort(concept, kind="stable")
        self.forms, self.first = order, np.searchsorted(concept[order], np.arange(concept.max() + 2))

    def texts(self, entry: np.ndarray, keep: dict[str, np.ndarray], form: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return text rows [B, R, 384] and pooled [B, 384] of plan entries; `keep` says per clause where it stays."""

        def mask(name: str) -> Tensor:
            return torch.from_numpy(keep[name].astype(np.float32)).to(self.device)

        subject = torch.from_numpy(form).to(self.device)
        parts = [self.text["subject"][subject] * mask("subject")[:, None, None]]
        for name in ("style", "background", "palette", "finish"):
            at = torch.from_numpy(self.labels[name][entry]).to(self.device)
            parts.append(self.text[name][at] * mask(name)[:, None, None])
        return torch.cat(parts, 1), self.text["subject_pooled"][subject] * mask("subject")[:, None]

    def folded(self, entry: np.ndarray, keep: dict[str, np.ndarray], form: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `texts` does, with the empty rows folded (see `fold_empty`): text rows, pooled, attention
        bias.

        A caption that has no `ROOM` loses its last clauses."""
        keep = dict(keep)
        for name in ("finish", "palette", "background"):
            rows = self.lengths["subject"][form] * keep["subject"]
            for other in DROPPED:
                rows = rows + self.lengths[other][self.labels[other][entry]] * keep[other]
            keep[name] = keep[name] & (rows < ROOM)
        tokens, pooled = self.texts(entry, keep, form)
        rows, bias = fold_empty(tokens, ROOM)
        return rows, pooled, bias

    def random_forms(self, entry: np.ndarray) -> np.ndarray:
        """Draw a random way of naming each entry's subject: row of the subject table."""
        concept = self.labels["concept"][entry]
        low, high = self.first[concept], self.first[concept + 1]
        return self.forms[low + (self.rng.random(len(entry)) * (high - low)).astype(int)]

    def keeps(self, number: int) -> dict[str, np.ndarray]:
        """Draw which clauses a random training caption keeps."""
        rng = self.rng
        some, bare = rng.random(number) >= ALL_DROPPED, rng.random(number) < NAME_ONLY
        keep = {name: some & ~bare & (rng.random(number) >= drop) for name, drop in DROPPED.items()}
        return {"subject": some, **keep}

    def rows(self, bucket: Bucket, number: int) -> np.ndarray:
        """Draw random training rows of a bucket, the plain ones more often than their share."""
        rng = self.rng
        plain, other = (bucket.plain, bucket.other) if len(bucket.plain) and len(bucket.other) else (
            (bucket.plain if len(bucket.plain) else bucket.other),) * 2  # fmt: skip
        first, second = plain[rng.integers(len(plain), size=number)], other[rng.integers(len(other), size=number)]
        return np.where(rng.random(number) < self.config.plain_share, first, second)

    def pick(self, share_done: float, step: int) -> Bucket:
        """Pick the bucket of a step (of all processes): square, later now and then another aspect, at the end also
        large."""
        rng, config = np.random.default_rng([self.config.seed, step]), self.config

        def usable(parts: list[Bucket]) -> list[Bucket]:
            return [b for b in parts if len(b.plain) + len(b.other)]

        *others, large = self.buckets[1:]
        if usable([large]) and share_done >= config.large_from and rng.random() < config.large_share:
            return large
        if (aspects := usable(others)) and share_done >= config.aspect_from and rng.random() < config.aspect_share:
            return aspects[rng.integers(len(aspects))]
        return self.buckets[0]

    def longer(self, bucket: Bucket, step: int) -> bool:
        """Return whether a step (of all processes) takes a bucket's pictures as `lengthened` makes them."""
        square = bucket.height == bucket.width
        rng = np.random.default_rng([self.config.seed, step, 1])
        return not square and bool(rng.random() < self.config.longer_share)

    def number(self, bucket: Bucket) -> int:
        """Return the number of pictures of a batch: about as many tokens whatever their size."""
        return max(1, self.config.batch * self.buckets[0].x.shape[1] // max(bucket.x.shape[1], 1) // 4 * 4)
