"""Stage `evaluate`: generated pictures scored by the judge, beside real ones and reconstructions; the gate.

    python -m salon.models.mini.recipe.evaluate --work DIR [--by-eye SHARE] [--out results/mini.json] [--model DIR]

Rows: real pictures, their reconstructions, and pictures generated from the full caption, from the name alone, from
kept-back synonyms, and with the style given by a reference picture only. What is compared is drawn from the same plan
entries, and those are of (thing, style) pairs that the JUDGE was not trained on: pairs that it knows are judged far
better, whether model or artist drew them. The held-out pairs are those that no part was trained on. The probes (see
`probes`) stand beside the rows. Resumable row by row.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ....bench.facts import SHIPPED, digests
from ....bench.machine import versions
from ....bench.report import Report
from .autoencoder import gate_figures, gate_pictures, rebuild
from .config import Run, parser, run_of
from .goals import eye_goal, goals, probe_goals
from .judge import load_judge
from .judge_network import Judge
from .looks import is_visible, thumbnail
from .painter import Painter, Stylist, open_painter, open_stylist, references, rows_of
from .pictures import Pictures, open_pictures
from .plan import HELD, JUDGE_HELD, TRAIN
from .probes import (
    best_guidance,
    between_rows,
    curve_rows,
    default_rows,
    draft_choice,
    few_step_rows,
    guidance_rows,
    judged,
    size_rows,
    weight_rows,
)
from .sets import BY_NAME
from .store import Done, Stage, open_stage, read_json, write_json
from .torch_tools import machine_of, set_up

VISIBLE = 2000  # entries of the plan whose objects are looked for


def stage(run: Run) -> Stage:
    names = ("judge", "transformer", "adapter")
    inputs = {n: open_stage(run.work, n).key for n in names if _done(run, n)}
    return Stage(run.work, "evaluate", asdict(run.recipe.evaluate), inputs)


class Saved:
    """Figures by name, written down as soon as each is known, so that a run that was stopped goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.figures: dict[str, Any] = read_json(path) if path.is_file() else {}

    def __call__(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.figures:
            self.figures[name] = make()
            write_json(self.path, self.figures)
            print(name, self.figures[name], flush=True)
        return self.figures[name]


@dataclass
class Examination:
    """Everything that the rows are made with."""

    run: Run
    painter: Painter
    judge: Judge
    pictures: Pictures
    saved: Saved

    def main_rows(self, stylist: Stylist | None) -> dict[str, Any]:
        """Make the rows of the gate, by name."""
        config, painter, saved = self.run.recipe.evaluate, self.painter, self.saved
        seed, rows = config.seed, {}

        def add(name: str, entry: np.ndarray, make: Callable[[], np.ndarray], **more: Any) -> None:
            rows[name] = saved(name, lambda: judged(painter, self.judge, entry, make(), **more))

        unseen, seen, held = (
            rows_of(self.pictures, split, number, seed)
            for split, number in ((JUDGE_HELD, config.pictures), (TRAIN, config.held), (HELD, config.held))
        )
        parts = {"unseen": unseen, "seen pairs": seen, "held-out pairs": held}
        parts = {name: entry for name, entry in parts.items() if len(entry)}
        for name, entry in parts.items():
            drawn = cache(lambda entry=entry: self.pictures.batch(entry.tolist()))
            add(f"real, {name}", entry, drawn)
            add(f"reconstructed, {name}", entry, lambda x=drawn: rebuild(painter.autoencoder, x(), painter.device))
        for number, (name, entry) in enumerate(parts.items()):
            add(f"generated, {name}", entry, lambda e=entry, n=number: painter.paint(e, seed=seed + n))
        bare = next(iter(parts.values()))[: config.held]
        if stylist is not None:
            have, other = references(painter, bare, seed)
            bare = bare[have]
        seed += len(parts)
        add("generated, name only", bare, lambda: painter.paint(bare, say=(), seed=seed), asked=("concept",))
        if stylist is not None:  # the same entries and noise: what differs is the reference's doing

            def by_reference() -> np.ndarray:
                reference = stylist.reference(stylist.vectors(painter, other))
                return painter.paint(bare, say=(), reference=reference, seed=seed)

            add("generated, by reference", bare, by_reference)
        words = painter.batches.text["held_concept"].long().cpu().numpy()
        if words.min() >= 0:
            which = np.repeat(np.arange(len(words)), max(1, config.held // len(words)))
            entry = np.resize(seen, len(which))
            for name, known in (("generated, synonyms", True), ("generated, synonyms as they are", False)):
                add(
                    name, entry,
                    lambda known=known: painter.paint(
                        entry, say=(), held_words=which, nearest_known=known, seed=seed + 1
                    ),
                    asked=("concept",), concept=words[which],
                )  # fmt: skip
        return rows

    def probes(self, stylist: Stylist | None) -> dict[str, Any]:
        """Probe few steps, quality against samples seen, and what the adapter does, each a list of rows."""
        config, painter, judge, saved = self.run.recipe.evaluate, self.painter, self.judge, self.saved
        seed = config.seed + 10
        entry = rows_of(self.pictures, TRAIN, config.probe, seed)
        out = {
            "few steps": saved("few steps", lambda: few_step_rows(painter, judge, entry, config, seed)),
            "sizes": saved("sizes", lambda: size_rows(painter, judge, entry[: len(entry) // 2], seed)),
            "curve": saved("curve", lambda: curve_rows(self.run, painter, judge, entry, seed)),
        }
        if stylist is not None:
            out |= {
                "weights": saved("weights", lambda: weight_rows(painter, stylist, judge, entry, seed)),
                "between": saved("between", lambda: between_rows(painter, stylist, judge, entry, seed)),
                "default style": saved("default style", lambda: default_rows(painter, stylist, judge, entry, seed)),
            }
        return out


def visible_share(pictures: Pictures, number: int, seed: int) -> float:
    """Measure the share of random plan entries whose object can be seen."""
    rows = np.random.default_rng(seed).permutation(len(pictures.entries))[:number]
    seen = [
        is_visible(
            thumbnail(pictures.rgba[int(pictures.entries[r, 0])]), pictures.look(r), ink=BY_NAME[pictures.style(r)].ink
        )
        for r in rows
    ]
    return float(np.mean(seen))


def run_stage(run: Run) -> Done:
    config, s = run.recipe.evaluate, stage(run)
    if s.is_done():
        return open_stage(run.work, s.name)
    open_stage(run.work, "transformer")  # a running one's weights may be looked at, not measured
    device = set_up(run, config.seed)
    pictures = open_pictures(run)
    judge, painter = load_judge(run, pictures, device), open_painter(run, device)
    saved = Saved(s.path(f"resume/{s.key}.json"))
    tuning = rows_of(pictures, TRAIN, config.probe, config.seed + 20)
    guidance = saved("guidance", lambda: guidance_rows(painter, judge, tuning, config, config.seed + 20))
    painter.sampler = replace(painter.sampler, guidance=best_guidance(guidance))
    stylist = open_stylist(run, painter)
    examination = Examination(run, painter, judge, pictures, saved)
    rows, probes = examination.main_rows(stylist), examination.probes(stylist)
    autoencoder = saved("autoencoder", lambda: gate_figures(painter.autoencoder, gate_pictures(pictures), device))
    visible = saved("visible", lambda: visible_share(pictures, VISIBLE, config.seed))
    reached = goals(rows, autoencoder, pictures.plan, visible) + probe_goals(probes)
    trained = {
        name: open_stage(run.work, name)
        for name in ("autoencoder", "transformer", "judge", "style_encoder", "adapter")
        if _done(run, name)
    }
    report = Report.start(
        "mini",
        tied_to="digest",
        threads=run.threads,
        model=None,  # named by `--out`: these weights are a folder only once they are exported
        quick=run.recipe.name != "full",
        isa=f"torch on {device.type}",
        more={"device": machine_of(device)},
    )
    report.versions = versions(("torch", "diffusers", "transformers", "numpy", "mkl"))
    report.rows = [{"row": name, **figures} for name, figures in rows.items()]
    report.goals = reached
    report.details = {
        "settings": asdict(config),
        "sampler": asdict(painter.sampler),
        "draft": draft_choice(probes["few steps"]),
        "precision": f"weights bfloat16, the blocks' products {painter.products}, everything else float32",
        "training": {name: done.figures for name, done in trained.items()},
        "loss": _curve(run),
        "probes": {"guidance": guidance, "autoencoder": autoencoder, **probes},
    }
    s.write_json("report.json", report.as_dict())
    s.finish(goals=[goal.as_dict() for goal in reached])
    return open_stage(run.work, s.name)


def _eye(run: Run) -> Path:
    return stage(run).path(f"resume/{stage(run).key}-by-eye.json")


def keep_eye(run: Run, share: float) -> None:
    """Write down which share of sheets' `random.png` a person named correctly."""
    write_json(_eye(run), share)


def finished(run: Run) -> dict[str, Any] | None:
    """Return the evaluation's report, whose last goal only a person can measure; None when there is none.

    Raises CacheError when it is damaged or not of these weights.
    """
    s = stage(run)
    if not _done(run, s.name):
        return None
    report: dict[str, Any] = open_stage(run.work, s.name, key=s.key).json("report.json")
    share = read_json(_eye(run)) if _eye(run).is_file() else None
    return report | {"goals": [*report["goals"], eye_goal(share).as_dict()]}


def _done(run: Run, name: str) -> bool:
    return (run.work / name / "stage.json").is_file()


def _curve(run: Run) -> list[Any]:
    path = run.work / "transformer" / "curve.json"
    return list(read_json(path)) if path.is_file() else []


if __name__ == "__main__":
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--out", type=Path, help="also write the report there, as of the weights in --model")
    options.add_argument("--model", type=Path, default=SHIPPED, help="where these weights were exported to")
    options.add_argument("--by-eye", type=float, help="share of sheets' random.png that a person named correctly")
    args = options.parse_args()
    run = run_of(args)
    run_stage(run)
    if args.by_eye is not None:
        keep_eye(run, args.by_eye)
    shown = finished(run) or {}
    if args.out:
        write_json(args.out, shown | {"model": digests(args.model.resolve())})
    for g in shown["goals"]:
        print("met   " if g["met"] else "MISSED", g["goal"], g["value"], "target", g["target"])
