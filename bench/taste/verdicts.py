"""How often the verdict of a report is wrong: on users who click at random, and on users who have a taste."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...engine.taste.evidence import IS_STRONG, NOTHING, WEAK, Evidence, evidence_of, interval
from ...engine.taste.preference import Comparison, learn
from ...engine.taste.space import TasteSpace
from ..report import Goal
from ..runner import Bench
from .curves import MANY, PRIOR, Advance, Learners, Session
from .sessions import ACTIVE, AT_RANDOM, Shelf, answers
from .users import CONSISTENT, RANDOM, User, crowd

CLICKERS, WATCHED = 200, 20  # who click at random, with random pairs; and with active ones
FALSE, HEARD = 0.05, 0.8  # goals: of clickers called something at most; of consistent users at least


def verdicts(
    bench: Bench,
    space: TasteSpace,
    shelf: Shelf,
    users: Sequence[User],
    told: Mapping[Session, Sequence[Sequence[Comparison]]],
    advance: Advance,
) -> None:
    """Add a row of verdicts for each kind of user and way to choose pairs, and state the goals."""
    events = min(MANY, len(next(iter(told.values()))[0]))
    learners = Learners.of(space)
    false = 0.0
    for how, count in ((AT_RANDOM, bench.pick(4, 50, CLICKERS)), (ACTIVE, bench.pick(2, 5, WATCHED))):
        clickers = crowd([RANDOM] * count, shelf.looks, shelf.pairs, seed=50_000)
        clicked = [answers(user, shelf, learners.prior, how, 0, events) for user in clickers]
        found = [evidence(space, [*each]) for each in clicked]
        alarms = row(bench, RANDOM, how, found)
        false = alarms if how == AT_RANDOM else false
        advance(f"random clicks, {how} pairs")
    heard = None
    for how in (AT_RANDOM, ACTIVE):
        sessions = [each[:events] for each in told.get((how, PRIOR), ())]
        for kind in dict.fromkeys(user.kind for user in users) if sessions else ():
            own = [each for each, user in zip(sessions, users, strict=True) if user.kind == kind]
            share = row(bench, kind, how, [evidence(space, each) for each in own])
            if kind == CONSISTENT and how == ACTIVE:
                heard = share
        advance(f"users with a taste, {how} pairs")
    bench.goal(Goal.at_most("random clickers that are not called 'does nothing'", FALSE, false))
    bench.goal(Goal.at_least(f"consistent users at {events} events that are called weak or strong", HEARD, heard))


def evidence(space: TasteSpace, told: Sequence[Comparison]) -> Evidence:
    """Return what a report says of a user's answers."""
    return evidence_of(space, told, learn(space, told))


def row(bench: Bench, kind: str, how: str, found: Sequence[Evidence]) -> float:
    """Add the row of a kind, and return the share that is not called "does nothing"."""
    shares = {name: sum(each.verdict == name for each in found) / len(found) for name in (NOTHING, WEAK, IS_STRONG)}
    heard = 1 - shares[NOTHING]
    low, high = interval(heard * len(found), len(found))
    bench.row(
        verdicts_of=kind,
        answered=f"{how} pairs",
        count=len(found),
        answers=found[0].choices,
        nothing=shares[NOTHING],
        weak=shares[WEAK],
        strong=shares[IS_STRONG],
        heard=heard,
        heard_low=low,
        heard_high=high,
        predicted=float(np.mean([each.predicted for each in found])),
        consistency=float(np.mean([each.consistency for each in found])),
    )
    return heard
