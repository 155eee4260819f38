"""Simulated users: what their answers can be predicted from, and how well."""

from __future__ import annotations

import numpy as np
import pytest

from salon.bench.taste.users import (
    CEILINGS,
    CONSISTENT,
    CONTRADICTORY,
    FACTORS,
    FILTER,
    FILTERS,
    LIKED,
    RANDOM,
    TONES,
    Looks,
    ceiling,
    crowd,
    kinds_of,
    make_user,
    measured,
    within_groups,
)

CLASSES = {"style": 12, "palette": 7, "tone": len(TONES), "finish": 4}


@pytest.fixture(scope="module")
def looks() -> Looks:
    draw = np.random.default_rng(1)
    shares = {factor: draw.dirichlet(np.full(CLASSES[factor], 0.2), size=240) for factor in FACTORS}
    return Looks(shares, draw.random((240, len(FILTERS))))


@pytest.fixture(scope="module")
def pairs() -> np.ndarray:
    return within_groups(np.repeat(np.arange(30), 8))


def test_pairs_are_of_one_group_and_each_is_there_once(pairs: np.ndarray) -> None:
    assert len(pairs) == 30 * 28
    assert (pairs[:, 0] // 8 == pairs[:, 1] // 8).all()
    assert len({frozenset(pair) for pair in pairs.tolist()}) == len(pairs)
    assert 0.4 < (pairs[:, 0] < pairs[:, 1]).mean() < 0.6


@pytest.mark.parametrize("kind", CEILINGS)
def test_the_noise_ceiling_is_what_was_asked_for(kind: str, looks: Looks, pairs: np.ndarray) -> None:
    low, high = CEILINGS[kind]
    for seed in range(8):
        user = make_user(seed, kind, looks, pairs)
        assert low - 0.01 <= ceiling(user.chances(looks, pairs)) <= high + 0.01


def test_one_factor_matters_most_and_some_classes_are_liked(looks: Looks, pairs: np.ndarray) -> None:
    for user in crowd([CONSISTENT] * 12, looks, pairs, 100):
        assert sum(user.importance.values()) == pytest.approx(1)
        assert user.importance[user.main] > 0.4
        parts = {factor: float((looks.shares[factor] @ user.weights[factor]).std()) for factor in FACTORS}
        assert max(parts, key=lambda factor: parts[factor]) == user.main
        for factor, liked in user.liked.items():
            assert len(liked) == LIKED[factor]
            assert user.weights[factor][list(liked)].min() >= np.median(user.weights[factor])


def test_palette_filters_go_by_pixels_alone(looks: Looks, pairs: np.ndarray) -> None:
    user = make_user(3, FILTER, looks, pairs)
    other = Looks({factor: shares[::-1] for factor, shares in looks.shares.items()}, looks.pixels)
    np.testing.assert_array_equal(user.utilities(looks), user.utilities(other))
    assert user.main == ""


def test_random_clicks_tell_nothing(looks: Looks, pairs: np.ndarray) -> None:
    assert set(make_user(3, RANDOM, looks, pairs).chances(looks, pairs)) == {0.5}


def test_a_user_is_the_same_by_its_seed(looks: Looks, pairs: np.ndarray) -> None:
    one, same, other = (make_user(seed, CONSISTENT, looks, pairs) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.utilities(looks), same.utilities(looks))
    assert one.temperature == same.temperature
    assert np.corrcoef(one.utilities(looks), other.utilities(looks))[0, 1] < 0.9


def test_a_crowd_has_all_kinds() -> None:
    kinds = kinds_of(50)
    assert len(kinds) == 50
    assert {kind: kinds.count(kind) for kind in CEILINGS} == {CONSISTENT: 36, CONTRADICTORY: 6, FILTER: 8}


def test_pixels_are_measured_by_their_colours() -> None:
    colours = np.array([(255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)], np.uint8)
    found = measured(np.broadcast_to(colours[:, None, None], (4, 8, 8, 3)))
    warmth, lightness, saturation, contrast = found.T
    assert warmth.tolist() == [1, -1, 0, 0]
    assert lightness[2] == pytest.approx(1)
    assert lightness[3] == 0
    assert saturation.tolist() == [1, 1, 0, 0]
    assert not contrast.round(9).any()
