"""Whether pictures follow tastes: what profiles of simulated users draw, by the kept judge and their hidden tastes.

`python -m salon.models.mini.recipe.taste_pictures --work DIR [--quick] [--threads N]`

The users of `taste.py` answer 200 active pairs. Then the same prompts and seeds are drawn without a profile, with
theirs at several strengths, with the one after 16 events, with another user's and with the opposite; it is asked of
whom pictures are, and where blends of two codes lie. A picture is in the preferred style if it is worth as much to the
user as the best fifth of the pictures that were ranked. DIR keeps those. Needs the `train` extra and a checkout.
"""

from __future__ import annotations

import sys
from functools import partial

from ....bench.runner import Bench, run
from ....bench.taste.curves import SESSIONS, Learners, tell
from ....bench.taste.sessions import EVENTS
from ....engine.taste.preference import learn
from ....engine.taste.vectors import anti_vector, profile_vector
from .knobs import THINGS
from .taste import EARLY, Setting, arguments
from .taste_effects import Effects, Taught
from .taste_painter import Painter, threshold

STEPS = 8  # of a picture: fewer than the model's default, for more pictures in the same time
COLUMNS = [
    ["drawn", "s", "group", "pictures", "preferred", "base", "met", "base_met", "wins", "concept", "base_concept",
     "shape_spread", "base_shape_spread"],
    ["found_among", "top_1", "top_5", "guessing"],
    ["blend", "blends", "place", "place_low", "place_high", "between"],
]  # fmt: skip


def body(bench: Bench) -> None:
    bench.columns = COLUMNS
    setting = Setting.of(bench)
    space, events = setting.space, bench.pick(EARLY, EVENTS[-1], EVENTS[-1])
    with bench.progress("answers", len(setting.users)) as advance:
        told = tell(setting.users, setting.ranked, Learners.of(space), SESSIONS[:1], events, advance)[SESSIONS[0]]
    taught = []
    for user, own in zip(setting.users, told, strict=True):
        whole, first = learn(space, own), learn(space, own[:EARLY])
        vectors = profile_vector(space, whole), profile_vector(space, first), anti_vector(space, whole)
        taught.append(Taught(user, threshold(user, setting.ranked.looks), *vectors))
    things, images, steps = THINGS[: bench.pick(1, 3, 3)], bench.pick(1, 2, 2), bench.pick(2, STEPS, STEPS)
    bench.note(f"{len(things)} things, {images} pictures of each, {steps} steps")
    with bench.progress("pictures", 1) as advance:
        Effects(bench, Painter(setting.looker, things, images, steps, advance), taught).measure()


main = partial(run, "taste_pictures", (__doc__ or "").splitlines()[0], body, arguments=arguments, tied_to="digest",
               prog="python -m salon.models.mini.recipe.taste_pictures")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
