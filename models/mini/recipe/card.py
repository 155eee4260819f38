"""The model card, written from the stages' own records: what was done, with which figures, and what is missed."""

from itertools import pairwise
from pathlib import Path
from textwrap import fill
from typing import Any

from .captions import SLOTS
from .config import Run
from .looks import BACKGROUNDS, FINISHES, PALETTES
from .sets import SETS, attribution
from .sets import Licence as _Licence
from .store import open_stage, read_json

LIMITS = Path(__file__).with_name("limits.md")  # written by hand, after looking at pictures
PAUSE = 1200.0  # seconds between two points of a curve above which the training was stopped in between
NOISE = """\
`unseen`: pairs of thing and style that the judge was not trained on, `seen pairs`: that it was, `held-out pairs`: that
nothing was. Empty cells were not asked for. `style_natural`: of those in their set's own colours. A share p of n
pictures has a standard error of sqrt(p (1 - p) / n): .01 of .9 among 1,024, .03 among 100."""
SHEETS = "../../docs/images/mini"  # from the folder that ships
SHOWN = {
    "random": "100 drawn at random",
    "styles": "styles, the noise being the same",
    "backgrounds": "backgrounds",
    "weights": "a style reference under weights from 0 to 2.5",
    "between": "from one style to another",
    "size-256x256": "256 x 256, asked for directly",
    "enlarged": "128 x 128, enlarged to 256 x 256 by the second stage",
    "size-96x176": "16:9",
    "real": "drawings held out of the training, and their reconstructions",
}
USE = """\
A prompt is a list of clauses with commas between them: `a red apple, 3d render, on a teal background, sepia tones,
sticker outline`. The first names the thing; the others come in any order. Each clause is encoded on its own. Its token
states, without the two special tokens, are brought to mean 0 and deviation 1 with `text_stats.safetensors` and written
into the clause's rows; empty rows are zeros. The pooled vector is the mean state of the subject clause, brought to
mean 0 and deviation 1 with its own statistics. The unconditional input is zeros throughout. The model's timestep is
sigma in 0..1; its output is the velocity noise - data.

Every component loads in diffusers unchanged: `FluxTransformer2DModel`, `AutoencoderKL` and
`FlowMatchEulerDiscreteScheduler` by `from_pretrained(folder, subfolder=...)`, `transformers.BertModel` and
`BertTokenizer` likewise, `adapter.safetensors` by `load_ip_adapter`. So does the pipeline, given that there is no
second text encoder:

    FluxPipeline.from_pretrained(folder, text_encoder_2=None, tokenizer_2=None)

It wants `prompt_embeds`, `pooled_prompt_embeds` and their `negative_` twins (zeros) made as above, and
`true_cfg_scale`; it cannot encode a prompt itself, because it knows nothing of clauses."""


def card(run: Run, plan: dict[str, Any], weights: dict[str, Any], report: dict[str, Any] | None, out: Path) -> str:
    """Write the card as Markdown for the folder `out`. `report` is the evaluation's, None when it has not run."""
    r = run.recipe
    fetched = open_stage(run.work, "fetch").json("licences.json")
    licences = [_Licence(**{k: v for k, v in x.items() if k != "sha256"}) for x in fetched]
    counts = open_stage(run.work, "plan").figures
    total = sum(entry["bytes"] for entry in weights.values())
    parts = [
        "# Salon mini",
        "",
        fill(
            f"The model that comes with Salon: {len(plan['concepts'])} simple things in {len(SETS)} drawing styles, "
            f"{len(PALETTES)} palettes, {len(BACKGROUNDS)} backgrounds and {len(FINISHES)} finishes, {r.data.size} x "
            f"{r.data.size} pixels, small enough to lie in the package and to run in seconds on a plain CPU. It exists "
            "so that Salon works, can be tested and can be compared without downloading anything. It is not a rival "
            "of large models. `recipe/` makes it.",
            120,
        ),
        "",
        "## Files",
        "",
        *(f"- `{name}`: {entry['bytes'] / 1e6:.2f} MB, SHA-256 `{entry['sha256']}`" for name, entry in weights.items()),
        f"- together {total / 1e6:.1f} MB, bfloat16; the text encoder (all-MiniLM-L6-v2, float16) apart",
        "- `salon.json`: text pipeline, known words, default settings, default style, vocabulary",
        "- `nouns.json`: which other nouns are drawn as which of these names, and which are not (recipe/nouns.py)",
        "- `licences.json`, `NOTICE`: where everything comes from, under which licence, with content hashes",
        "",
        "## Use",
        "",
        USE,
        "",
        "## Words",
        "",
        f"- styles: {', '.join(s.words for s in SETS)}",
        f"- palettes: {', '.join(v or k for k, v in PALETTES.items())}",
        f"- backgrounds: {', '.join(BACKGROUNDS)}",
        f"- finishes: {', '.join(v for v in FINISHES.values() if v)}",
        f"- text rows: {', '.join(f'{n} {t}' for n, t, _ in SLOTS)}",
        "- things: `vocabulary.concepts` in `salon.json`",
        "",
        "## Data",
        "",
        f"{counts['drawings']} drawings of {counts['concepts']} things, {counts['entries']} pictures; {counts['held']} "
        "(thing, style) pairs were held out of all training (the weights that the autoencoder started from had seen "
        "their sets).",
        "",
        attribution(licences).split("\n", 2)[2].strip(),
        "",
        "## Training",
        "",
        *training(run),
        "",
        "## Figures",
        "",
        *(figures(report) if report else ["The evaluation has not run."]),
        "",
        *pictures(out),
        "## Limits",
        "",
        LIMITS.read_text().strip(),
        "",
    ]
    return "\n".join(parts)


def pictures(out: Path) -> list[str]:
    """Write the section that shows those sheets which lie where the card looks for them."""
    there = [name for name in SHOWN if (out / SHEETS / f"{name}.webp").is_file()]
    lines = [line for n in there for line in (f"{SHOWN[n].capitalize()}:", "", f"![{SHOWN[n]}]({SHEETS}/{n}.webp)", "")]
    return ["## Pictures", "", *lines] if there else []


def listed(settings: dict[str, Any]) -> str:
    """Write settings as words: 'steps 20, guidance 3.0'."""
    return ", ".join(f"{k} {v}" for k, v in settings.items() if v != "")


def hours(curve: list[dict[str, Any]]) -> float:
    """Count the hours of training between the first and the last point of a curve, pauses left out."""
    steps = [float(b["time"] - a["time"]) for a, b in pairwise(curve)]
    return float(sum(s for s in steps if s < PAUSE)) / 3600.0


def training(run: Run) -> list[str]:
    """Write a line for every trained part that has finished, and the loss curve of the transformer so far."""
    out = []
    for name, unit in (
        ("autoencoder", "crops"),
        ("transformer", "samples"),
        ("style_encoder", "samples"),
        ("adapter", "samples"),
        ("judge", "samples"),
    ):
        if (run.work / name / "stage.json").is_file():
            done = open_stage(run.work, name)
            where = f" on {machine}" if (machine := done.figures.get("machine")) else ""
            out.append(f"- {name}: {done.figures[unit]:,} training {unit}{where}; settings {listed(done.config)}")
            earlier = done.figures.get("before")
            while earlier:  # the last one first
                out.append(f"  - it goes on from weights of {earlier['samples']:,} {unit} on {earlier['machine']}")
                out += curve(f"the {name} until there", earlier["curve"])
                earlier = earlier.get("before")
    path = run.work / "transformer" / "curve.json"
    return out + (curve("the transformer", read_json(path)) if path.is_file() else [])


def curve(of: str, points: list[dict[str, Any]]) -> list[str]:
    """Write the table of a loss curve."""
    if not points:
        return []
    out = ["", f"Loss of {of} ({hours(points) * 60:.0f} minutes from the first point to the last):", ""]
    out += ["| samples | training loss | seen pairs | held-out pairs |", "|---|---|---|---|"]
    for p in (*points[: -1 : max(1, len(points) // 12)], points[-1]):
        held = f"{p['held']:.4f}" if "held" in p else ""
        out.append(f"| {p['samples']:,} | {p['loss']:.4f} | {p.get('seen', float('nan')):.4f} | {held} |")
    return [*out, ""]


def cell(row: dict[str, Any], head: str) -> str:
    """Write a figure of a row, empty where it was not asked for."""
    return f"{row[head]:.3f}" if head in row else ""


def figures(report: dict[str, Any]) -> list[str]:
    """Write the judge's table, quality against samples, and the goals, missed ones included."""
    heads = ("concept", "concept5", "style", "style_natural", "palette", "background", "finish")
    rows = [(row["row"], row) for row in report["rows"]]
    rows += [(f"generated after {row['samples']:,} samples", row) for row in report["details"]["probes"]["curve"]]
    out = [f"| pictures | n | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    out += [f"| {name} | {row['pictures']} | {' | '.join(cell(row, h) for h in heads)} |" for name, row in rows]
    how = report["details"]
    out += ["", f"Drawn with {listed(how['sampler'])}; a draft with {listed(how['draft'])}. {how['precision']}.", ""]
    out += [NOISE, "", *(f"- {note}" for note in report["notes"]), ""]
    out += ["| goal | target | reached | |", "|---|---|---|---|"]
    for g in report["goals"]:
        name = f"{g['goal']} ({g['note']})" if g.get("note") else g["goal"]
        value = "not measured" if g["value"] is None else f"{g['value']:.3f}"
        out.append(f"| {name} | {g['target']} | {value} | {'met' if g['met'] else 'missed'} |")
    return out
