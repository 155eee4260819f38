"""Stage `sheets`: contact sheets to look at.

    python -m salon.models.mini.recipe.sheets --work DIR --out FOLDER [--form webp]

Drawn as the evaluation found best, once it has. `real.png` (real above reconstructed), `random.png` (100 generated at
random, captions in `random.txt`), `styles.png` (concepts by drawing set), `backgrounds.png`, `size-HxW.png` (the other
sizes), `enlarged.png` (the second stage), and with an adapter `weights.png` (one reference, weights 0 to 2.5) and
`between.png` (from one style vector to another).
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from .autoencoder import load_model, rebuild
from .captions import caption
from .config import Run, parser, run_of
from .evaluate import finished
from .painter import Painter, open_painter, open_stylist, rows_of
from .pictures import Pictures, open_pictures
from .plan import HELD, TRAIN
from .probes import BETWEEN, WEIGHTS
from .sample import Sampler
from .store import STAMP, atomic
from .torch_tools import set_up

SHOWN = ("cat", "dog", "red apple", "rocket", "house", "car", "tree", "mushroom", "ghost", "guitar", "fish", "crown")


def sheet(pictures: np.ndarray, columns: int, titles: list[str] | None = None) -> Image.Image:
    """Put pictures [N, H, W, 3] in 0..1 in a grid; titles above the columns."""
    n, h, w, _ = pictures.shape
    top = 14 if titles else 0
    rows = -(-n // columns)
    out = Image.new("RGB", (columns * (w + 2), rows * (h + 2) + top), "white")
    for i, x in enumerate((pictures * 255).round().astype(np.uint8)):
        out.paste(Image.fromarray(x), (i % columns * (w + 2), i // columns * (h + 2) + top))
    draw = ImageDraw.Draw(out)
    for i, title in enumerate(titles or []):
        draw.text((i * (w + 2) + 2, 1), title, fill="black")
    return out


@dataclass(frozen=True)
class Folder:
    """Where sheets go and as what: "png", exact, or "webp", a tenth of that, for the model card."""

    path: Path
    form: str = "png"

    def write(self, image: Image.Image, name: str) -> None:
        with atomic(self.path / f"{name}.{self.form}") as f:
            image.save(f, self.form.upper(), **({"optimize": True} if self.form == "png" else {"quality": 85}))


def entries_for(pictures: Pictures, concepts: list[str]) -> np.ndarray:
    """Choose one entry for each concept, whichever comes first."""
    labels = pictures.labels()
    out = []
    for name in concepts:
        mine = np.flatnonzero(labels["concept"] == pictures.plan["concepts"].index(name))
        out.append(int(mine[0]))
    return np.array(out)


def grid(painter: Painter, pictures: Pictures, concepts: list[str], factor: str, values: list[int]) -> np.ndarray:
    """Draw a grid: concepts down, values of one factor across, all else plain; same noise in every column."""
    entry = entries_for(pictures, concepts)
    keep = {k: painter.batches.labels[k].copy() for k in painter.batches.labels}
    columns = []
    for value in values:
        labels = keep | {k: np.zeros_like(keep[k]) for k in ("palette", "finish", "background")}
        labels[factor] = np.full_like(keep[factor], value)
        painter.batches.labels = labels
        columns.append(painter.paint(entry, seed=11))
    painter.batches.labels = keep
    return np.stack(columns, 1).reshape(-1, *columns[0].shape[1:])


def run_sheets(run: Run, out: Folder) -> None:
    device = set_up(run, 0)
    pictures = open_pictures(run)
    real = pictures.batch(rows_of(pictures, HELD, 24, 3).tolist())
    autoencoder = load_model(run, device)
    columns = min(12, len(real))
    real = real[: len(real) // columns * columns]
    pairs = np.stack([x.reshape(-1, columns, *x.shape[1:]) for x in (real, rebuild(autoencoder, real, device))], 1)
    out.write(sheet(pairs.reshape(-1, *real.shape[1:]), columns), "real")
    if not (run.work / "transformer" / "model").is_dir():
        return
    painter = open_painter(run, device)
    if (run.work / "transformer" / STAMP).is_file() and (report := finished(run)):
        painter.sampler = Sampler(**report["details"]["sampler"])
    entry = rows_of(pictures, TRAIN, 100, 9)
    out.write(sheet(painter.paint(entry, seed=9), 10), "random")
    with atomic(out.path / "random.txt") as f:
        lines = [caption(pictures.concept(int(e)), pictures.style(int(e)), pictures.look(int(e))).text() for e in entry]
        f.write(("\n".join(lines) + "\n").encode())
    concepts = [c for c in SHOWN if c in pictures.plan["concepts"]] or pictures.plan["concepts"][:6]
    styles, grounds = pictures.plan["styles"], pictures.plan["backgrounds"]
    for name, factor, rows, values in (
        ("styles", "style", concepts, styles),
        ("backgrounds", "background", concepts[:6], grounds),
    ):
        x = grid(painter, pictures, rows, factor, list(range(len(values))))
        out.write(sheet(x, len(values), values), name)
    named = entries_for(pictures, concepts[:6])
    for height, width in pictures.plan["buckets"][1:]:
        x = painter.paint(named, say=("style",), seed=11, size=(height, width))
        out.write(sheet(x, len(named)), f"size-{height}x{width}")
    small = painter.paint(named, say=("style",), seed=11)
    large = painter.enlarge(named, small, say=("style",), seed=11)
    out.write(sheet(large, len(named)), "enlarged")
    adapter_sheets(run, painter, pictures, concepts[:6], out)


def adapter_sheets(run: Run, painter: Painter, pictures: Pictures, concepts: list[str], out: Folder) -> None:
    """Draw with an adapter: its weight from none to strong, and the straight line between two styles."""
    stylist = open_stylist(run, painter)
    if stylist is None:
        return
    bucket = painter.batches.buckets[0]
    entry = entries_for(pictures, concepts)
    two = np.random.default_rng(4).choice(bucket.other if len(bucket.other) > 1 else bucket.plain, 2)
    first, second = stylist.vectors(painter, two).split(1)
    for name, columns in (
        ("weights", [(f"weight {w}", first, w) for w in WEIGHTS]),
        ("between", [(f"{a:.2f}", first + (second - first) * a, 1.0) for a in BETWEEN]),
    ):
        drawn = [
            painter.paint(entry, say=(), reference=stylist.reference(vector, weight), seed=11)
            for _, vector, weight in columns
        ]
        x = np.stack(drawn, 1)
        out.write(sheet(x.reshape(-1, *x.shape[2:]), len(columns), [title for title, _, _ in columns]), name)
    out.write(sheet(pictures.batch([int(bucket.entry[i]) for i in two]), 2, ["first", "second"]), "references")


if __name__ == "__main__":
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--form", choices=("png", "webp"), default="png")
    args = options.parse_args()
    run_sheets(run_of(args), Folder(args.out, args.form))
