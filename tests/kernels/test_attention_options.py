"""attention's options against the reference, on every instruction set: causal, bias, scale, fewer heads of keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.kernels.cpu import CpuOps
from salon.kernels.segments import Segments

Float32 = NDArray[np.float32]
HEADS = 6


@dataclass(frozen=True)
class Case:
    """Inputs of one call; `options` are passed on, the bias among them as a numpy array."""

    q: Float32
    k: Float32
    v: Float32
    segments: Segments
    kv: Segments
    options: dict[str, Any]

    def run(self, ops: Any) -> Float32:
        options = {key: ops.array(value, "float32") if key == "bias" else value for key, value in self.options.items()}
        kv = ops.array(np.concatenate([self.k, self.v], axis=1))
        k, v = (ops.columns(kv, i * self.k.shape[1], (i + 1) * self.k.shape[1]) for i in range(2))
        got: Float32 = ops.numpy(
            ops.attention(ops.array(self.q), k, v, self.segments, HEADS, kv_segments=self.kv, **options)
        )
        return got


OPTIONS: dict[str, dict[str, Any]] = {
    "causal": {"causal": True},
    "scale": {"scale": 1.0},
    "kv_heads": {"kv_heads": 2},
    "one head of keys": {"kv_heads": 1},
    "bias": {"bias": 4},
    "wide bias": {"bias": 900},
    "a bias of one column": {"bias": 0},
    "all": {"causal": True, "scale": 0.3, "kv_heads": 3, "bias": 20},
}
LAYOUTS = [
    ([1], [0], [1], [0]),
    ([5, 0, 33, 7], [2, 0, 1, 1], [5, 0, 33, 7], [2, 0, 1, 1]),
    ([300, 130], [0, 0], [430], [0]),  # more than one block of keys and of rows; a sample's rows in two segments
    ([9, 40], [0, 1], [3, 20, 281], [1, 0, 1]),  # keys of others
    ([33], [0], [20, 13], [0, 1]),  # keys that no row sees
]


def make(pair: Any, rng: np.random.Generator, options: dict[str, Any], layout: Any, width: int = 10) -> Case:
    lengths, owners, kv_lengths, kv_owners = layout
    samples = max(*owners, *kv_owners) + 1
    segments, kv = Segments.of(lengths, owners, samples), Segments.of(kv_lengths, kv_owners, samples)
    groups = options.get("kv_heads", HEADS)
    q = pair.round(rng.standard_normal((segments.num_rows, HEADS * width)))
    k, v = (pair.round(rng.standard_normal((kv.num_rows, groups * width))) for _ in range(2))
    given = dict(options)
    if "bias" in given:
        given["bias"] = rng.standard_normal((HEADS, 2 * given["bias"] + 1)).astype(np.float32)
    return Case(q, k, v, segments, kv, given)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", OPTIONS)
def test_parity(pair: Any, rng: np.random.Generator, name: str, layout: Any) -> None:
    case = make(pair, rng, OPTIONS[name], layout)
    pair.close(case.run(pair.cpu), case.run(pair.reference), 2)


@pytest.mark.parametrize("name", ["causal", "all"])
def test_a_causal_row_is_the_last_of_its_own_text(pair: Any, rng: np.random.Generator, name: str) -> None:
    """The definition of it, on the reference: keys that are not seen might as well not be there."""
    case = make(pair, rng, OPTIONS[name], ([40], [0], [40], [0]))
    got = case.run(pair.reference)
    for row in (0, 1, 17, 39):
        n = Segments.of([row + 1])
        alone = Case(case.q[: row + 1], case.k[: row + 1], case.v[: row + 1], n, n, case.options)
        np.testing.assert_allclose(alone.run(pair.reference)[row], got[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["kv_heads", "bias", "all"])
def test_bitwise_the_same_alone_and_on_any_number_of_threads(pair: Any, rng: np.random.Generator, name: str) -> None:
    lengths = [70, 300, 1]
    case = make(pair, rng, OPTIONS[name], (lengths, [0, 1, 2], lengths, [0, 1, 2]))
    full = case.run(pair.cpu)
    for threads in (1, 3):
        np.testing.assert_array_equal(case.run(CpuOps(pair.cpu.isa, pair.cpu.compute, threads)), full)
    for start, n in ((0, 70), (70, 300), (370, 1)):
        mine, one = slice(start, start + n), Segments.of([n])
        alone = Case(case.q[mine], case.k[mine], case.v[mine], one, one, case.options)
        np.testing.assert_array_equal(alone.run(pair.cpu), full[mine])


def test_what_is_not_seen_has_no_weight(pair: Any, rng: np.random.Generator) -> None:
    """Later keys, however large their scores are, change no bit of a causal row."""
    case = make(pair, rng, {"causal": True}, ([300], [0], [300], [0]))
    clean = case.run(pair.cpu)
    k, v = case.k.copy(), case.v.copy()
    k[200:] *= 100
    v[200:] *= 100
    changed = Case(case.q, k, v, case.segments, case.kv, case.options).run(pair.cpu)
    np.testing.assert_array_equal(changed[:200], clean[:200])
    assert not np.array_equal(changed[200:], clean[200:])


@pytest.mark.parametrize("which", ["cpu", "reference"])
def test_refusals(pair: Any, which: str) -> None:
    ops = getattr(pair, which)
    q, one = ops.zeros(4, 12), Segments.of([4])
    bias = ops.zeros(6, 5, "float32")
    for options, message in (
        ({"kv_heads": 4}, "kv_heads: got 4, want a divisor of the 6 heads"),
        ({"kv_heads": 0}, "kv_heads: got 0"),
        ({"kv_heads": 3}, r"k: got \[4, 12\]"),
        ({"scale": 0.0}, "scale: got 0"),
        ({"scale": float("nan")}, "scale: got"),
        ({"bias": ops.columns(bias, 0, 4)}, r"bias: got \[6, 4\]"),
        ({"bias": ops.rows(bias, 0, 5)}, r"bias: got \[5, 5\]"),
    ):
        with pytest.raises(ValueError, match=message):
            ops.attention(q, q, q, one, 6, **options)
