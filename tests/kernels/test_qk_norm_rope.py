"""qk_norm_rope against the reference, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from salon.kernels.cpu import CpuOps


def draw(pair, rng, rows, heads, width):
    angle = rng.uniform(-50, 50, (rows, width // 2))
    return {
        "qkv": pair.round(rng.standard_normal((rows, 3 * heads * width)) * 3),
        "weights": rng.standard_normal((2, 1, width)).astype(np.float32),
        "turn": np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32),
    }


def run(ops, heads, qkv, weights, turn, *, norm=True, rope=True, plain=True):
    """The new qkv and the plain query. The arrays are views within others full of NaN."""
    rows, width = qkv.shape
    room = ops.array(np.pad(qkv, ((1, 1), (2, 5)), constant_values=np.nan))
    view = ops.columns(ops.rows(room, 1, rows + 1), 2, width + 2)
    cos, sin = ops.array(turn[0], "float32"), ops.array(turn[1], "float32")
    q_weight, k_weight = (ops.array(w, "float32") for w in weights)
    plain_q = ops.array(np.full((rows, width // 3), 7.0, np.float32)) if plain else None
    ops.qk_norm_rope(
        view,
        heads,
        q_weight if norm else None,
        k_weight if norm else None,
        cos if rope else None,
        sin if rope else None,
        plain_q=plain_q,
    )
    whole = ops.numpy(room)
    assert np.isnan(whole[[0, -1]]).all()
    assert np.isnan(whole[:, :2]).all()
    assert np.isnan(whole[:, width + 2 :]).all()
    return ops.numpy(view), None if plain_q is None else ops.numpy(plain_q)


@pytest.mark.parametrize("width", [2, 6, 8, 14, 18, 40, 64, 80, 128, 512])
@pytest.mark.parametrize(("norm", "rope", "plain"), [(1, 1, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (0, 0, 1), (0, 0, 0)])
def test_parity(pair, rng, width, norm, rope, plain):
    heads = 3
    values = draw(pair, rng, 11, heads, width)
    got = run(pair.cpu, heads, **values, norm=norm, rope=rope, plain=plain)
    want = run(pair.reference, heads, **values, norm=norm, rope=rope, plain=plain)
    pair.close(got[0], want[0], 4)
    assert np.array_equal(got[0][:, 2 * heads * width :], values["qkv"][:, 2 * heads * width :])
    assert (got[1] is None) == (want[1] is None)
    if got[1] is not None:
        pair.close(got[1], want[1], 4)


@pytest.mark.parametrize(("heads", "groups"), [(4, 2), (3, 1)])
def test_fewer_heads_of_keys(pair, rng, heads, groups):
    """A head is turned as it is where keys have as many heads as queries."""
    width, rows = 10, 5
    values = draw(pair, rng, rows, heads, width)
    few = np.delete(values["qkv"], np.r_[(heads + groups) * width : 2 * heads * width], axis=1)
    few = np.delete(few, np.r_[(heads + 2 * groups) * width : few.shape[1]], axis=1)
    for ops in pair.both:
        whole, part = ops.array(values["qkv"]), ops.array(few)
        q, k, cos, sin = (ops.array(x, "float32") for x in (*values["weights"], *values["turn"]))
        ops.qk_norm_rope(whole, heads, q, k, cos, sin)
        ops.qk_norm_rope(part, heads, q, k, cos, sin, kv_heads=groups)
        inner = (heads + groups) * width
        assert np.array_equal(ops.numpy(part)[:, :inner], ops.numpy(whole)[:, :inner])
        assert np.array_equal(ops.numpy(part)[:, inner:], few[:, inner:])
        with pytest.raises(ValueError, match="kv_heads"):
            ops.qk_norm_rope(part, heads, q, k, cos, sin, kv_heads=heads + 1)


def test_only_one_of_the_weights(pair, rng):
    values = draw(pair, rng, 3, 2, 16)
    results = []
    for ops in pair.both:
        qkv, weight = ops.array(values["qkv"]), ops.array(values["weights"][1], "float32")
        ops.qk_norm_rope(qkv, 2, None, weight, None, None)
        results.append(ops.numpy(qkv))
    pair.close(*results, 4)
    assert np.array_equal(results[0][:, :32], values["qkv"][:, :32])


def test_rotation_keeps_lengths_and_turns_by_the_angle(pair):
    ops = pair.cpu
    qkv = np.zeros((1, 12), np.float32)
    qkv[0, 0], qkv[0, 5] = 1, 2  # q = (1, 0, 0, 0), k = (0, 2, 0, 0)
    x = ops.array(qkv)
    turn = np.full((1, 2), np.pi / 2)
    ops.qk_norm_rope(x, 1, None, None, ops.array(np.cos(turn), "float32"), ops.array(np.sin(turn), "float32"))
    want = np.zeros((1, 12), np.float32)
    want[0, 1], want[0, 4] = 1, -2
    np.testing.assert_allclose(ops.numpy(x), want, rtol=0, atol=1e-6)


def test_bitwise_independent_of_company_and_threads(pair, rng):
    values = draw(pair, rng, 300, 2, 40)
    full = run(pair.cpu, 2, **values)
    for threads in (1, 5):
        again = run(CpuOps(pair.cpu.isa, pair.cpu.compute, threads), 2, **values)
        assert np.array_equal(full[0], again[0])
        assert np.array_equal(full[1], again[1])
    some = run(pair.cpu, 2, values["qkv"][123:130], values["weights"], values["turn"][:, 123:130])
    assert np.array_equal(some[0], full[0][123:130])
    assert np.array_equal(some[1], full[1][123:130])


def test_nan_stays_in_its_row(pair, rng):
    values = draw(pair, rng, 9, 2, 24)
    clean, plain = run(pair.cpu, 2, **values)
    values["qkv"][4] = np.nan
    got, got_plain = run(pair.cpu, 2, **values)
    others = np.delete(np.arange(9), 4)
    assert np.isnan(got[4]).all()
    assert np.isnan(got_plain[4]).all()
    assert np.array_equal(got[others], clean[others])
    assert np.array_equal(got_plain[others], plain[others])


def test_no_rows(pair, rng):
    values = draw(pair, rng, 0, 2, 8)
    assert run(pair.cpu, 2, **values)[0].shape == (0, 48)


def test_wrong_arguments_name_themselves(pair):
    ops = pair.cpu
    qkv, weight = ops.zeros(4, 48), ops.zeros(1, 8, "float32")
    with pytest.raises(ValueError, match="qkv"):
        ops.qk_norm_rope(qkv, 5, weight, weight, None, None)
    with pytest.raises(ValueError, match="q_weight"):
        ops.qk_norm_rope(qkv, 2, ops.zeros(1, 7, "float32"), weight, None, None)
    with pytest.raises(ValueError, match="sin"):
        ops.qk_norm_rope(qkv, 2, None, None, ops.zeros(4, 4, "float32"), ops.zeros(3, 4, "float32"))
    with pytest.raises(ValueError, match="plain_q"):
        ops.qk_norm_rope(qkv, 2, None, None, None, None, plain_q=ops.zeros(4, 15))
