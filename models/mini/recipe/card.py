"""The model card, written from the stages' own records: what was done, with which figures, and what is missed."""

from typing import Any

from .captions import SLOTS
from .config import Run
from .looks import BACKGROUNDS, FINISHES, PALETTES
from .sets import SETS, attribution
from .sets import Licence as _Licence
from .store import open_stage, read_json


def card(run: Run, plan: dict[str, Any], weights: dict[str, Any], report: dict[str, Any] | None) -> str:
    """The card as Markdown. `report` is the evaluation's, None when it has not run."""
    r = run.recipe
    fetched = open_stage(run.work, "fetch").json("licences.json")
    licences = [_Licence(**{k: v for k, v in x.items() if k != "sha256"}) for x in fetched]
    counts = open_stage(run.work, "plan").figures
    parts = [
        "# Model card",
        "",
        f"{len(plan['concepts'])} things in {len(SETS)} drawing styles, {len(PALETTES)} palettes, {len(BACKGROUNDS)} "
        f"backgrounds and {len(FINISHES)} finishes, {r.data.size} x {r.data.size} pixels.",
        "",
        "## Files",
        "",
        *(f"- `{name}`: {entry['bytes'] / 1e6:.2f} MB, SHA-256 `{entry['sha256']}`" for name, entry in weights.items()),
        "",
        "## Data",
        "",
        f"{counts['drawings']} drawings of {counts['concepts']} things, {counts['entries']} pictures; {counts['held']} "
        "(thing, style) pairs were held out of all training.",
        "",
        attribution(licences).split("\n", 2)[2].strip(),
        "",
        "## Words",
        "",
        f"- styles: {', '.join(s.words for s in SETS)}",
        f"- palettes: {', '.join(v or k for k, v in PALETTES.items())}",
        f"- backgrounds: {', '.join(BACKGROUNDS)}",
        f"- finishes: {', '.join(v for v in FINISHES.values() if v)}",
        f"- text rows: {', '.join(f'{n} {t}' for n, t, _ in SLOTS)}",
        "",
        "## Training",
        "",
        *training(run),
        "",
        "## Figures",
        "",
        *(figures(report) if report else ["The evaluation has not run."]),
        "",
    ]
    return "\n".join(parts)


def training(run: Run) -> list[str]:
    """A line for every trained part that has finished, and the loss curve of the transformer so far."""
    out = []
    for name, unit in (
        ("autoencoder", "crops"),
        ("transformer", "samples"),
        ("adapter", "samples"),
        ("judge", "samples"),
    ):
        if (run.work / name / "stage.json").is_file():
            done = open_stage(run.work, name)
            out.append(f"- {name}: {done.figures[unit]:,} training {unit}; settings {done.config}")
    curve = run.work / "transformer" / "curve.json"
    if curve.is_file():
        points = read_json(curve)
        out += ["", "| samples | training loss | seen pairs | held-out pairs |", "|---|---|---|---|"]
        for p in points[:: max(1, len(points) // 12)]:
            held = f"{p['held']:.4f}" if "held" in p else ""
            out.append(f"| {p['samples']:,} | {p['loss']:.4f} | {p.get('seen', float('nan')):.4f} | {held} |")
    return out


def figures(report: dict[str, Any]) -> list[str]:
    """The judge's table and the goals, missed ones included."""
    heads = ("concept", "concept5", "style", "palette", "background", "finish")
    out = [f"| pictures | n | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    for row in report["rows"]:
        out.append(f"| {row['row']} | {row['pictures']} | {' | '.join(f'{row[h]:.3f}' for h in heads)} |")
    out += ["", "| goal | target | reached | |", "|---|---|---|---|"]
    for g in report["goals"]:
        value = "not measured" if g["value"] is None else f"{g['value']:.3f}"
        out.append(f"| {g['goal']} | {g['target']} | {value} | {'met' if g['met'] else 'missed'} |")
    return out
