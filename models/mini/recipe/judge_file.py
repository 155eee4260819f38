"""The judge as it is kept beside the benchmarks: weights in half precision, and a card of what it can do.

    python -m salon.models.mini.recipe.judge_file --work DIR --out bench/judge

Figures of quality are comparable only if the same judge gave them, so one is kept and its digest is stated with them.
The accuracies of its card are those of the file, measured after rounding, on real pictures.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

from ....bench.facts import SHIPPED
from ....bench.machine import commit
from .config import Run, parser, run_of
from .errors import CacheError
from .judge import classes_of, load_judge, measure, score
from .judge_network import HEADS, Judge
from .pictures import Pictures, open_pictures
from .plan import HELD, JUDGE_HELD, TRAIN
from .probes import as_square
from .progress import track
from .store import atomic, open_stage, read_json, write_json
from .torch_tools import set_up

WEIGHTS, CARD = "judge.safetensors", "judge.json"
KEPT = SHIPPED.parents[1] / "bench" / "judge"  # of this checkout
TABLES = {  # head -> the plan's table of its classes
    "concept": "concepts", "style": "styles", "palette": "palettes", "background": "backgrounds", "finish": "finishes",
}  # fmt: skip
PARTS = {"seen": TRAIN, "unseen": JUDGE_HELD, "held": HELD}


@dataclass(frozen=True)
class KeptJudge:
    """A judge read from its folder.

    Attributes:
        network: its towers and heads, in float32.
        card: what `judge.json` holds: names of every head's classes, accuracies, split, settings.
        digest: SHA-256 of its weights.
    """

    network: Judge
    card: Mapping[str, Any]
    digest: str

    @classmethod
    def read(cls, folder: Path) -> "KeptJudge":
        """Read the judge. Raises CacheError when the weights are not those of the card, or there are none."""
        weights, card = folder / WEIGHTS, folder / CARD
        for path in (weights, card):
            if not path.is_file():
                raise CacheError(f"{path} is missing: a checkout has it in bench/judge, the installed package has not")
        data, facts = weights.read_bytes(), read_json(card)
        digest = hashlib.sha256(data).hexdigest()
        if digest != facts["sha256"]:
            raise CacheError(f"{weights} has SHA-256 {digest}, its card says {facts['sha256']}: restore one of them")
        settings, classes = facts["settings"], facts["classes"]
        network = Judge(settings["width"], settings["deep"], {head: len(classes[head]) for head in HEADS})
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load(data).items()})
        return cls(network.eval(), facts, digest)

    def scores(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
        """Return class scores [N, classes] of pictures [N, H, W, 3] in 0..1, per head.

        Pictures that are not square are judged by their middle square, larger ones by their mean over the pixels of the
        size that it learned on.
        """
        x = pictures.astype(np.float32)
        side = int(self.card["side"])
        return score(self.network, x if x.shape[1:3] == (side, side) else as_square(x, side), torch.device("cpu"))

    def names(self, pictures: np.ndarray) -> list[dict[str, str]]:
        """Return what it sees in pictures [N, H, W, 3] in 0..1: the name of the likeliest class of every head."""
        best = {head: s.argmax(1) for head, s in self.scores(pictures).items()}
        return [{head: self.card["classes"][head][int(best[head][n])] for head in HEADS} for n in range(len(pictures))]


def write(folder: Path, judge: Judge, card: dict[str, Any]) -> dict[str, Any]:
    """Write weights in half precision and the card, with their size and digest. OverflowError if one does not fit."""
    half = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in judge.state_dict().items()}
    if wrong := [k for k, v in half.items() if not torch.isfinite(v).all()]:
        raise OverflowError(f"{wrong[0]} does not fit half precision")
    data = save(half)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / WEIGHTS) as file:
        file.write(data)
    card = card | {"precision": "float16", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    write_json(folder / CARD, card)
    return card


def split_of(pictures: Pictures, run: Run) -> dict[str, Any]:
    """Split pictures into those it was trained on and those not: pairs of thing and drawing set are hidden as a
    whole."""
    square = pictures.entries[:, 4] == 0
    counts = Counter(pictures.entries[square, 5].tolist())
    return {
        "of": "pairs of thing and drawing set; square pictures",
        "seed": run.recipe.data.seed,
        "pairs hidden from everybody": len(pictures.plan["held"]),
        "pairs hidden from the judge": len(pictures.plan["judge_held"]),
        "pictures": {name: counts[value] for name, value in PARTS.items()},
        "plan": open_stage(run.work, "plan").key,
    }


def keep(run: Run, folder: Path) -> dict[str, Any]:
    """Write the finished judge of a work folder into `folder`; its card, with accuracies of all pictures of each part
    that was hidden from it, and of as many that were not."""
    device, done, pictures = set_up(run, 0), open_stage(run.work, "judge"), open_pictures(run)
    judge = load_judge(run, pictures, device)
    classes = {head: pictures.plan[table] for head, table in TABLES.items()}
    assert {head: len(names) for head, names in classes.items()} == classes_of(pictures)
    card: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "samples": done.figures["samples"],
        "machine": done.figures["machine"],
        "settings": {k: done.config[k] for k in ("seed", "width", "deep", "batch", "rate", "held_pairs")},
        "side": pictures.plan["buckets"][0][0],
        "split": split_of(pictures, run),
        "classes": classes,
    }
    write(folder, judge, card)
    kept = KeptJudge.read(folder)
    square, split = pictures.entries[:, 4] == 0, pictures.entries[:, 5]
    hidden = int(((split == JUDGE_HELD) & square).sum())
    accuracy = {}
    for name, value in track(PARTS.items(), "accuracy", len(PARTS)):
        rows = np.random.default_rng(value).permutation(np.flatnonzero((split == value) & square))[:hidden]
        rows.sort()  # in the plan's order a drawing's looks follow each other, which is faster
        if len(rows):
            figures = measure(kept.network, pictures, rows, device)
            accuracy[name] = {"pictures": len(rows), **{k: round(v, 4) for k, v in figures.items()}}
    return write(folder, judge, card | {"accuracy": accuracy})


if __name__ == "__main__":
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--out", type=Path, required=True, help="folder of the weights and the card")
    args = options.parse_args()
    card = keep(run_of(args), args.out)
    print({k: card[k] for k in ("samples", "bytes", "sha256", "accuracy")})
