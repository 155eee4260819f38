"""How simulated users teach learners, and what these are then worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from salon.bench.taste.curves import PLAIN, PRIOR, Learners
from salon.bench.taste.ideal import learn_ideal
from salon.bench.taste.sessions import ACTIVE, AT_RANDOM, Shelf, answers, interval, outcome
from salon.bench.taste.users import CONSISTENT, FACTORS, FILTERS, RANDOM, TONES, Looks, make_user
from salon.engine.taste.preference import Comparison
from salon.engine.taste.space import TasteSpace, space_of

CLASSES = {"style": 3, "palette": 3, "tone": len(TONES), "finish": 2}


@dataclass(frozen=True)
class Known:
    """A learner's result that knows the utilities of pictures with these coordinates exactly."""

    weights: np.ndarray
    temperature: float

    def utilities(self, coordinates: np.ndarray) -> np.ndarray:
        return np.asarray(coordinates @ self.weights)

    def probability(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-(self.utilities(left) - self.utilities(right)) / self.temperature)))


def shelf(seed: int, groups: int = 20, each: int = 6) -> Shelf:
    """Pictures whose coordinates are what users see in them."""
    draw = np.random.default_rng(seed)
    shares = {factor: draw.dirichlet(np.full(CLASSES[factor], 0.3), size=groups * each) for factor in FACTORS}
    looks = Looks(shares, draw.random((groups * each, len(FILTERS))))
    coordinates = np.concatenate([shares[factor] for factor in FACTORS], 1)
    return Shelf.of(coordinates, np.repeat(np.arange(groups), each), looks)


@pytest.fixture(scope="module")
def space() -> TasteSpace:
    width = sum(CLASSES.values())
    return space_of(np.eye(width, dtype=np.float32), ["a"] * width, {}, {})


def test_who_knows_a_user_exactly_reaches_the_ceiling_and_is_calibrated() -> None:
    held = shelf(1)
    user = make_user(4, CONSISTENT, held.looks, held.pairs)
    known = Known(np.concatenate([user.weights[factor] for factor in FACTORS]), user.temperature)
    found = outcome(user, held, known)
    assert found.accuracy == pytest.approx(found.ceiling)
    assert found.share == pytest.approx(1)
    assert found.error < 1e-9
    wrong = outcome(user, held, Known(-known.weights, user.temperature))
    assert wrong.accuracy == pytest.approx(1 - found.ceiling)
    assert wrong.error > 0.5


def test_who_knows_nothing_is_right_half_of_the_time() -> None:
    held = shelf(1)
    user = make_user(4, CONSISTENT, held.looks, held.pairs)
    assert outcome(user, held, Known(np.zeros(held.coordinates.shape[1]), 1.0)).accuracy == pytest.approx(0.5)


@pytest.mark.parametrize("how", [ACTIVE, AT_RANDOM])
def test_answers_follow_the_user_and_teach(how: str, space: TasteSpace) -> None:
    ranked, held = shelf(2), shelf(3)
    user = make_user(5, CONSISTENT, ranked.looks, ranked.pairs)
    learners = Learners.of(space)
    told = [*answers(user, ranked, learners.named(PRIOR), how, 1, 60)]
    assert len(told) == 60
    utilities = Known(np.concatenate([user.weights[factor] for factor in FACTORS]), 1.0).utilities
    better = [float(utilities(each.better[None])[0] - utilities(each.worse[None])[0]) for each in told]
    assert np.mean(np.array(better) > 0) > 0.7
    few, many = (outcome(user, held, learners.named(PRIOR)(told[:count])).accuracy for count in (2, 60))
    assert many > max(few, 0.7)
    assert outcome(user, held, learners.named(PLAIN)(told)).accuracy > 0.7


def test_the_same_seed_gives_the_same_answers(space: TasteSpace) -> None:
    ranked = shelf(2)
    user, learner = make_user(5, CONSISTENT, ranked.looks, ranked.pairs), Learners.of(space).named(PRIOR)
    one, same, other = ([*answers(user, ranked, learner, ACTIVE, seed, 12)] for seed in (1, 1, 2))
    assert all(np.array_equal(a.better, b.better) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a.better, b.better) for a, b in zip(one, other, strict=True))


def test_random_clicks_say_nothing_of_the_pictures(space: TasteSpace) -> None:
    ranked = shelf(2)
    user = make_user(5, RANDOM, ranked.looks, ranked.pairs)
    told = [*answers(user, ranked, Learners.of(space).named(PRIOR), AT_RANDOM, 1, 400)]
    assert abs(np.mean([each.better[0] > each.worse[0] for each in told]) - 0.5) < 0.1


def test_an_ideal_point_is_found_where_a_line_fails() -> None:
    draw = np.random.default_rng(8)
    ideal = np.array([0.2, -0.1, 0.1])
    pairs = draw.standard_normal((300, 2, 3))
    nearer = np.linalg.norm(pairs[:, 0] - ideal, axis=1) < np.linalg.norm(pairs[:, 1] - ideal, axis=1)
    told = [Comparison(*(pair if near else pair[::-1])) for pair, near in zip(pairs, nearer, strict=True)]
    found = learn_ideal(told, 9 * np.eye(3), curvature=3.0)
    np.testing.assert_allclose(found.mean[:3] / (2 * found.mean[3]), ideal, atol=0.15)
    chances = found.probability(pairs[:, 0], pairs[:, 1])
    assert np.mean((chances > 0.5) == nearer) > 0.95
    assert learn_ideal([], np.eye(3)).mean.tolist() == [0, 0, 0, 0]


def test_an_ideal_point_is_never_the_worst_one() -> None:
    """Who likes what is far from the middle has no ideal: then the model is linear."""
    draw = np.random.default_rng(8)
    pairs = draw.standard_normal((200, 2, 3))
    further = np.linalg.norm(pairs[:, 0], axis=1) > np.linalg.norm(pairs[:, 1], axis=1)
    told = [Comparison(*(pair if far else pair[::-1])) for pair, far in zip(pairs, further, strict=True)]
    assert learn_ideal(told, np.eye(3)).mean[3] >= 0


def test_intervals_hold_the_mean() -> None:
    values = [*np.random.default_rng(1).random(50)]
    low, high = interval(values)
    assert low < np.mean(values) < high
    assert interval(values) == (low, high)
    assert interval([0.5, 0.5]) == (0.5, 0.5)
