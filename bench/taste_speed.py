"""What personal pictures cost: 64 accounts with 64 codes in one batch, and what the learner takes for an event.

`python -m salon.bench.taste_speed [--quick] [--threads N]`

One ragged step of a picture for each of 64 accounts, each with a code of its own, is compared with the same step
without any adapter, and with diffusers' IP-Adapter, which draws for one user at a time (same checkpoint, steps,
guidance and threads, in turns). Before anything is timed, the latents of the shared step are checked to be those of 64
steps of one, bit for bit, and diffusers' to be those of Salon's but for rounding. Then the learner: the time from one
event more to the new taste vector, at several numbers of events, and the time that a log of 100,000 events takes to be
read from the store.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .batch import PROMPTS, Group, verify
from .measure import interleave, timed
from .report import Goal
from .runner import Bench, run

ACCOUNTS = 64
CODES, NONE, RIVAL = "a code each", "no adapters", "diffusers, one user at a time"
EVENT_MS, EVENTS = 100.0, 1000  # the goal: an event more at so many
LOAD_S, LOG = 2.0, 100_000  # the goal: a log of so many events is read
COLUMNS = [
    ["drawn", "ms", "p10", "p90", "pictures", "against_none"],
    ["learned_events", "learn_ms", "learn_p10", "learn_p90"],
    ["log_events", "load_s"],
]
NEAR = 0.02  # of the largest value: how far diffusers' latents may be from Salon's


class Accounts(Group):
    """A picture for each account, stepped together or one by one."""

    def specs(self) -> list[Any]:
        """Return the spec of each account's picture."""
        from ..engine.spec import AdapterUse
        from ..engine.styles import names as styles

        specs = []
        for number, each in enumerate(self.adapters):
            uses = tuple(AdapterUse(name, 1.0, styles.NONE) for name in each)
            prompt = PROMPTS[number % len(PROMPTS)]
            specs.append(self.engine.make_spec(prompt, seed=number, steps=200, images=1, adapters=uses))
        return specs


def codes(engine: Any, count: int) -> list[str]:
    """Give the engine taste vectors of as many codes, and return the names of their adapters."""
    from ..engine.styles import names as styles

    found = []
    for number in range(count):
        code = "".join("abcdefghijklmnopqrstuvwxyz234567"[(number * 7 + k * 5) % 32] for k in range(15))
        code += "abcdefghijklmnopqrstuvwxyz234567"[number // 32]
        engine.add_taste(code, engine.info.taste.number_vector(number))
        found.append(styles.of_taste(code))
    return found


def company(bench: Bench, engine: Any) -> None:
    """Time the shared step with codes, without, and diffusers."""
    count = bench.pick(3, 16, ACCOUNTS)
    names = codes(engine, count)
    together = Accounts(engine, [[name] for name in names], together=True)
    apart = Accounts(engine, [[name] for name in names], together=False)
    verify([together, apart], bench.pick(1, 3, 3))
    apart.close()
    bench.note(f"latents of one step of {count} codes equal those of {count} steps of one, bit for bit")
    none = Accounts(engine, [[] for _ in names], together=True)
    turns: dict[str, Callable[[], Sequence[float]]] = {}
    inner = bench.pick(1, 2, 3)
    turns[CODES], turns[NONE] = together.turn(inner), none.turn(inner)
    if find_spec("diffusers") is None:
        bench.note("diffusers is not installed: there is no peer here")
    else:
        turns[RIVAL] = rival(bench, engine, count)
    with bench.progress("64 accounts", rounds := bench.pick(1, 3, 15)) as advance:
        results = interleave(turns, rounds=rounds, deadline=bench.deadline, on_round=lambda: advance(""))
    base = results[NONE].median
    for name, samples in results.items():
        low, high = samples.spread or (None, None)
        against = samples.median / base if samples.median and base else None
        bench.row(drawn=name, ms=samples.median, p10=low, p90=high, pictures=count, against_none=against)
    ours = results[CODES].median
    more = (ours / base - 1) * 100 if ours and base else None
    bench.goal(Goal.at_most(f"{count} codes in one step: more than without adapters", 5.0, more, " %"))
    if RIVAL in results and (theirs := results[RIVAL].median) and ours:
        bench.goal(
            Goal.at_least("diffusers' IP-Adapter, one user at a time, against one shared step", 1, theirs / ours)
        )
    together.close()
    none.close()


def rival(bench: Bench, engine: Any, count: int) -> Callable[[], Sequence[float]]:
    """Return a turn of diffusers: one step of every user's picture, one user after another."""
    from .taste.rival import OneUser

    peer = OneUser(bench.threads)
    peer.load()
    vectors = [engine.info.taste.number_vector(number) for number in range(count)]
    agree(engine, peer, vectors[0])
    bench.use("torch", "diffusers")
    bench.note(f"{peer.name}: {peer.setup}")

    def all_users() -> None:
        for vector in vectors:
            peer.take(vector, 1.0)
            peer.step()

    return lambda: timed(all_users, 1)


def agree(engine: Any, peer: Any, vector: Any) -> None:
    """Raise ArithmeticError unless diffusers' latents after a step with a vector are the engine's but for rounding."""
    from ..engine.spec import AdapterUse
    from ..engine.styles import names as styles

    engine.add_taste("a" * 16, vector)
    use = AdapterUse(styles.of_taste("a" * 16), 1.0, styles.NONE)
    generation = engine.open(engine.make_spec(peer.job.prompt, seed=0, steps=peer.job.steps, adapters=(use,)))
    engine.step([generation])
    ours = np.asarray(engine.ops.numpy(generation.latents))
    engine.close(generation)
    peer.take(vector, 1.0)
    peer.step()
    theirs = peer.final_latents()[0]
    apart = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    if not apart <= NEAR:
        raise ArithmeticError(f"diffusers' latents: {apart:.3g} of the largest apart from Salon's, allowed {NEAR}")


def learning(bench: Bench, space: Any) -> None:
    """Time the learner: all events that there are, to the vector."""
    from ..engine.taste.preference import Comparison, learn
    from ..engine.taste.vectors import profile_vector

    draw = np.random.default_rng(1)
    hidden = draw.standard_normal(space.axes)
    for count in bench.pick((10,), (200, EVENTS), (200, EVENTS, 10 * EVENTS)):
        points = draw.standard_normal((count, 2, space.axes))
        chances = 1 / (1 + np.exp((points[:, 1] - points[:, 0]) @ hidden))
        first = (draw.random(count) < chances).astype(int)
        events = [
            Comparison(pair[one], pair[1 - one]) for pair, one in zip(points, 1 - first, strict=True)
        ]  # what is chosen is better

        def taught(events: Sequence[Any] = events) -> None:
            profile_vector(space, learn(space, events))

        taught()
        samples = sorted(timed(taught, bench.pick(1, 5, 25)))
        middle = samples[len(samples) // 2]
        low, high = samples[len(samples) // 10], samples[-1 - len(samples) // 10]
        bench.row(learned_events=count, learn_ms=middle, learn_p10=low, learn_p90=high)
        if count == EVENTS:
            bench.goal(Goal.at_most(f"an event at {EVENTS:,} events", EVENT_MS, middle, " ms"))


def log(bench: Bench) -> None:
    """Time how long an account's log takes to be read, of pairs that were answered one by one."""
    from ..studio.service.taste_logs import read_log
    from ..studio.store.domains.taste import TasteEventRow
    from ..studio.store.store import Store
    from ..studio.store.writes import Put
    from ..studio.taste.log import pack
    from ..studio.taste.types import PAIR, EventPicture

    count = bench.pick(100, LOG // 10, LOG)
    common: dict[str, Any] = {"account": "ann", "kind": PAIR, "profile": "p" * 16, "day": 0, "model": "salon-mini"}
    with tempfile.TemporaryDirectory(prefix="salon-log-") as folder:
        store = Store.open(None, Path(folder))
        try:
            for start in range(0, count, 1000):
                writes = []
                for event in range(start + 1, min(start + 1000, count) + 1):
                    shown = [
                        EventPicture(job="j" * 16, index=k, digest=f"{2 * event + k:064x}", picked=k == event % 2)
                        for k in (0, 1)
                    ]
                    writes.append(Put(TasteEventRow(event=event, at_ms=event, pictures=pack(shown), **common)))
                store.write(writes)
            samples = sorted(timed(lambda: read_log(store, "ann"), bench.pick(1, 3, 5)))
            assert read_log(store, "ann").last == count
        finally:
            store.close()
    load_s = samples[len(samples) // 2] / 1e3
    bench.row(log_events=count, load_s=load_s)
    if count == LOG:
        bench.goal(Goal.at_most(f"a log of {LOG:,} events is read", LOAD_S, load_s, " s"))


def body(bench: Bench) -> None:
    from ..engine.engine import Engine

    engine = Engine.load(backend="cpu", threads=bench.threads)
    bench.note(f"Salon runs {engine.ops.name} ({engine.ops.compute})")
    learning(bench, engine.info.taste)
    log(bench)
    company(bench, engine)
    bench.columns = COLUMNS


main = partial(run, "taste_speed", (__doc__ or "").splitlines()[0], body)


if __name__ == "__main__":
    sys.exit(main())
