"""Tastes: what is learned of choices, which pair is asked next, what becomes of it, and how far it is trusted."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import SpecError
from salon.engine.taste import evidence, selection
from salon.engine.taste.preference import Comparison, fit, learn, sigmoid
from salon.engine.taste.space import TasteSpace, class_rows, directions_of, space_of
from salon.engine.taste.vectors import anti_vector, profile_vector, random_vector


@pytest.fixture(scope="module")
def space() -> TasteSpace:
    found = Engine.load(dtype="float32").info.taste
    assert found is not None
    return found


class User:
    """Somebody who goes by one factor, and errs at times."""

    def __init__(self, space: TasteSpace, seed: int, keenness: float = 3.0) -> None:
        self.draw = np.random.default_rng(seed)
        self.utilities = np.zeros(space.axes)
        group = space.groups[seed % len(space.factors)]
        self.utilities[group] = keenness * self.draw.standard_normal(group.stop - group.start)

    def choices(self, space: TasteSpace, number: int) -> list[Comparison]:
        coordinates, found = space.points[1], []
        for _ in range(number):
            left, right = coordinates[self.draw.choice(len(coordinates), 2, replace=False)]
            chosen = self.draw.random() < float(sigmoid(np.array((left - right) @ self.utilities)))
            found.append(Comparison(left, right) if chosen else Comparison(right, left))
        return found


# ---- the space -------------------------------------------------------------------------------------------------------


def test_coordinates_are_the_chances_of_every_factor(space: TasteSpace) -> None:
    found = space.coordinates(np.stack([space.number_vector(number) for number in range(32)]))
    assert found.shape == (32, space.axes) == (32, 51)
    for group in space.groups:
        np.testing.assert_allclose(found[:, group].sum(axis=1), 1.0, atol=1e-12)
    assert ("palette", "sepia tones") in space.labels
    assert ("finish", "none") in space.labels
    assert space.labels[space.directed :][:2] == (("lightness", "dark"), ("lightness", "light"))


def test_a_number_is_the_style_of_sref(space: TasteSpace) -> None:
    styles = Engine.load(dtype="float32").model.styles
    assert styles is not None
    assert np.array_equal(space.number_vector(4093), styles.vector("style:number:4093"))


@pytest.mark.parametrize("wrong", [np.zeros((2, 255)), np.zeros(256), np.full((1, 256), np.nan)])
def test_vectors_of_another_space_are_refused(space: TasteSpace, wrong: Any) -> None:
    with pytest.raises(SpecError, match="style vectors: got .* allowed finite numbers"):
        space.coordinates(wrong)


def test_a_mean_wants_something_to_weigh(space: TasteSpace) -> None:
    one = space.number_vector(1)
    np.testing.assert_allclose(space.mean_vector(one[None]), one, atol=1e-5)
    for vectors, weights in ((np.zeros((0, 256)), None), (one[None], [0.0]), (one[None], [1.0, 2.0])):
        with pytest.raises(SpecError, match="styles: got"):
            space.mean_vector(vectors, weights)


def test_a_space_without_classifiers_learns_of_the_vectors_themselves() -> None:
    draw = np.random.default_rng(0)
    space = space_of(draw.standard_normal((5, 24)).astype(np.float32), ["a"] * 5, {}, {})
    assert space.axes == 24
    assert space.covariances.shape == (2, 24, 24)
    liked = draw.standard_normal(24)
    pairs = space.coordinates(draw.standard_normal((400, 24))).reshape(200, 2, 24)
    chosen = [Comparison(*(pair if (pair[0] - pair[1]) @ liked > 0 else pair[::-1])) for pair in pairs]
    mean = learn(space, chosen).mean
    assert mean @ liked > 0.9 * np.linalg.norm(mean) * np.linalg.norm(liked)
    assert profile_vector(space, learn(space, chosen)).shape == (24,)


def test_directions_that_a_checkpoint_ships_are_those_of_its_pictures(space: TasteSpace) -> None:
    vectors, coordinates = space.points[0][:300], space.points[1][:300, : space.directed]
    shipped = msgspec.structs.replace(space, classes=class_rows(vectors, coordinates).tobytes())
    for own, made in zip(shipped.directions, directions_of(vectors, coordinates), strict=True):
        np.testing.assert_allclose(own, made, atol=1e-5)


# ---- learning --------------------------------------------------------------------------------------------------------


def test_nothing_is_known_of_a_new_user(space: TasteSpace) -> None:
    preference = learn(space, [])
    assert not preference.mean.any()
    assert preference.events == 0
    np.testing.assert_allclose(preference.shares.sum(), 1.0)
    some = space.points[1][:10]
    np.testing.assert_allclose(preference.probability(some, some[::-1]), 0.5)


def test_the_more_choices_the_better(space: TasteSpace) -> None:
    coordinates = space.points[1]
    pairs = np.random.default_rng(9).choice(len(coordinates), (500, 2))
    right = {8: [], 200: []}  # type: dict[int, list[float]]
    for seed in range(8):
        user = User(space, seed)
        choices = user.choices(space, 200)
        difference = coordinates[pairs[:, 0]] - coordinates[pairs[:, 1]]
        for number, found in right.items():
            preference = learn(space, choices[:number])
            found.append(float(((preference.utilities(difference) > 0) == (difference @ user.utilities > 0)).mean()))
    assert 0.55 < np.mean(right[8]) < np.mean(right[200]) - 0.1
    assert np.mean(right[200]) > 0.8  # of the users' mean, whose deviation is .02: users differ by .05


def test_same_choices_same_profile(space: TasteSpace) -> None:
    choices = User(space, 3).choices(space, 60)
    one, two = learn(space, choices), learn(space, choices)
    assert np.array_equal(one.means, two.means)
    assert np.array_equal(one.shares, two.shares)
    assert np.array_equal(profile_vector(space, one), profile_vector(space, two))


def test_newtons_answer_is_a_maximum(space: TasteSpace) -> None:
    """Against plain finite differences of the posterior's logarithm."""
    choices = User(space, 1).choices(space, 50)
    differences, prior = np.stack([c.better - c.worse for c in choices]), 2.0 * np.eye(space.axes)
    mean = fit(differences, np.ones(50), prior[None]).mean

    def value(utilities: Any) -> float:
        return float(-np.logaddexp(0, -differences @ utilities).sum() - utilities @ utilities / 4.0)

    for axis in range(0, space.axes, 5):
        step = np.zeros(space.axes)
        step[axis] = 1e-4
        assert value(mean) >= max(value(mean + step), value(mean - step))


def test_half_a_choice_says_half_as_much(space: TasteSpace) -> None:
    (choice,) = User(space, 2).choices(space, 1)
    whole = learn(space, [choice]).mean
    less = learn(space, [Comparison(choice.better, choice.worse, 0.25)]).mean
    assert 0 < np.linalg.norm(less) < np.linalg.norm(whole)


def test_choices_that_contradict_each_other_leave_nothing(space: TasteSpace) -> None:
    choices = User(space, 2).choices(space, 20)
    both = [*choices, *(Comparison(c.worse, c.better) for c in choices)]
    assert np.abs(learn(space, both).mean).max() < 1e-6


def test_a_prior_without_an_inverse(space: TasteSpace) -> None:
    """A population may differ in fewer ways than there are coordinates."""
    root = np.random.default_rng(0).standard_normal((space.axes, 3))
    choices = User(space, 2).choices(space, 40)
    preference = learn(space, choices, covariances=(root @ root.T)[None])
    assert np.isfinite(preference.mean).all()
    assert preference.mean.any()


def test_a_thousand_events_are_no_matter_of_seconds(space: TasteSpace) -> None:
    """No figure, but a guard against work that grows with the square: `bench/taste` has the figures."""
    choices = User(space, 2).choices(space, 200) * 50
    began = time.perf_counter()
    learn(space, choices)
    assert time.perf_counter() - began < 20.0


# ---- the next pair ---------------------------------------------------------------------------------------------------


def test_the_next_pair_is_of_one_group_and_follows_from_its_seed(space: TasteSpace) -> None:
    coordinates, groups = space.points[1][:60], np.repeat(np.arange(15), 4)
    preference, shown = learn(space, User(space, 4).choices(space, 12)), np.zeros(60, np.int64)
    found = [selection.choose_pair(preference, coordinates, groups, shown, seed) for seed in range(40)]
    again = [selection.choose_pair(preference, coordinates, groups, shown, seed) for seed in range(40)]
    assert found == again
    assert len(set(found)) > 3
    assert all(pair is not None and pair[0] != pair[1] and groups[pair[0]] == groups[pair[1]] for pair in found)


def test_what_was_seen_often_waits(space: TasteSpace) -> None:
    coordinates, groups = space.points[1][:12], np.zeros(12, np.int64)
    shown = np.array([50] * 8 + [0] * 4)
    for seed in range(20):
        pair = selection.choose_pair(learn(space, []), coordinates, groups, shown, seed)
        assert pair is not None
        assert min(pair) >= 8


def test_no_group_with_two_pictures_is_no_pair(space: TasteSpace) -> None:
    preference = learn(space, [])
    for number in (0, 1, 5):
        groups, shown = np.arange(number), np.zeros(number, np.int64)
        assert selection.choose_pair(preference, space.points[1][:number], groups, shown, 0) is None


def test_a_question_whose_answer_is_known_tells_nothing(space: TasteSpace) -> None:
    coordinates = space.points[1]
    user = User(space, 0, keenness=6.0)
    preference = learn(space, user.choices(space, 400))
    utilities = coordinates @ user.utilities
    best, worst = coordinates[[int(utilities.argmax())]], coordinates[[int(utilities.argmin())]]
    known = selection.information(preference, best, worst)
    open_ = selection.information(learn(space, []), best, worst)
    assert 0 <= float(known[0]) < 0.05 < float(open_[0]) <= 1
    np.testing.assert_allclose(selection.information(preference, best, best), 0.0, atol=1e-6)


# ---- vectors ---------------------------------------------------------------------------------------------------------


def test_a_profile_lies_where_the_user_would_choose(space: TasteSpace) -> None:
    """Of several users and random tastes: one such taste may happen to be worse than what a user likes least."""
    worth = []
    for seed in range(8):
        user = User(space, seed)
        preference = learn(space, user.choices(space, 200))
        vectors = [profile_vector(space, preference), anti_vector(space, preference)]
        vectors += [random_vector(space, preference, number) for number in range(8)]
        for vector in vectors:
            assert vector.dtype == np.float32
            assert abs(float((vector.astype(np.float64) ** 2).mean()) - 1) < 1e-3
        mine, anti, *some = space.coordinates(np.stack(vectors)) @ user.utilities
        assert anti < mine
        worth.append((mine, anti, np.mean(some)))
    mine, anti, some = np.mean(worth, axis=0)
    assert anti + 2.0 < some < mine - 2.0


@pytest.mark.parametrize("which", range(5))
def test_who_goes_by_colours_is_given_them(space: TasteSpace, which: int) -> None:
    user = User(space, 11)
    user.utilities[:] = 0
    group = space.groups[len(space.factors) + which]
    user.utilities[group] = -3.0, 3.0
    preference = learn(space, user.choices(space, 200))
    anti, mine = space.coordinates(np.stack([anti_vector(space, preference), profile_vector(space, preference)]))[
        :, group.stop - 1
    ]
    assert anti + 0.1 < mine


# ---- evidence --------------------------------------------------------------------------------------------------------


def test_what_is_said_of_a_user_with_a_taste_and_of_one_without(space: TasteSpace) -> None:
    choices = User(space, 1).choices(space, 200)
    found = evidence.evidence_of(space, choices, learn(space, choices))
    assert found.verdict in ("weak", "strong")
    assert found.low <= found.predicted <= found.high
    assert found.predicted > 0.65
    assert found.effect > 0.6
    assert found.consistency >= found.predicted
    nobody = User(space, 1, keenness=0.0).choices(space, 200)
    nothing = evidence.evidence_of(space, nobody, learn(space, nobody))
    assert nothing.verdict == "does nothing"
    assert nothing.low < 0.5
    few = choices[: evidence.FEWEST - 1]
    assert evidence.evidence_of(space, few, learn(space, few)).verdict == "does nothing"
    assert evidence.evidence_of(space, [], learn(space, [])).choices == 0


def test_what_surprises_pulls_hardest(space: TasteSpace) -> None:
    choices = User(space, 1).choices(space, 100)
    preference = learn(space, choices)
    utilities = [float(preference.utilities((c.better - c.worse)[None])[0]) for c in choices]
    expected = Comparison(*(lambda c: (c.better, c.worse))(choices[int(np.argmax(utilities))]))
    odd = Comparison(expected.worse, expected.better)
    pulls = evidence.pulls([expected, odd], preference)
    assert 0 <= pulls[0] < pulls[1]
    assert not len(evidence.pulls([], preference))


def test_a_taste_in_words(space: TasteSpace) -> None:
    choices = User(space, 2).choices(space, 200)
    rows = evidence.liked(space, learn(space, choices))
    assert len(rows) == 51
    assert rows[0][2] > 0 > rows[-1][2]
    assert all(row[3] >= 0 for row in rows)
    assert [row[2] for row in rows] == sorted((row[2] for row in rows), reverse=True)


@pytest.mark.parametrize(("right", "number"), [(0, 0), (5, 10), (10, 10), (150, 200)])
def test_an_interval_holds_its_share(right: int, number: int) -> None:
    low, high = evidence.interval(right, number)
    assert 0 <= low <= (right / number if number else 0.5) <= high <= 1
