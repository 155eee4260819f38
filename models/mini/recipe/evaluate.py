"""Stage `evaluate`: generated pictures scored by the judge, beside real ones and reconstructions; the gate.

    python -m salon.models.mini.recipe.evaluate --work DIR [--by-eye SHARE] [--out bench/results/mini.json]

Every row draws the same plan entries: the real pictures, their reconstructions, pictures generated from the full
caption, from the name alone, from kept-back synonyms, and with the style given by a reference picture only. The probes
(see `probes`) stand beside the rows. Resumable row by row.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import datetime
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ....bench.machine import describe, versions
from .autoencoder import gate_figures, gate_pictures, rebuild
from .config import Run, parser, run_of
from .goals import eye_goal, goals, probe_goals
from .judge import Judge, load_judge
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
from .torch_tools import set_up

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
        """The rows of the gate by name."""
        config, painter, saved = self.run.recipe.evaluate, self.painter, self.saved
        seed, rows = config.seed, {}

        def add(name: str, entry: np.ndarray, make: Callable[[], np.ndarray], **change: np.ndarray) -> None:
            rows[name] = saved(name, lambda: judged(painter, self.judge, entry, make(), **change))

        def real(entry: np.ndarray) -> np.ndarray:
            return self.pictures.batch(entry.tolist())

        seen, unseen, held = (
            rows_of(self.pictures, split, number, seed)
            for split, number in ((TRAIN, config.pictures), (JUDGE_HELD, config.pictures), (HELD, config.held))
        )
        if len(unseen):
            add("real, unseen", unseen, lambda: real(unseen))
        parts = [("seen pairs", seen), *([("held-out pairs", held)] if len(held) else [])]
        for name, entry in parts:
            add(f"real, {name}", entry, lambda entry=entry: real(entry))
            rebuilt = lambda entry=entry: rebuild(painter.autoencoder, real(entry), painter.device)  # noqa: E731
            add(f"reconstructed, {name}", entry, rebuilt)
        add("generated, full caption", seen, lambda: painter.paint(seen, seed=seed))
        if len(held):
            add("generated, held-out pairs", held, lambda: painter.paint(held, seed=seed + 1))
        add("generated, name only", seen, lambda: painter.paint(seen, say=(), seed=seed + 2))
        words = painter.batches.text["held_concept"].long().cpu().numpy()
        if words.min() >= 0:
            which = np.repeat(np.arange(len(words)), max(1, config.held // len(words)))
            entry = np.resize(seen, len(which))
            add(
                "generated, synonyms", entry, lambda: painter.paint(entry, say=(), held_words=which, seed=seed + 3),
                concept=words[which],
            )  # fmt: skip
        if stylist is not None:
            have, other = references(painter, seen, seed)
            mine = seen[have]

            def by_reference() -> np.ndarray:
                reference = stylist.reference(stylist.vectors(painter, other))
                return painter.paint(mine, say=(), reference=reference, seed=seed + 4)

            add("generated, by reference", mine, by_reference)
        return rows

    def probes(self, stylist: Stylist | None) -> dict[str, Any]:
        """Few steps, quality against samples seen, and what the adapter does, each a list of rows."""
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
    """Share of random plan entries whose object can be seen."""
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
    report = {
        "bench": "mini",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": run.recipe.name != "full",
        "machine": describe() | {"device": str(device)},
        "threads": run.threads,
        "versions": versions(("torch", "diffusers", "transformers", "numpy")),
        "settings": asdict(config),
        "sampler": asdict(painter.sampler),
        "draft": draft_choice(probes["few steps"]),
        "training": {n: open_stage(run.work, n).figures for n in ("autoencoder", "judge", "adapter") if _done(run, n)},
        "loss": _curve(run),
        "rows": [{"row": name, **figures} for name, figures in rows.items()],
        "probes": {"guidance": guidance, "autoencoder": autoencoder, **probes},
        "goals": [goal.as_dict() for goal in reached],
        "notes": [],
    }
    s.write_json("report.json", report)
    s.finish(goals=report["goals"])
    return open_stage(run.work, s.name)


def with_eye(report: dict[str, Any], share: float | None) -> dict[str, Any]:
    """The report with the goal that only a person can measure, last."""
    return report | {"goals": [*report["goals"], eye_goal(share).as_dict()]}


def _done(run: Run, name: str) -> bool:
    return (run.work / name / "stage.json").is_file()


def _curve(run: Run) -> list[Any]:
    path = run.work / "transformer" / "curve.json"
    return list(read_json(path)) if path.is_file() else []


if __name__ == "__main__":
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--out", type=Path, help="also write the report there")
    options.add_argument("--by-eye", type=float, help="share of sheets' random.png that a person named correctly")
    args = options.parse_args()
    report = with_eye(run_stage(run_of(args)).json("report.json"), args.by_eye)
    if args.out:
        write_json(args.out, report)
    for g in report["goals"]:
        print("met   " if g["met"] else "MISSED", g["goal"], g["value"], "target", g["target"])
