"""The trained model, ready to draw entries of the plan: by words, by kept-back synonyms, by a style reference."""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import Tensor

from .adapter import References
from .autoencoder import load_model
from .batches import Batches
from .config import Run
from .errors import CacheError
from .half import halve
from .network import Velocity, unpack
from .pictures import Pictures
from .precision import computes_in_bfloat16
from .progress import Progress
from .sample import Reference, Sampler, Start, decode, encode, needed_room, sample
from .store import STAMP, open_stage
from .style import StyleAdapter, StyleEncoder, load_adapter
from .text import nearest

ROOM_STEP = 4  # text rows are left in multiples of it: a compiled forward pass is good for one shape
SAY_ALL = ("style", "background", "palette", "finish")


@dataclass
class Painter:
    """Transformer, decoder and texts. `sampler` is used where a call names no other."""

    net: Velocity
    autoencoder: AutoencoderKL
    batches: Batches
    device: torch.device
    sampler: Sampler
    batch: int
    compile: bool = False  # the forward pass of square pictures
    products: str = "float32"  # what the blocks' products are computed in

    def __post_init__(self) -> None:
        self._compiled: tuple[Velocity, Callable[..., Tensor]] | None = None

    def _forward(self, number: int, size: tuple[int, int]) -> Callable[..., Tensor]:
        """Return the forward pass for a number of pictures of a size: compiled for many of the size that most have."""
        square, compiles = self.batches.buckets[0], self.compile and self.device.type == "cpu"
        if not compiles or number < self.batch or size != (square.height, square.width):
            return self.net
        if self._compiled is None or self._compiled[0] is not self.net:
            self._compiled = self.net, torch.compile(self.net, dynamic=False)
        return self._compiled[1]

    def paint(
        self,
        entry: np.ndarray,
        *,
        say: tuple[str, ...] = SAY_ALL,
        held_words: np.ndarray | None = None,
        nearest_known: bool = True,
        reference: Reference | None = None,
        seed: int = 0,
        size: tuple[int, int] | None = None,
        sampler: Sampler | None = None,
        start: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draw pictures [N, H, W, 3] of plan entries, named by the concept, bare, or by rows of kept-back synonyms.

        In the place of such a synonym the nearest known name stands, as in the engine, if `nearest_known`. `start`:
        pictures [N, H, W, 3] of this size to begin with (see `Start`)."""
        out, n, batches = [], len(entry), self.batches
        keep = {k: np.full(n, k == "subject" or k in say) for k in ("subject", *SAY_ALL)}
        tokens, pooled = batches.texts(entry, keep, batches.forms[batches.first[batches.labels["concept"][entry]]])
        if held_words is not None:
            subject, pooled = self._held(held_words, nearest_known)
            tokens = torch.cat([subject, tokens[:, subject.shape[1] :]], 1)
        bucket = batches.buckets[0]
        size = size or (bucket.height, bucket.width)
        bar, forward, width = Progress("paint", n), self._forward(n, size), min(n, self.batch)
        room = min(tokens.shape[1], -(-needed_room(tokens) // ROOM_STEP) * ROOM_STEP)
        for at in range(0, n, self.batch):
            part = np.minimum(np.arange(at, at + width), n - 1)  # whole batches: the last picture again and again
            mine = reference
            if reference is not None:
                which = part if len(reference.tokens) > 1 else np.zeros_like(part)
                mine = Reference(reference.tokens[which], reference.null, reference.weight)
            begin = None
            if start is not None:
                begin = Start(encode(self.autoencoder, start[part], self.device, batches.shift, batches.scale))
            x = sample(
                self.net, tokens[part], pooled[part], sampler=sampler or self.sampler, size=size, seed=seed + at,
                reference=mine, room=room, forward=forward, start=begin,
            )[: n - at]  # fmt: skip
            out.append(decode(self.autoencoder, x, size=size, shift=batches.shift, scale=batches.scale))
            bar.step(len(out[-1]))
        return np.concatenate(out)

    def enlarge(
        self, entry: np.ndarray, pictures: np.ndarray, *, say: tuple[str, ...] = SAY_ALL, seed: int = 0
    ) -> np.ndarray:
        """Run the second stage: pictures [N, H, W, 3] of those entries at twice their size, their detail drawn anew."""
        x = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        x = F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False).clamp(0, 1).permute(0, 2, 3, 1)
        sampler = replace(self.sampler, steps=max(1, self.sampler.steps // 2))
        size = (int(x.shape[1]), int(x.shape[2]))
        return self.paint(entry, say=say, seed=seed, size=size, sampler=sampler, start=x.numpy())

    def _held(self, rows: np.ndarray, nearest_known: bool) -> tuple[Tensor, Tensor]:
        """Return subject rows and pooled vectors of kept-back synonyms, or of the known names nearest to them."""
        text, batches = self.batches.text, self.batches
        at = torch.from_numpy(rows).to(self.device)
        subject, pooled = text["held"][at], text["held_pooled"][at]
        if not nearest_known:
            return subject, pooled
        names, forms = batches.names, text["subject_pooled"].cpu().numpy()
        near = nearest(forms[names], pooled.cpu().numpy())
        form = torch.from_numpy(names[np.maximum(near, 0)]).to(self.device)
        found = torch.from_numpy(near >= 0).to(self.device)
        return (
            torch.where(found[:, None, None], text["subject"][form], subject),
            torch.where(found[:, None], text["subject_pooled"][form], pooled),
        )

    @contextmanager
    def weights_of(self, state: dict[str, Tensor]) -> Iterator[None]:
        """Use other weights of the transformer for a while, as of an earlier moment of its training."""
        kept = {k: v.clone() for k, v in self.net.model.state_dict().items()}
        self.net.model.load_state_dict(state)
        try:
            yield
        finally:
            self.net.model.load_state_dict(kept)


@dataclass
class Stylist:
    """Style encoder and adapter of a painter's transformer."""

    encoder: StyleEncoder
    adapter: StyleAdapter
    styles: Tensor  # mean style vector of each drawing set [sets, width]

    @torch.no_grad()
    def vectors(self, painter: Painter, rows: np.ndarray) -> Tensor:
        """Return style vectors [N, width] of the square cached pictures `rows`."""
        bucket = painter.batches.buckets[0]
        x = bucket.x[torch.from_numpy(rows).to(painter.device)].float()
        return self.encoder(unpack(x, bucket.height // 8, bucket.width // 8))

    @torch.no_grad()
    def reference(self, vectors: Tensor, weight: float = 1.0) -> Reference:
        """Return what a painter takes: one vector [1, width] for all pictures, or one for each."""
        null = self.adapter.project(self.adapter.null[None])
        return Reference(self.adapter.project(vectors), null, weight)


def open_painter(run: Run, device: torch.device) -> Painter:
    """Load autoencoder and transformer: the finished stage, or the latest checkpoint of a running one.

    The weights are rounded to bfloat16, as those that ship."""
    folder = run.work / "transformer" / "model"
    if not folder.is_dir():
        raise CacheError(f"{folder} is missing: run `python -m salon.models.mini.recipe.transformer --work {run.work}`")
    if (run.work / "transformer" / STAMP).is_file():
        open_stage(run.work, "transformer")
    model = as_shipped(FluxTransformer2DModel.from_pretrained(folder)).to(device).eval()
    products = "float16" if halve(model, device) else "bfloat16" if computes_in_bfloat16(device) else "float32"
    batches, config = Batches(run, device, np.random.default_rng(0)), run.recipe.evaluate
    sampler = Sampler(config.steps, config.guidances[0])
    autoencoder = as_shipped(load_model(run, device))
    return Painter(Velocity(model), autoencoder, batches, device, sampler, config.batch, config.compile, products)


def as_shipped(model: Any) -> Any:
    """Round the numbers of a module or tensor to those of bfloat16, in float32."""
    return model.to(torch.bfloat16).float()


def open_stylist(run: Run, painter: Painter) -> Stylist | None:
    """Open the adapter, put into the painter's transformer; None when it has not been trained."""
    if not (run.work / "adapter" / "stage.json").is_file():
        return None
    encoder, adapter, styles = load_adapter(run, painter.net.model, painter.device)
    painter.net = Velocity(painter.net.model, list(adapter.blocks))
    return Stylist(as_shipped(encoder), as_shipped(adapter), as_shipped(styles))


def references(painter: Painter, entry: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (which entries have one, cached pictures of the same style and another concept for those)."""
    bucket = painter.batches.buckets[0]
    at = {int(e): i for i, e in enumerate(bucket.entry)}
    mine = np.array([at[int(e)] for e in entry])
    other = References(painter.batches, bucket, np.random.default_rng(seed)).pick(mine)
    return other >= 0, other[other >= 0]


def rows_of(pictures: Pictures, split: int, number: int, seed: int) -> np.ndarray:
    """Draw random square plan entries of a split."""
    e: Any = pictures.entries
    rows = np.flatnonzero((e[:, 5] == split) & (e[:, 4] == 0))
    return np.random.default_rng(seed).permutation(rows)[:number]
