"""Whether tastes are learned: simulated users with hidden tastes over what the kept judge sees.

`python -m salon.models.mini.recipe.taste --work DIR [--quick] [--threads N] [--only PART ...]`

Users (`bench/taste/users.py`) answer pairs of pictures of one thing in several looks, drawn by the shipped model.
`curves`: how many of their choices between pictures of other things are predicted after 2 to 200 events, as a share of
what knowing the user exactly would predict; with active and random pairs, with and without what is known of users in
general, with an ideal point. After 1,500 random events hardly anything is left to learn: that is what the features can
tell. `verdicts`: what reports call users who click at random, and users with a taste. What becomes of pictures is
measured by `taste_pictures.py`. DIR keeps the pictures that are ranked. Needs the `train` extra and a checkout.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ....bench.runner import Bench, positive, run
from ....bench.taste.curves import SESSIONS, Learners, Told, curves, same_eyes, tell
from ....bench.taste.sessions import EVENTS, Shelf
from ....bench.taste.users import User, crowd, kinds_of
from ....bench.taste.verdicts import verdicts
from ....engine.taste.space import TasteSpace
from .judge_file import KEPT, KeptJudge
from .knobs import Looker
from .sets import BY_NAME
from .taste_set import PictureSet, picture_set

PARTS = ("curves", "verdicts")
SEED = 1  # of the pictures that are ranked
GROUPS, EACH = 75, 8  # things, and pictures of each
USERS = 50
EARLY = 16  # events of the profile that has to win against none
COLUMNS = [
    ["pairs", "learner", "events", "users", "accuracy", "accuracy_low", "accuracy_high", "ceiling", "share", "ece"],
    ["named", "pictures", "by_encoder", "by_judge", "alike"],
    ["verdicts_of", "answered", "nothing", "weak", "strong", "heard", "predicted", "consistency"],
]


@dataclass(frozen=True, eq=False)
class Setting:
    """What users rank, and what is known of it.

    Attributes:
        looker: the engine and the judge.
        space: of the model's styles.
        ranked, held: pictures that are in pairs, and of other things that are in none.
        users: the simulated ones.
        pictures: all of them.
    """

    looker: Looker
    space: TasteSpace
    ranked: Shelf
    held: Shelf
    users: list[User]
    pictures: PictureSet

    @classmethod
    def of(cls, bench: Bench) -> Setting:
        """Draw the pictures, or read them, and make the users; state both."""
        judge = KeptJudge.read(bench.options.judge)
        looker = Looker(bench.threads, judge, 2 if bench.tiny else None)
        space = looker.engine.info.taste
        assert space is not None, "the shipped model has styles"
        bench.use("torch")
        bench.note(f"judge: SHA-256 {judge.digest}, trained on {judge.card['samples']} pictures")
        bench.report.details["judge"] = {"sha256": judge.digest, "accuracy": judge.card["accuracy"]}
        groups, each = bench.pick((6, 4), (24, EACH), (GROUPS, EACH))
        with tempfile.TemporaryDirectory(prefix="salon-taste-") as folder:
            work = bench.options.work or Path(folder)
            with bench.progress("pictures to rank", -(-groups * each // 16)) as advance:
                pictures = picture_set(looker, work, groups, each, SEED, advance)
        ranked, held = shelves(space, pictures)
        users = crowd(kinds_of(bench.options.users or bench.pick(3, 12, USERS)), ranked.looks, ranked.pairs, seed=0)
        bench.note(f"{len(users)} users; {len(ranked.groups)} pictures to rank, {len(held.groups)} held out")
        return cls(looker, space, ranked, held, users, pictures)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--judge", type=Path, default=KEPT, help="its folder (bench/judge of this checkout)")
    parser.add_argument("--work", type=Path, help="folder that keeps the pictures that are ranked")
    parser.add_argument("--users", type=positive, help=f"how many users (default: {USERS})")


def with_parts(parser: argparse.ArgumentParser) -> None:
    arguments(parser)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="these parts alone")


def shelves(space: TasteSpace, pictures: PictureSet) -> tuple[Shelf, Shelf]:
    """Return the pictures that are ranked, and those of the last third of the things, which are held out."""
    coordinates = space.coordinates(pictures.vectors)
    last = pictures.groups >= (2 * (pictures.groups.max() + 1)) // 3
    parts = (np.flatnonzero(~last), np.flatnonzero(last))
    ranked, held = (Shelf.of(coordinates[at], pictures.groups[at], pictures.looks.of(at)) for at in parts)
    return ranked, held


def eyes(bench: Bench, setting: Setting) -> None:
    """Add a row of how well the model's encoder and the judge name the drawing set that a prompt asked for.

    Users go by the judge and the learner by the encoder: what these see differently cannot be learned.
    """
    space, pictures = setting.space, setting.pictures
    (at,) = (k for k, factor in enumerate(space.factors) if factor.name == "style")
    words = space.factors[at].classes
    assert words == tuple(BY_NAME[name].words for name in setting.looker.judge.card["classes"]["style"])
    asked = [next((k for k, word in enumerate(words) if f"{word} style" in prompt), -1) for prompt in pictures.prompts]
    wanted = np.array(asked)
    by_encoder = space.coordinates(pictures.vectors)[:, space.groups[at]].argmax(1)
    by_judge = pictures.looks.shares["style"].argmax(1)
    told = wanted >= 0
    bench.row(
        named="drawing sets",
        pictures=int(told.sum()),
        by_encoder=float((by_encoder == wanted)[told].mean()),
        by_judge=float((by_judge == wanted)[told].mean()),
        alike=float((by_encoder == by_judge)[told].mean()),
    )


def body(bench: Bench) -> None:
    bench.columns = COLUMNS
    chosen, setting = set(bench.options.only or PARTS), Setting.of(bench)
    learners, events = Learners.of(setting.space), bench.pick(EARLY, EVENTS[-1], EVENTS[-1])
    sessions = SESSIONS if "curves" in chosen else SESSIONS[:1]
    with bench.progress("answers", len(setting.users)) as advance:
        told: Told = tell(setting.users, setting.ranked, learners, sessions, events, advance)
    if "curves" in chosen:
        with bench.progress("curves", 8) as advance:
            curves(bench, setting.users, told, setting.held, learners, advance)
            same_eyes(bench, setting.users, setting.ranked, setting.held, events, advance)
        eyes(bench, setting)
    if "verdicts" in chosen:
        with bench.progress("verdicts", 4) as advance:
            verdicts(bench, setting.space, setting.ranked, setting.users, told, advance)


main = partial(run, "taste", (__doc__ or "").splitlines()[0], body, arguments=with_parts, tied_to="digest",
               prog="python -m salon.models.mini.recipe.taste")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
