"""Stage `evaluate`: generated pictures scored by the judge, beside real ones and reconstructions; the gate.

    python -m salon.models.mini.recipe.evaluate --work DIR [--out bench/results/mini.json]

Every row draws the same plan entries: the real pictures, their reconstructions, pictures generated from the full
caption, from the name alone, from kept-back synonyms, and with the style given by a reference picture only.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import datetime
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel

from .adapter import References, load_adapter
from .autoencoder import gate_figures, gate_pictures, load_model, rebuild
from .config import Run, parser, run_of
from .errors import CacheError
from .judge import HEADS, Judge, accuracy, load_judge, score
from .network import Velocity, unpack
from .pictures import Pictures, open_pictures
from .plan import HELD, TRAIN
from .progress import Progress
from .sample import Reference, decode, sample
from .store import Done, Stage, open_stage, write_json
from .torch_tools import set_up
from .transformer import Batches

SAY_ALL = ("style", "background", "palette", "finish")


@dataclass
class Painter:
    """The trained model, ready to draw plan entries."""

    net: Velocity
    autoencoder: AutoencoderKL
    batches: Batches
    run: Run
    device: torch.device

    def paint(
        self,
        entry: np.ndarray,
        form: np.ndarray,
        *,
        say: tuple[str, ...] = SAY_ALL,
        held_words: np.ndarray | None = None,
        reference: Reference | None = None,
        seed: int = 0,
        size: tuple[int, int] | None = None,
        guidance: float | None = None,
        steps: int | None = None,
    ) -> np.ndarray:
        """Pictures [N, H, W, 3] of plan entries named by `form` (or by rows of the kept-back synonyms)."""
        config, out = self.run.recipe.evaluate, []
        n = len(entry)
        keep = {k: np.full(n, k == "subject" or k in say) for k in ("subject", *SAY_ALL)}
        tokens, pooled = self.batches.texts(entry, keep, form)
        if held_words is not None:
            rows = torch.from_numpy(held_words).to(self.device)
            subject = self.batches.text["held"][rows]
            tokens = torch.cat([subject, tokens[:, subject.shape[1] :]], 1)
            pooled = self.batches.text["held_pooled"][rows]
        bucket = self.batches.buckets[0]
        size = size or (bucket.height, bucket.width)
        bar = Progress("paint", n)
        for at in range(0, n, config.batch):
            part = slice(at, at + config.batch)
            mine = reference
            if reference is not None:
                mine = Reference(reference.tokens[part], reference.null, reference.weight)
            x = sample(
                self.net, tokens[part], pooled[part], size=size, steps=steps or config.steps,
                guidance=config.guidance if guidance is None else guidance, seed=seed + at, reference=mine,
            )  # fmt: skip
            batches = self.batches
            out.append(decode(self.autoencoder, x, size=size, shift=batches.shift, scale=batches.scale))
            bar.step(len(out[-1]))
        return np.concatenate(out)

    def first_forms(self, entry: np.ndarray) -> np.ndarray:
        """The bare name of each entry's concept, as a row of the subject table."""
        return self.batches.forms[self.batches.first[self.batches.labels["concept"][entry]]]


def open_painter(run: Run, device: torch.device, *, adapters: Any = None) -> Painter:
    """Load autoencoder and transformer: the finished stage, or the latest checkpoint of a running one."""
    folder = run.work / "transformer" / "model"
    if not folder.is_dir():
        raise CacheError(f"{folder} is missing: run `python -m salon.models.mini.recipe.transformer --work {run.work}`")
    model = FluxTransformer2DModel.from_pretrained(folder).float().to(device).eval()
    batches = Batches(run, device, np.random.default_rng(0))
    return Painter(Velocity(model, adapters), load_model(run, device), batches, run, device)


def stage(run: Run) -> Stage:
    names = ("judge", "transformer", "adapter")
    inputs = {n: open_stage(run.work, n).key for n in names if (run.work / n / "stage.json").is_file()}
    return Stage(run.work, "evaluate", asdict(run.recipe.evaluate), inputs)


def rows_of(pictures: Pictures, split: int, number: int, seed: int) -> np.ndarray:
    """Random square plan entries of a split."""
    e = pictures.entries
    rows = np.flatnonzero((e[:, 5] == split) & (e[:, 4] == 0))
    return np.random.default_rng(seed).permutation(rows)[:number]


def row(judge: Judge, name: str, pictures: np.ndarray, labels: dict[str, np.ndarray], device: Any) -> dict[str, Any]:
    figures = accuracy(score(judge, pictures, device), labels)
    print(name, {k: round(v, 3) for k, v in figures.items()}, flush=True)
    return {"row": name, "pictures": len(pictures), **figures}


def by_reference(run: Run, painter: Painter, entry: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Pictures whose style is given by a reference picture only, and the entries drawn (those that have one)."""
    if not (run.work / "adapter" / "stage.json").is_file():
        return None
    encoder, adapter = load_adapter(run, painter.net.model, painter.device)
    painter.net = Velocity(painter.net.model, list(adapter.blocks))
    bucket = painter.batches.buckets[0]
    at = {int(e): i for i, e in enumerate(bucket.entry)}
    mine = np.array([at[int(e)] for e in entry])
    other = References(painter.batches, bucket, np.random.default_rng(seed)).pick(mine)
    have = other >= 0
    with torch.no_grad():
        z = unpack(
            bucket.x[torch.from_numpy(other[have]).to(painter.device)].float(), bucket.height // 8, bucket.width // 8
        )
        tokens, null = adapter.project(encoder(z)), adapter.project(adapter.null[None])
    chosen = entry[have]
    pictures = painter.paint(
        chosen, painter.first_forms(chosen), say=(), reference=Reference(tokens, null), seed=seed + 1000
    )
    return pictures, chosen


def goals(rows: dict[str, dict[str, Any]], ae: dict[str, Any]) -> list[dict[str, Any]]:
    """The gate: each goal with its target and the value reached."""
    out = []

    def goal(name: str, value: float | None, target: float) -> None:
        out.append({"goal": name, "target": target, "value": value, "met": value is not None and value >= target})

    def ratio(row_: str, base: str, head: str) -> float | None:
        if row_ not in rows or base not in rows or not rows[base][head]:
            return None
        return float(rows[row_][head] / rows[base][head])

    goal("autoencoder PSNR on held-out drawings, dB", ae["held"]["psnr"], 28.0)
    for axis in ("luma", "red_blue", "green_magenta"):
        goal(f"autoencoder R2 of block colours, {axis}", min(p["r2"][axis] for p in ae.values()), 0.98)
    goal(
        "concept top-1, full caption, share of real unseen",
        ratio("generated, full caption", "real, unseen", "concept"),
        0.85,
    )
    goal(
        "concept top-1, held-out pairs, share of real",
        ratio("generated, held-out pairs", "real, held-out pairs", "concept"),
        0.75,
    )
    goal("concept top-1 by kept-back synonyms", rows.get("generated, synonyms", {}).get("concept"), 0.50)
    goal("judge's style head on unseen real pictures", rows["real, unseen"]["style"], 0.80)
    for head in ("style", "palette", "background"):
        goal(f"{head} in words, share of real", ratio("generated, full caption", "real, unseen", head), 0.85)
        goal(f"{head} by reference, share of real", ratio("generated, by reference", "real, unseen", head), 0.65)
    named, shown = rows.get("generated, name only"), rows.get("generated, by reference")
    kept = 1 + shown["concept"] - named["concept"] if named and shown else None
    goal("concept kept with a reference (1 = none lost)", kept, 0.97)
    return out


def run_stage(run: Run) -> Done:
    config, s = run.recipe.evaluate, stage(run)
    if s.is_done():
        return open_stage(run.work, s.name)
    device = set_up(run, config.seed)
    pictures = open_pictures(run)
    judge, labels = load_judge(run, pictures, device), pictures.labels()
    painter = open_painter(run, device)
    seen = rows_of(pictures, TRAIN, config.pictures, config.seed)
    unseen = rows_of(pictures, 2, config.pictures, config.seed)
    held = rows_of(pictures, HELD, config.held, config.seed)
    out: list[dict[str, Any]] = []

    def add(name: str, x: np.ndarray, entry: np.ndarray, **change: np.ndarray) -> None:
        mine = {h: labels[h][entry] for h in HEADS} | change
        out.append(row(judge, name, x, mine, device))

    if len(unseen):
        add("real, unseen", pictures.batch(unseen.tolist()), unseen)
    for name, entry in (("seen pairs", seen), ("held-out pairs", held)):
        if not len(entry):
            continue
        real = pictures.batch(entry.tolist())
        add(f"real, {name}", real, entry)
        add(f"reconstructed, {name}", rebuild(painter.autoencoder, real, device), entry)
    add("generated, full caption", painter.paint(seen, painter.first_forms(seen), seed=config.seed), seen)
    if len(held):
        add("generated, held-out pairs", painter.paint(held, painter.first_forms(held), seed=config.seed + 1), held)
    draft = painter.paint(seen, painter.first_forms(seen), seed=config.seed, steps=config.draft_steps)
    add(f"generated, full caption, {config.draft_steps} steps", draft, seen)
    bare = painter.paint(seen, painter.first_forms(seen), say=(), seed=config.seed + 2)
    add("generated, name only", bare, seen)
    words = painter.batches.text["held_concept"].long().cpu().numpy()
    if words.min() >= 0:
        rows = np.repeat(np.arange(len(words)), max(1, config.held // len(words)))
        entry = np.resize(seen, len(rows))
        x = painter.paint(entry, painter.first_forms(entry), say=(), held_words=rows, seed=config.seed + 3)
        add("generated, synonyms", x, entry, concept=words[rows])
    if (pair := by_reference(run, painter, seen, config.seed)) is not None:
        add("generated, by reference", *pair)
    ae = gate_figures(painter.autoencoder, gate_pictures(pictures), device)
    report = {
        "bench": "mini",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {"processor": platform.processor() or platform.machine(), "device": str(device)},
        "threads": run.threads,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "settings": asdict(config),
        "autoencoder": ae,
        "training": {n: open_stage(run.work, n).figures for n in ("autoencoder", "judge") if _done(run, n)}
        | {"curve": _curve(run)},
        "rows": out,
        "goals": goals({r["row"]: r for r in out}, ae),
    }
    s.write_json("report.json", report)
    s.finish(goals=report["goals"])
    return open_stage(run.work, s.name)


def _done(run: Run, name: str) -> bool:
    return (run.work / name / "stage.json").is_file()


def _curve(run: Run) -> list[Any]:
    import json

    path = run.work / "transformer" / "curve.json"
    return list(json.loads(path.read_text())) if path.is_file() else []


if __name__ == "__main__":
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--out", type=Path, help="also write the report there")
    args = options.parse_args()
    done = run_stage(run_of(args))
    if args.out:
        write_json(args.out, done.json("report.json"))
    for g in done.figures["goals"]:
        print("met   " if g["met"] else "MISSED", g["goal"], g["value"], "target", g["target"])
