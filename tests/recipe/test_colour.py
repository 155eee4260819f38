"""How well a reconstruction keeps the picture, and each of its colour axes."""

import numpy as np
import pytest

from salon.models.mini.recipe.colour import AXES, psnr, r_squared


def test_colour_figures_of_a_perfect_copy() -> None:
    x = np.random.default_rng(0).random((3, 32, 32, 3))
    assert psnr(x, x) > 100
    assert r_squared(x, x) == dict.fromkeys(AXES, 1.0)


def test_psnr_of_a_known_error() -> None:
    x = np.zeros((1, 8, 8, 3))
    assert psnr(x, x + 0.1) == pytest.approx(20.0)


def test_a_lost_axis_is_seen_on_that_axis_alone() -> None:
    rng = np.random.default_rng(1)
    x = rng.random((4, 8, 8, 3)).repeat(8, 1).repeat(8, 2)
    green = x[..., 1] - (x[..., 0] + x[..., 2]) / 2
    # move every colour along the direction that changes green-magenta and neither luma nor red-blue
    direction = np.linalg.inv(np.array([[0.299, 0.587, 0.114], [1, 0, -1], [-0.5, 1, -0.5]]))[:, 2]
    y = x - (green - green.mean())[..., None] * direction
    r2 = r_squared(x, y)
    assert r2["luma"] > 0.999
    assert r2["red_blue"] > 0.999
    assert abs(r2["green_magenta"]) < 0.01
