"""The op benchmark's cases: both sides compute the same thing, and a wrong or NaN result is caught before timing."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the op benchmark compares with torch (extra: peers)")

from salon.bench.cases import Case, Cases
from salon.bench.facts import shipped
from salon.bench.measure import Samples, budgeted
from salon.bench.ops import COPIES, PEAK, as_row, least_ms
from salon.bench.recording import NOT_MEASURED, record
from salon.kernels.backends import create

SMALL = (
    "linear", "linear_gelu", "linear_gate", "linear_silu", "attention", "adapters", "modulate", "qk_norm_rope", "conv",
    "conv_1x1", "upsample", "group_norm",
)  # fmt: skip


def small(make: Cases) -> dict[str, Case]:
    return {
        "linear": make.linear(5, 12, 20),
        "linear_gelu": make.linear(5, 12, 20, "gelu_tanh"),
        "linear_gate": make.linear(6, 12, 20, gated=2),
        "linear_silu": make.linear(5, 12, 20, "silu", dtype="float32"),
        "attention": make.attention(3, 7, 2, 8),
        "adapters": make.attention(3, 7, 2, 8, adapters=2, tokens=3),
        "modulate": make.modulate(3, 4, 16),
        "qk_norm_rope": make.qk_norm_rope(5, 2, 8),
        "conv": make.conv2d(2, 5, 6, 3, 4, residual=True),
        "conv_1x1": make.conv2d(2, 5, 6, 3, 4, taps=1),
        "upsample": make.upsample(2, 5, 6, 3, 4),
        "group_norm": make.group_norm_silu(2, 5, 6, 8, 2),
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
        if got.ndim == 4 and name in ("conv", "conv_1x1", "upsample", "group_norm"):
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
    results = {
        "salon": Samples([4.0, 2.0, 6.0]), "slow": Samples([20.0]), "fast": Samples([10.0]), "never ran": Samples(),
        PEAK: Samples([1.0, 1.25, 3.0]), COPIES: Samples([100.0, 50.0]),
    }  # fmt: skip
    row = as_row(case, results, 2)
    assert (row["rival"], row["rival_ms"], row["times"]) == ("fast", 10.0, 2.5)
    assert row["gflops"] == pytest.approx(500)
    assert row["floor_ms"] == pytest.approx(1.0)  # 2 GFLOP at two times 1 ms a GFLOP, the best of the probe's runs
    assert row["share"] == pytest.approx(0.5)  # against the best of Salon's runs
    assert least_ms(case, {**results, PEAK: Samples()}, 2) is None
    moving = Case("modulate", "s", 0.0, 1e8, lambda: 0, {}, lambda: zero, zero, {"memory"})
    assert least_ms(moving, results, 2) == pytest.approx(5.0)


class Watched:
    """A backend that keeps what `qk_norm_rope` was given."""

    def __init__(self, ops: Any) -> None:
        self.ops = ops
        self.seen: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ops, name)

    def qk_norm_rope(self, qkv: Any, *rest: Any, **named: Any) -> None:
        self.seen.append(self.ops.numpy(qkv).copy())
        self.ops.qk_norm_rope(qkv, *rest, **named)


def test_an_op_that_works_in_place_gets_a_fresh_input_each_time() -> None:
    """qk_norm_rope was timed on its own output, which decays into denormals: another speed, and not the model's."""
    ops = Watched(create("cpu", threads=1))
    case = Cases(ops).qk_norm_rope(5, 2, 8)
    budgeted(case.salon, 0.0, at_least=20, before=case.before)()
    assert len(ops.seen) > 20
    for seen in ops.seen:
        np.testing.assert_array_equal(seen, ops.seen[0])


@pytest.fixture(scope="module")
def recorded() -> Any:
    return record(images=1)


def test_every_op_of_the_shipped_model_is_measured_or_named_as_too_small(recorded: Any) -> None:
    """house, drift 4: the shapes stood in bench.ops, and were those of an older model (16 text rows, 80 rows)."""
    calls, used = recorded
    assert used <= NOT_MEASURED | {call.op for call in calls}
    assert {call.op for call in calls} >= {"linear", "attention", "modulate", "qk_norm_rope", "conv2d", "upsample"}


def test_the_recorded_shapes_are_the_shipped_models(recorded: Any) -> None:
    calls, _ = recorded
    facts = shipped()
    rows = {dict(call.arguments)["rows"] for call in calls if call.op == "attention"}
    assert facts.rows in rows
    (packed,) = [dict(c.arguments) for c in calls if c.op == "linear" and dict(c.arguments)["n"] > 8 * facts.flux.width]
    assert packed["n"] == facts.flux.num_modulations
    adapters = {(d["adapters"], d["tokens"]) for d in (dict(c.arguments) for c in calls if c.op == "attention")}
    assert adapters == {(0, 0), (1, 4), (4, 4)}
