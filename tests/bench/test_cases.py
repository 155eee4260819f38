"""The op benchmark's cases: both sides compute the same thing, and a wrong or NaN result is caught before timing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the op benchmark compares with torch (extra: peers)")

from salon.bench import ops
from salon.bench.cases import Case, Cases
from salon.bench.measure import Samples
from salon.bench.ops import as_row, floor_ms
from salon.kernels.backends import create

SMALL = ("linear", "linear_gelu", "attention", "adapters", "modulate", "qk_norm_rope", "conv", "upsample", "group_norm")


def small(make: Cases) -> dict[str, Case]:
    return {
        "linear": make.linear(5, 12, 20),
        "linear_gelu": make.linear(5, 12, 20, "gelu_tanh"),
        "attention": make.attention(3, 7, 2, 8),
        "adapters": make.attention(3, 7, 2, 8, adapters=2, tokens=3),
        "modulate": make.modulate(3, 4, 16),
        "qk_norm_rope": make.qk_norm_rope(5, 2, 8),
        "conv": make.conv(2, 5, 3, 4),
        "upsample": make.conv(2, 5, 3, 4, upsample=True),
        "group_norm": make.group_norm_silu(2, 5, 8, 2),
    }


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return small(Cases(create("reference")))


@pytest.mark.parametrize("name", SMALL)
def test_the_reference_backend_passes_every_case(cases: dict[str, Case], name: str) -> None:
    cases[name].verify(1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_torch_computes_the_same_thing_in_bf16(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    for rival, call in case.rivals.items():
        got: Any = call()
        got = got.float()
        if got.ndim == 4 and name in ("conv", "upsample", "group_norm"):
            got = got.permute(0, 2, 3, 1)
        elif got.ndim == 4:
            got = got.permute(0, 2, 1, 3)
        got = got.reshape(case.truth.shape).numpy()
        assert np.isfinite(got).all(), rival
        assert np.abs(got - case.truth).max() <= 0.03 * np.abs(case.truth).max(), rival


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("damage", [np.nan, np.inf, 1e3])
def test_a_wrong_result_is_refused(cases: dict[str, Case], name: str, damage: float) -> None:
    case = cases[name]
    spoiled = case.truth.copy()
    spoiled.reshape(-1)[-1] = damage
    bad = Case(**{**vars(case), "result": lambda: spoiled})
    with pytest.raises(ArithmeticError, match=case.shape.replace("(", r"\(")):
        bad.verify()


def test_a_row_compares_with_the_best_rival() -> None:
    zero = np.zeros(1, np.float32)
    case = Case("linear", "s", 2e9, 8e3, lambda: 0, {}, lambda: zero, zero, {"gemm"})
    results = {"salon": Samples([4.0]), "slow": Samples([20.0]), "fast": Samples([10.0]), "never ran": Samples()}
    row = as_row(case, results, 1e12, 2)
    assert (row["rival"], row["rival_ms"], row["times"]) == ("fast", 10.0, 2.5)
    assert row["gflops"] == pytest.approx(500)
    assert row["floor_ms"] == pytest.approx(1.0)  # 2 GFLOP at two times 1 TFLOP/s
    assert row["share"] == pytest.approx(0.25)
    assert floor_ms(case, None, 2) is None


def test_the_model_shapes_are_the_embedded_models() -> None:
    config = json.loads((Path(ops.__file__).parent.parent / "models/mini/transformer/config.json").read_text())
    assert (config["num_attention_heads"], config["attention_head_dim"]) == (ops.HEADS, ops.WIDTH)
