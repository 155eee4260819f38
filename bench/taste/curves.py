"""Learning curves: how well choices that were held out are predicted, after so many events, learned in several ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ...engine.taste.preference import Comparison, fit, learn
from ...engine.taste.space import TasteSpace, types_of
from ..report import Goal
from ..runner import Bench
from .ideal import learn_ideal
from .sessions import ACTIVE, AT_RANDOM, EVENTS, Learned, Learner, Outcome, Shelf, answers, interval, outcome
from .users import User

PRIOR, TYPES, PLAIN, IDEAL = "learned prior", "plain types", "no prior", "ideal point, learned prior"
SAME_EYES: Final = "no prior, by what the users themselves see"
WEIGHTS: Final = 1.5  # deviation of the utilities of the learner that sees what users see
SESSIONS: Final = ((ACTIVE, PRIOR), (ACTIVE, PLAIN), (AT_RANDOM, PRIOR))  # which pairs users answer
CURVES: Final = (  # (how pairs are chosen, by which learner they are) -> learners of the same answers
    ((ACTIVE, PRIOR), (PRIOR, IDEAL)),
    ((ACTIVE, PLAIN), (PLAIN,)),
    ((AT_RANDOM, PRIOR), (PRIOR, TYPES, PLAIN, IDEAL)),
)
SHARE, FEW, MANY = 0.9, 40, 200  # goals: of the ceiling at MANY events; active at FEW as random at MANY
LIMIT: Final = 1_500  # random events after which hardly anything is left to learn: what the features can tell
CALIBRATED: Final = 0.1  # goal: the most that stated chances may be off

Session = tuple[str, str]
Told = Mapping[Session, Sequence[Sequence[Comparison]]]  # of each way to choose pairs every user's answers
Advance = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Learners:
    """The learners that are compared, of one space.

    Attributes:
        prior: the shipped one.
        types: the same with plain types of users in place of the learned prior.
        plain: the same without types: every direction is as likely, and as far, as in the prior on average.
        ideal: the ideal-point model, with the mean of the prior's covariances.
    """

    prior: Learner
    types: Learner
    plain: Learner
    ideal: Learner

    @classmethod
    def of(cls, space: TasteSpace) -> Learners:
        """Make the learners."""
        known, types = space.covariances, types_of(space)
        mean = known.mean(0)
        nothing = np.eye(space.axes)[None] * float(np.trace(mean)) / space.axes
        return cls(
            prior=lambda told: learn(space, told),
            types=lambda told: learn(space, told, covariances=types),
            plain=lambda told: learn(space, told, covariances=nothing),
            ideal=lambda told: learn_ideal(told, mean),
        )

    def named(self, name: str) -> Learner:
        """Return the learner of a curve."""
        return {PRIOR: self.prior, TYPES: self.types, PLAIN: self.plain, IDEAL: self.ideal}[name]


def tell(
    users: Sequence[User], shelf: Shelf, learners: Learners, sessions: Sequence[Session], events: int, advance: Advance
) -> dict[Session, list[list[Comparison]]]:
    """Let all users answer pairs, in each of the sessions; in a whole run `LIMIT` of those by chance."""
    found: dict[Session, list[list[Comparison]]] = {session: [] for session in sessions}
    for number, user in enumerate(users, 1):
        for seed, (how, learner) in enumerate(sessions):
            count = LIMIT if how == AT_RANDOM and events == MANY else events
            found[how, learner].append([*answers(user, shelf, learners.named(learner), how, seed, count)])
        advance(f"user {number} of {len(users)}")
    return found


def curves(bench: Bench, users: Sequence[User], told: Told, held: Shelf, learners: Learners, advance: Advance) -> None:
    """Add a row for each point of each curve, and state the goals.

    Args:
        told: the answers in all of `SESSIONS`.
        held: pictures that no pair was of: of these is the accuracy.
    """
    most = min(MANY, len(next(iter(told.values()))[0]))
    found: dict[tuple[str, str, int], list[Outcome]] = {}
    for session, names in CURVES:
        for name in names:
            learner = learners.named(name)
            reached = [n for n in EVENTS if n <= most]
            if name == PRIOR and len(told[session][0]) == LIMIT:
                reached.append(LIMIT)
            for events in reached:
                each = [
                    outcome(user, held, learner(own[:events])) for user, own in zip(users, told[session], strict=True)
                ]
                found[session[0], name, events] = each
                row(bench, session[0], name, events, "all", each)
            advance(f"{session[0]}, {name}")
    for kind in dict.fromkeys(user.kind for user in users):
        each = [out for out, user in zip(found[ACTIVE, PRIOR, most], users, strict=True) if user.kind == kind]
        row(bench, ACTIVE, PRIOR, most, kind, each)
    goals(bench, found, most)


def same_eyes(bench: Bench, users: Sequence[User], ranked: Shelf, held: Shelf, most: int, advance: Advance) -> None:
    """Add rows of a learner whose features are what the users go by: how far any features could get.

    The numbers are the judge's, beside what palette filters see, so no model's encoder can have better ones.
    """
    ranked, held = seen(ranked), seen(held)
    prior = np.eye(ranked.coordinates.shape[1])[None] * WEIGHTS**2
    count = LIMIT if most == MANY else most
    found: dict[int, list[Outcome]] = {events: [] for events in (most, count)}
    for user in users:
        told = [*answers(user, ranked, _unused, AT_RANDOM, SESSIONS.index((AT_RANDOM, PRIOR)), count)]
        for events, each in found.items():
            differences = np.stack([one.better - one.worse for one in told[:events]])
            each.append(outcome(user, held, fit(differences, np.ones(events), prior)))
    for events, each in found.items():
        row(bench, AT_RANDOM, SAME_EYES, events, "all", each)
    advance(SAME_EYES)


def seen(shelf: Shelf) -> Shelf:
    """Return a shelf whose coordinates are what users see."""
    pixels = shelf.looks.pixels
    parts = [*shelf.looks.shares.values(), (pixels - pixels.mean(0)) / np.maximum(pixels.std(0), 1e-6)]
    return Shelf.of(np.concatenate(parts, axis=1), shelf.groups, shelf.looks)


def _unused(told: Sequence[Comparison]) -> Learned:
    raise AssertionError("random pairs ask no learner")


def row(bench: Bench, pairs: str, learner: str, events: int, users: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Add the row of a point of a curve."""
    accuracies, shares = [each.accuracy for each in outcomes], [each.share for each in outcomes]
    (low, high), (share_low, share_high) = interval(accuracies), interval(shares)
    return bench.row(
        pairs=pairs,
        learner=learner,
        events=events,
        users=users,
        count=len(outcomes),
        accuracy=float(np.mean(accuracies)),
        accuracy_low=low,
        accuracy_high=high,
        ceiling=float(np.mean([each.ceiling for each in outcomes])),
        share=float(np.mean(shares)),
        share_low=share_low,
        share_high=share_high,
        ece=pooled_error(outcomes),
    )


def pooled_error(outcomes: Sequence[Outcome]) -> float:
    """Return the expected calibration error over all users' pairs together."""
    weight = np.array([each.weight for each in outcomes])
    total = np.maximum(weight.sum(0), 1e-12)
    sure = (weight * np.array([each.confidence for each in outcomes])).sum(0) / total
    came_true = (weight * np.array([each.observed for each in outcomes])).sum(0) / total
    return float((weight.sum(0) / weight.sum() * np.abs(sure - came_true)).sum())


def goals(bench: Bench, found: Mapping[tuple[str, str, int], Sequence[Outcome]], most: int) -> None:
    """State the goals. What a short run has not reached counts as missed."""

    def mean(pairs: str, events: int) -> float | None:
        outcomes = found.get((pairs, PRIOR, events))
        return float(np.mean([each.accuracy for each in outcomes])) if outcomes else None

    last = found[ACTIVE, PRIOR, most]
    share = float(np.mean([each.share for each in last])) if most >= MANY else None
    bench.goal(Goal.at_least(f"held-out accuracy at {MANY} events, share of the ceiling", SHARE, share))
    few, many = mean(ACTIVE, FEW), mean(AT_RANDOM, MANY)
    more = few - many if few is not None and many is not None else None
    note = f"accuracy of active pairs at {FEW} events less that of random pairs at {MANY}"
    bench.goal(Goal.at_least(f"active at {FEW} events as random at {MANY}", 0.0, more, note=note))
    bench.goal(Goal.at_most(f"calibration error at {most} events", CALIBRATED, pooled_error(last)))
