"""Colours of pictures, in numbers and by their style vectors."""

from __future__ import annotations

import numpy as np
import pytest

from salon.engine.taste.colours import COLOURS, colour_rows, measured
from salon.engine.taste.space import space_of


@pytest.mark.parametrize(
    ("colour", "lab"),
    [  # source: CIELAB of sRGB under D65, as published colour charts have it
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0.0, 0.0)),
    ],
)
def test_a_plain_picture(colour: tuple[int, int, int], lab: tuple[float, float, float]) -> None:
    (found,) = measured(np.full((1, 3, 5, 3), colour, np.uint8))
    np.testing.assert_allclose(found, [*lab, np.hypot(*lab[1:]), 0.0], atol=0.02)


def test_contrast_is_the_deviation_of_lightness() -> None:
    half = np.zeros((1, 2, 4, 3), np.uint8)
    half[:, 1] = 255
    np.testing.assert_allclose(measured(half)[0], [50, 0, 0, 0, 50], atol=0.02)


def test_vectors_tell_colours() -> None:
    """Where vectors hold the colours, the two classes of each colour are told apart."""
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (80, 1, 1, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    wanted = measured(pictures)
    vectors = np.concatenate([wanted / 10, draw.standard_normal((80, 3))], axis=1)
    rows = colour_rows(vectors, pictures)
    assert rows.shape == (5, 9)
    head = np.zeros((2, 8), np.float32)
    space = space_of(np.eye(3, 8, dtype=np.float32), ["a"] * 3, {"f": (head, head[:, 0])}, {}, colours=rows)
    assert (space.axes, space.directed) == (12, 2)
    assert [name for name, _ in space.labels[2::2]] == list(COLOURS)
    high = space.coordinates(vectors)[:, 3::2]
    np.testing.assert_allclose(space.coordinates(vectors)[:, 2::2] + high, 1.0)
    for number in range(4):  # no picture has a contrast
        assert np.corrcoef(high[:, number], wanted[:, number])[0, 1] > 0.9
