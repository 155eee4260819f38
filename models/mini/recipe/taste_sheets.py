"""Sheets of tastes to look at: what profiles of simulated users draw, at rising strengths, and blended.

    python -m salon.models.mini.recipe.taste_sheets --work DIR --out docs/images/taste

`users.webp`: users with what they like; the same things and seeds without a profile, with theirs, and with its
opposite. `strength.webp`: `--s` 0 to 1000 with a profile. `blend.webp`: from one code to another. The users and the
pictures that they ranked are those of `taste.py`; everything is drawn with the model's usual steps.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ....bench.taste.curves import SESSIONS, Learners, tell
from ....bench.taste.sessions import EVENTS
from ....bench.taste.users import CONSISTENT, FACTORS, TONES, User, crowd, kinds_of
from ....engine.taste.preference import learn
from ....engine.taste.vectors import anti_vector, profile_vector
from .judge_file import KEPT, KeptJudge
from .knobs import Looker, Pictures
from .looks import PALETTES
from .sets import BY_NAME
from .taste import EACH, GROUPS, SEED, USERS, shelves
from .taste_effects import STRENGTHS, USUAL
from .taste_painter import Painter, Way
from .taste_set import picture_set

THINGS: Final = ("cat", "rocket", "teapot")
SHOWN: Final = 6  # users
SIDE, GAP, BAND, LEFT, TOP = 88, 3, 14, 190, 20


def liked(user: User, judge: KeptJudge) -> str:
    """Return what a user likes in words, what matters most first."""
    classes = judge.card["classes"]
    names = {
        "style": [BY_NAME[name].words for name in classes["style"]],
        "palette": [PALETTES[name] or "natural colours" for name in classes["palette"]],
        "tone": [f"{name} grounds" for name in TONES],
        "finish": ["no finish" if name == "none" else name for name in classes["finish"]],
    }
    order = sorted(FACTORS, key=lambda factor: -user.importance[factor])
    parts = [" or ".join(names[factor][k] for k in user.liked[factor]) for factor in order]
    return f"{parts[0]}; less so: {', '.join(parts[1:])}"


def sheet(
    blocks: Sequence[Sequence[Sequence[Pictures]]], titles: Sequence[str], labels: Sequence[str], left: int = LEFT
) -> Image.Image:
    """Lay out rows of blocks of pictures side by side, with a title above each block and a label before each row.

    Args:
        blocks: row -> block -> pictures uint8 [H, W, 3].
    """
    small = ImageFont.load_default(12)
    widths = [len(block) * (SIDE + GAP) + BAND for block in blocks[0]]
    out = Image.new("RGB", (left + sum(widths), TOP + len(blocks) * (SIDE + GAP)), "white")
    pen = ImageDraw.Draw(out)
    starts = np.cumsum([left, *widths])[:-1].tolist()
    for start, title in zip(starts, titles, strict=True):
        pen.text((start, 3), title, fill="black", font=small)
    for number, (row, label) in enumerate(zip(blocks, labels, strict=True)):
        upper = TOP + number * (SIDE + GAP)
        pen.multiline_text((3, upper + 4), textwrap.fill(label, left // 6), fill="black", font=small, spacing=2)
        for start, block in zip(starts, row, strict=True):
            for column, pixels in enumerate(block):
                picture = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                out.paste(picture, (start + column * (SIDE + GAP), upper))
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheets; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m salon.models.mini.recipe.taste_sheets")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the pictures that are ranked")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--judge", type=Path, default=KEPT, help="its folder (bench/judge of this checkout)")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(argv)
    judge = KeptJudge.read(options.judge)
    looker = Looker(options.threads, judge, None)
    space = looker.engine.info.taste
    assert space is not None, "the shipped model has styles"
    ranked, _ = shelves(space, picture_set(looker, options.work, GROUPS, EACH, SEED))
    everybody = crowd(kinds_of(USERS), ranked.looks, ranked.pairs, seed=0)
    users = [user for user in everybody if user.kind == CONSISTENT][:SHOWN]
    told = tell(users, ranked, Learners.of(space), SESSIONS[:1], EVENTS[-1], lambda _: None)[SESSIONS[0]]
    learned = [learn(space, each) for each in told]
    painter = Painter(looker, THINGS, 1, int(looker.engine.model.defaults["steps"]))
    own = [painter.code(profile_vector(space, each)) for each in learned]
    anti = [painter.code(anti_vector(space, each)) for each in learned]

    def drawn(codes: Sequence[str]) -> list[Pictures]:
        return painter.draw([Way(USUAL, ((code, 1.0),)) for code in codes])

    options.out.mkdir(parents=True, exist_ok=True)
    base = painter.draw([Way(USUAL)])[0]
    rows = [[[*base], [*one], [*other]] for one, other in zip(drawn(own), drawn(anti), strict=True)]
    titles = ["without a profile", "with the profile", "with its opposite"]
    save(options.out, "users", sheet(rows, titles, [liked(user, judge) for user in users]))

    rows = []
    for code in own[:3]:
        ways = painter.draw([Way(strength, ((code, 1.0),)) for strength in STRENGTHS])
        rows += [[[pictures[thing] for pictures in ways]] for thing in range(2)]
    labels = [label for user in users[:3] for label in (liked(user, judge), "")]
    save(options.out, "strength", sheet(rows, ["--s " + ", ".join(f"{s:g}" for s in STRENGTHS)], labels))

    rows, labels = [], []
    for first, second in ((0, 1), (2, 3), (4, 5)):
        shares = (0.0, 0.25, 0.5, 0.75, 1.0)
        codes = own[first], own[second]
        mixes = [tuple(pair for pair in zip(codes, (1 - share, share), strict=True) if pair[1]) for share in shares]
        ways = painter.draw([Way(USUAL, mix) for mix in mixes])
        rows += [[[pictures[thing] for pictures in ways]] for thing in range(2)]
        labels += ["from one user's code to another's", ""]
    save(options.out, "blend", sheet(rows, ["shares of the second code: 0, 1/4, 1/2, 3/4, 1"], labels))
    return 0


def save(folder: Path, name: str, image: Image.Image) -> None:
    """Write a sheet."""
    image.save(folder / f"{name}.webp", "WEBP", quality=86)


if __name__ == "__main__":
    raise SystemExit(main())
