"""Guidance that keeps the length of each token's velocity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from salon.engine.rescaling import Rescaling
from salon.kernels import backends
from salon.kernels.ops import GuidanceTerms, Ops

WIDTH = 16


@pytest.fixture(params=["reference", "cpu"])
def ops(request: pytest.FixtureRequest) -> Ops[Any, Any]:
    if request.param == "cpu":
        pytest.importorskip("salon.kernels.cpu")
    return backends.create(request.param, dtype="float32")


def applied(ops: Ops[Any, Any], velocity: np.ndarray[Any, Any], guided: bool) -> np.ndarray[Any, Any]:
    """Velocities of images of 3 rows, which is guided or not, and of 2 rows, which is not."""
    rescaling = Rescaling(ops, WIDTH, ops.segments([3, 2]), [(3, guided), (2, False)])
    origins, ends = (np.array(each, np.int32) for each in ([5, 3], [0, 1, 1]))
    terms = GuidanceTerms(*ops.vectors(origins, ends, np.zeros(1, np.int32), np.full(1, 4.0, np.float32)))
    made, none = rescaling.apply(ops.array(velocity, "float32"), terms)
    latents, moved = ops.zeros(5, WIDTH, "float32"), ops.vectors(np.ones(2, np.float32), np.zeros(2, np.float32))
    ops.solver_step(latents, made, ops.segments([3, 2]), none, *moved)
    result: np.ndarray[Any, Any] = ops.numpy(latents)
    np.testing.assert_array_equal(ops.numpy(made), result)  # what is returned with them is no guidance
    return result


def test_each_token_has_the_length_of_the_prompts_velocity(ops: Ops[Any, Any]) -> None:
    velocity = np.random.default_rng(1).standard_normal((8, WIDTH), np.float32)
    velocity[2] *= np.float32(1e-6)
    prompt, origin = velocity[:3].astype(np.float64), velocity[5:].astype(np.float64)
    guided = origin + 4 * (prompt - origin)
    want = guided * np.linalg.norm(prompt, axis=1)[:, None] / np.linalg.norm(guided, axis=1)[:, None]
    got = applied(ops, velocity, guided=True)
    for mine, each in zip(got, want, strict=False):
        assert np.abs(mine - each).max() <= 2e-6 * np.abs(each).max()
    np.testing.assert_array_equal(got[3:], velocity[3:5])  # an image without guidance stays to the bit


def test_zeros_and_broken_numbers_reach_no_other_row(ops: Ops[Any, Any]) -> None:
    velocity = np.random.default_rng(1).standard_normal((8, WIDTH), np.float32)
    whole = applied(ops, velocity, guided=True)
    velocity[[0, 5]] = 0
    velocity[1, 3] = np.nan
    broken = applied(ops, velocity, guided=True)
    assert not broken[0].any()
    assert np.isnan(broken[1]).all()
    np.testing.assert_array_equal(broken[2:], whole[2:])
