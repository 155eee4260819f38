"""The elementary functions, and that what they make does not depend on the machine.

house 4.8: rope took numpy's cosines and powers, the solvers math.exp, the timestep embedding the C library's: all of
them choose other code on other CPUs, so two machines with one instruction set could draw other bits.
"""

from __future__ import annotations

import decimal
import importlib
import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from salon.kernels.cpu import isa_levels
from salon.kernels.elementary import cos_sin, cos_sin_turns, exp, log

RNG = np.random.default_rng(5)


def exactly(function: str, x: float) -> decimal.Decimal:
    with decimal.localcontext() as context:
        context.prec = 40
        return decimal.Decimal(x).exp() if function == "exp" else decimal.Decimal(x).ln()


def ulps(got: float, want: decimal.Decimal) -> float:
    return float(abs(decimal.Decimal(float(got)) - want) / decimal.Decimal(math.ulp(float(want))))


def test_exp() -> None:
    x = np.concatenate([RNG.uniform(-700, 700, 400), RNG.uniform(-1, 1, 400), [0.0, -1e-300, 1e-9, 709.7, -708.3]])
    assert max(ulps(y, exactly("exp", v)) for v, y in zip(x.tolist(), exp(x), strict=True)) < 1
    assert exp([0, np.inf, -np.inf, 710, -746]).tolist() == [1, np.inf, 0, np.inf, 0]
    assert np.isnan(exp(np.nan))


def test_log() -> None:
    near = 1 + RNG.uniform(-1e-3, 1e-3, 200)
    x = np.concatenate([2.0 ** RNG.uniform(-1000, 1000, 300), RNG.random(300), near, [1e4, 2.0, 0.5, 5e300]])
    assert max(ulps(y, exactly("log", v)) for v, y in zip(x.tolist(), log(x), strict=True)) < 3
    assert log([1, 0, np.inf]).tolist() == [0, -np.inf, np.inf]
    assert np.isnan(log([-1, np.nan])).all()


def test_cos_sin() -> None:
    """Against the C library, which is right to about half an ulp of the result."""
    x = np.concatenate(
        [RNG.uniform(-10, 10, 2000), RNG.uniform(-1e6, 1e6, 2000), np.arange(-9, 9) * (math.pi / 2), [1e-300]]
    )
    cosine, sine = cos_sin(x)
    np.testing.assert_allclose(cosine, [math.cos(v) for v in x], rtol=0, atol=2.3e-16)
    np.testing.assert_allclose(sine, [math.sin(v) for v in x], rtol=0, atol=2.3e-16)
    np.testing.assert_allclose(cosine**2 + sine**2, 1, rtol=0, atol=5e-16)
    assert cos_sin(0.0)[0] == 1
    assert cos_sin(0.0)[1] == 0
    assert np.isnan(cos_sin([np.inf, -np.inf, np.nan])).all()
    far = np.array(cos_sin([2.0**20, 1e18, -1e300]))
    np.testing.assert_allclose((far**2).sum(0), 1, atol=1e-15)


def test_cos_sin_turns() -> None:
    turns = np.concatenate([RNG.random(2000), np.arange(8) / 8, [1 - 2.0**-53]])
    cosine, sine = cos_sin_turns(turns)
    np.testing.assert_allclose(cosine, np.cos(2 * np.pi * turns), rtol=0, atol=1.5e-15)
    np.testing.assert_allclose(sine, np.sin(2 * np.pi * turns), rtol=0, atol=1.5e-15)


def test_shapes_stay() -> None:
    assert exp(1.0).shape == ()
    assert log(np.ones((2, 0, 3))).shape == (2, 0, 3)
    strided = np.arange(24.0).reshape(4, 6)[::2, ::3]
    np.testing.assert_array_equal(exp(strided), exp(strided.copy()))


DRAW = """
import hashlib
import numpy as np
import salon
engine = salon.Engine.load(isa={isa!r}, threads=1)
digest = hashlib.sha256()
for prompt, fields in (("a red apple, 3d render", dict(solver="heun")), ("a tabby kitten", dict(aspect=(16, 9)))):
    generation = engine.open(engine.make_spec(prompt, steps=2, seed=3, images=1, guidance_scale=2.0, **fields))
    while not engine.step([generation])[0].done:
        pass
    digest.update(engine.finish(generation).tobytes())
print(digest.hexdigest(), hashlib.sha256(np.cos(np.arange(9999.0)).tobytes()).hexdigest())
"""


def numpy_features() -> str:
    """What numpy found on this machine and can do without."""
    internal: Any = importlib.import_module("numpy._core._multiarray_umath")
    return " ".join(name for name in internal.__cpu_dispatch__ if internal.__cpu_features__[name])


@pytest.mark.parametrize("isa", isa_levels()[:-1][::3] or ["portable"])  # the best, and a plain one
def test_other_machines_draw_the_same(isa: str) -> None:
    """Machines without numpy's and glibc's newer CPU features are imitated (the kernels' instruction set is one)."""
    old = "glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4,-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-SSE4_1,-ERMS"
    environments: tuple[dict[str, str], ...] = (
        {},
        {"NPY_DISABLE_CPU_FEATURES": numpy_features(), "GLIBC_TUNABLES": old},
    )
    found = []
    for extra in environments:
        done = subprocess.run(
            [sys.executable, "-c", DRAW.format(isa=isa)],
            env={**os.environ, "OPENBLAS_CORETYPE": "Nehalem" if extra else "", **extra},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.split())
    if numpy_features():
        assert found[0][1] != found[1][1], "numpy's own cosines should tell the two machines apart"
    assert found[0][0] == found[1][0]
