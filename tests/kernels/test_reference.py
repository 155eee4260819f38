"""The reference ops against torch's own layers, their promises, and their refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.kernels.ops import Activation, AdapterTerms, GuidanceTerms
from salon.kernels.reference import ReferenceOps
from salon.kernels.segments import Segments

torch = pytest.importorskip("torch")
F = torch.nn.functional

Float32 = NDArray[np.float32]
OPS = ReferenceOps()
RNG = np.random.default_rng(7)


def draw(*shape: int) -> Float32:
    return RNG.standard_normal(shape).astype(np.float32)


def strided(x: Float32) -> Float32:
    """The same values as a column view of a wider array."""
    wide = draw(len(x), x.shape[1] + 5)
    wide[:, 2:-3] = x
    return wide[:, 2:-3]


def t(x: NDArray[Any]) -> Any:
    return torch.from_numpy(np.ascontiguousarray(x))


def close(got: Float32, want: Any, tolerance: float = 1e-5) -> None:
    expected = want.detach().numpy() if isinstance(want, torch.Tensor) else want
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    assert np.isfinite(expected).all()
    assert np.isfinite(got).all()
    np.testing.assert_allclose(
        got, expected, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(expected).max(initial=0)))
    )


def ints(*values: int) -> NDArray[np.int32]:
    return np.array(values, np.int32)


def floats(*values: float) -> Float32:
    return np.array(values, np.float32)


# ---- edges


def test_array_reads_every_width() -> None:
    x = draw(3, 5)
    for dtype in (np.float16, np.float32, np.float64):
        np.testing.assert_array_equal(OPS.numpy(OPS.array(x.astype(dtype))), x.astype(dtype).astype(np.float32))
    bits = t(x).bfloat16()
    got = OPS.array(bits.view(torch.uint16).numpy())
    np.testing.assert_array_equal(got, bits.float().numpy())
    assert OPS.array(x[0]).shape == (1, 5)


def test_views_write_through_and_copies_do_not() -> None:
    x = OPS.array(draw(6, 4))
    OPS.rows(x, 2, 4)[:] = 1
    OPS.columns(x, 3, 4)[:] = 2
    assert (x[2:4, :3] == 1).all()
    assert (x[:, 3] == 2).all()
    first, none, rest = OPS.split(x, [1, 0, 5])
    assert [len(first), len(none), len(rest)] == [1, 0, 5]
    rest[:] = 3
    assert (x[1:] == 3).all()
    joined, copied = OPS.concat([first, rest]), OPS.cast(x)
    joined[:], copied[:] = 9, 9
    assert (x[1:] == 3).all()
    close(OPS.cast(x, activation="silu"), F.silu(t(x)))
    assert (OPS.zeros(2, 3) == 0).all()
    assert OPS.empty(0, 3).shape == (0, 3)


def test_add_touches_only_its_segments() -> None:
    x, y = draw(7, 3), strided(draw(7, 3))
    want = x.copy()
    want[0:2] += y[0:2]
    want[2:7] += 0
    OPS.add(x, y, Segments.of([2, 0, 5]), ints(1, 0))
    np.testing.assert_array_equal(x, want)
    OPS.add(x, y)
    np.testing.assert_array_equal(x, want + y)


# ---- dense

ACTIVATIONS: dict[Activation, Callable[[Any], Any]] = {
    "none": lambda v: v,
    "gelu_tanh": lambda v: F.gelu(v, approximate="tanh"),
    "gelu": F.gelu,
    "silu": F.silu,
}


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize(("rows", "k", "n"), [(1, 1, 1), (0, 3, 4), (5, 17, 33), (37, 64, 7)])
def test_linear(rows: int, k: int, n: int, activation: Activation) -> None:
    x, w, b = strided(draw(rows, k)), draw(n, k), draw(n)
    want = ACTIVATIONS[activation](F.linear(t(x), t(w), t(b)))
    close(OPS.linear(x, OPS.pack_linear([w], [b]), activation=activation), want)
    split = OPS.pack_linear([w[: n // 2], w[n // 2 :]], [None, b[n // 2 :]]) if n > 1 else OPS.pack_linear([w], [b])
    out = strided(np.zeros((rows, n), np.float32))
    assert OPS.linear(x, split, activation=activation, out=out) is out
    bias = np.concatenate([np.zeros(n // 2, np.float32), b[n // 2 :]]) if n > 1 else b
    close(np.ascontiguousarray(out), ACTIVATIONS[activation](F.linear(t(x), t(w), t(bias))))


def test_linear_swiglu() -> None:
    x, w, b = draw(5, 9), draw(14, 9), draw(14)
    gate, value = F.linear(t(x), t(w), t(b)).chunk(2, dim=1)
    close(OPS.linear(x, OPS.pack_linear([w], [b], swiglu=True), activation="swiglu"), F.silu(gate) * value)


def test_linear_gated_residual() -> None:
    x, w, b, residual, gate = draw(6, 5), draw(4, 5), draw(4), draw(6, 4), strided(draw(3, 4))
    segments = Segments.of([2, 0, 4], owners=[2, 1, 0])
    rows = gate[[2, 2, 0, 0, 0, 0]]
    y = F.linear(t(x), t(w), t(b))
    plain, gated = residual.copy(), residual.copy()
    weight = OPS.pack_linear([w], [b])
    assert OPS.linear(x, weight, residual=plain) is plain
    OPS.linear(x, weight, residual=gated, gate=gate, segments=segments)
    close(plain, t(residual) + y)
    close(gated, t(residual) + t(rows) * y)


@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize(("rows", "width"), [(1, 2), (6, 33), (0, 4)])
def test_norms(kind: Any, rows: int, width: int) -> None:
    x, weight, bias = strided(3 * draw(rows, width) + 1), draw(1, width), draw(1, width)
    plain = (F.layer_norm if kind == "layer" else F.rms_norm)(t(x), (width,), eps=1e-3)
    close(OPS.norm(x, weight, bias, kind=kind, eps=1e-3), plain * t(weight) + t(bias))
    close(OPS.norm(x, weight, kind=kind, eps=1e-3), plain * t(weight))
    shift, scale = draw(3, width), strided(draw(3, width))
    segments = Segments.of([rows // 2, 0, rows - rows // 2], owners=[2, 1, 0])
    owners = segments.row_owners()
    want = plain * (1 + t(scale[owners])) + t(shift[owners])
    close(OPS.modulate(x, shift, scale, segments, kind=kind, eps=1e-3), want)


@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("rotated", [True, False])
@pytest.mark.parametrize(("rows", "heads", "e"), [(1, 1, 2), (7, 3, 10)])
def test_qk_norm_rope(rows: int, heads: int, e: int, normed: bool, rotated: bool) -> None:
    qkv = strided(draw(rows, 3 * heads * e))
    before = qkv.copy()
    weights = (draw(1, e), draw(1, e)) if normed else (None, None)
    angles = draw(rows, e // 2)
    cos, sin = (np.cos(angles), np.sin(angles)) if rotated else (None, None)
    plain = strided(draw(rows, heads * e))
    OPS.qk_norm_rope(qkv, heads, weights[0], weights[1], cos, sin, eps=1e-6, plain_q=plain)
    width = heads * e
    for part, weight in ((0, weights[0]), (1, weights[1])):
        v = t(before[:, part * width : (part + 1) * width]).reshape(rows, heads, e)
        if weight is not None:
            v = F.rms_norm(v, (e,), t(weight)[0], eps=1e-6)
        if part == 0:
            close(np.ascontiguousarray(plain), v.reshape(rows, width))
        if rotated:
            pairs = torch.view_as_complex(v.reshape(rows, heads, e // 2, 2).contiguous())
            v = torch.view_as_real(pairs * torch.polar(torch.ones(rows, 1, e // 2), t(angles)[:, None])).flatten(2)
        close(np.ascontiguousarray(qkv[:, part * width : (part + 1) * width]), v.reshape(rows, width))
    np.testing.assert_array_equal(qkv[:, 2 * width :], before[:, 2 * width :])


# ---- attention


def sdpa(q: Float32, k: Float32, v: Float32, heads: int) -> Float32:
    if not len(q) or not len(k):
        return np.zeros(q.shape, np.float32)
    split = [t(x).reshape(len(x), heads, -1).transpose(0, 1) for x in (q, k, v)]
    result: Float32 = F.scaled_dot_product_attention(*split).transpose(0, 1).reshape(len(q), -1).numpy()
    return result


def test_attention_joins_a_samples_segments() -> None:
    heads, width = 3, 15
    segments = Segments.of([2, 0, 1, 4, 3, 5], owners=[0, 1, 2, 0, 1, 2])
    qkv = draw(15, 3 * width)
    q, k, v = qkv[:, :width], qkv[:, width : 2 * width], qkv[:, 2 * width :]
    out = strided(np.zeros((15, width), np.float32))
    OPS.attention(q, k, v, segments, heads, out=out)
    for rows in ([0, 1, 3, 4, 5, 6], [7, 8, 9], [2, 10, 11, 12, 13, 14]):
        close(out[rows], sdpa(q[rows], k[rows], v[rows], heads))


def test_cross_attention_and_samples_without_keys() -> None:
    heads, width = 2, 6
    q, k, v = draw(6, width), draw(4, width), draw(4, width)
    got = OPS.attention(q, k, v, Segments.of([1, 3, 2]), heads, kv_segments=Segments.of([3, 0, 1]))
    close(got[:1], sdpa(q[:1], k[:3], v[:3], heads))
    assert (got[1:4] == 0).all()
    close(got[4:], sdpa(q[4:], k[3:], v[3:], heads))


@pytest.mark.parametrize("apart", [True, False])
def test_adapter_terms(apart: bool) -> None:
    heads, width = 2, 8
    segments = Segments.of([2, 3, 1, 4], owners=[0, 1, 0, 1])
    q, k, v, other = (draw(10, width) for _ in range(4))
    keys, values = draw(9, width), draw(9, width)
    pages = [[4, 1], [], [0, 8, 3], [2]]
    terms_of = [3, 3, 2, 3]
    weights = floats(0.7, 5.0, -1.5, 0.25)
    out = np.full((10, width), 42, np.float32) if apart else None
    terms = AdapterTerms(
        keys,
        values,
        ints(*terms_of),
        ints(0, *np.cumsum([len(p) for p in pages]).tolist()),
        ints(*[row for page in pages for row in page]),
        weights,
        queries=other if apart else None,
        out=out,
    )
    got = OPS.attention(q, k, v, segments, heads, adapters=terms)
    plain = OPS.attention(q, k, v, segments, heads)
    extra = np.zeros_like(plain)
    for segment, page, weight in zip(terms_of, pages, weights, strict=True):
        rows = slice(segments.offsets[segment], segments.offsets[segment + 1])
        extra[rows] += weight * sdpa((other if apart else q)[rows], keys[page], values[page], heads)
    if out is None:
        close(got, plain + extra)
    else:
        np.testing.assert_array_equal(got, plain)
        close(out[5:], extra[5:])
        assert (out[:5] == 42).all()


# ---- lookups, conditioning, solver


def test_embed_and_timestep_embedding() -> None:
    tables = [draw(5, 7), draw(3, 7)]
    indices = [ints(4, 0, 0), ints(2, 1, 0)]
    close(
        OPS.embed(indices, tables), F.embedding(t(indices[0]), t(tables[0])) + F.embedding(t(indices[1]), t(tables[1]))
    )
    times = floats(0.0, 1.0, 517.25, 1000.0)
    half = torch.arange(5, dtype=torch.float64)
    angles = t(times).double()[:, None] * torch.exp(-math.log(10000) * half / 5)
    close(OPS.timestep_embedding(times, 10), torch.cat([angles.cos(), angles.sin()], 1).float(), 1e-4)


def test_solver_step() -> None:
    segments = Segments.of([2, 0, 3])
    latents, velocity, base, previous = draw(5, 3), draw(9, 3), draw(5, 3), draw(5, 3)
    guidance = GuidanceTerms(ints(4, 9, 0), ints(0, 0, 1, 3), ints(9, 6, 3), floats(2, 3.5, -0.5))
    a, b = floats(-0.1, 0, 0.2), floats(0, 0, 0.5)
    origin = velocity[0:3]
    guided = origin + np.float32(3.5) * (velocity[6:9] - origin) - np.float32(0.5) * (velocity[3:6] - origin)
    v = np.concatenate([velocity[4:6], guided])
    want = base + np.repeat(a, [2, 0, 3])[:, None] * v
    want[2:] += np.float32(0.5) * previous[2:]
    keep, got = draw(5, 3), latents.copy()
    OPS.solver_step(got, velocity, segments, guidance, a, b, base, previous, keep)
    close(got, want)
    close(keep, v)
    got = latents.copy()
    OPS.solver_step(got, velocity, segments, guidance, a, floats(0, 0, 0))
    close(got, latents + np.repeat(a, [2, 0, 3])[:, None] * v)


def test_blend() -> None:
    x, y, z = draw(5, 3), draw(5, 3), draw(5, 3)
    weights = np.array([[0], [1], [0.5], [0], [0.25]], np.float32)
    mixed = np.array([[0.5], [0.5], [2], [2], [2]]) * y + np.array([[-1], [-1], [3], [3], [3]]) * z
    want = weights * x + (1 - weights) * mixed
    OPS.blend(x, y, z, weights, Segments.of([2, 0, 3]), floats(0.5, 9, 2), floats(-1, 9, 3))
    close(x, want.astype(np.float32))


# ---- autoencoder


def images(x: Float32, grids: NDArray[np.int32]) -> list[Any]:
    """Rows of pixels as NCHW torch images."""
    parts = np.split(x, np.cumsum(np.prod(grids, axis=1))[:-1])
    return [t(p).T.reshape(1, x.shape[1], *g) for p, g in zip(parts, grids.tolist(), strict=True)]


def pixels(parts: list[Any]) -> Any:
    return torch.cat([p[0].flatten(1).T for p in parts])


GRIDS = np.array([[3, 5], [2, 2], [7, 4]], np.int32)
ONE = np.array([[1, 1]], np.int32)


@pytest.mark.parametrize("grids", [GRIDS, ONE])
@pytest.mark.parametrize("kernel", [1, 3])
def test_conv2d(grids: NDArray[np.int32], kernel: int) -> None:
    rows = int(np.prod(grids, axis=1).sum())
    x, w, b, residual = strided(draw(rows, 5)), draw(7, 5, kernel, kernel), draw(7), draw(rows, 7)
    packed = OPS.pack_conv(w, b)
    want = pixels([F.conv2d(i, t(w), t(b), padding=kernel // 2) for i in images(x, grids)])
    close(OPS.conv2d(x, packed, grids), want)
    close(OPS.conv2d(x, packed, grids, residual=residual), want + t(residual))


def test_images_that_go_on_at_the_opposite_side() -> None:
    rows = int(np.prod(GRIDS, axis=1).sum())
    x, w, b = strided(draw(rows, 5)), draw(4, 5, 3, 3), draw(4)
    packed = OPS.pack_conv(w, b)

    def around(image: Any) -> Any:
        return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="circular"), t(w), t(b))

    close(OPS.conv2d(x, packed, GRIDS, wrap=True), pixels([around(i) for i in images(x, GRIDS)]))
    doubled = [around(F.interpolate(i, scale_factor=2.0)) for i in images(x, GRIDS)]
    close(OPS.upsample(x, packed, GRIDS, wrap=True), pixels(doubled))
    point = np.ones((1, 5), np.float32)
    want = F.conv2d(t(point).T.reshape(1, 5, 1, 1).repeat(1, 1, 3, 3), t(w), t(b))
    close(OPS.conv2d(point, packed, ONE, wrap=True), pixels([want]))


def test_upsample_and_downsample() -> None:
    rows = int(np.prod(GRIDS, axis=1).sum())
    x, w, b = strided(draw(rows, 5)), draw(4, 5, 3, 3), draw(4)
    packed = OPS.pack_conv(w, b)
    doubled = [F.conv2d(F.interpolate(i, scale_factor=2.0), t(w), t(b), padding=1) for i in images(x, GRIDS)]
    close(OPS.upsample(x, packed, GRIDS), pixels(doubled))
    halved = [F.conv2d(F.pad(i, (0, 1, 0, 1)), t(w), t(b), stride=2) for i in images(x, GRIDS)]
    assert [list(h.shape[2:]) for h in halved] == [[(h - 2) // 2 + 1, (w - 2) // 2 + 1] for h, w in GRIDS.tolist()]
    close(OPS.downsample(x, packed, GRIDS), pixels(halved))


@pytest.mark.parametrize("silu", [True, False])
def test_group_norm_silu(silu: bool) -> None:
    x, weight, bias = strided(2 * draw(47, 6) + 1), draw(1, 6), draw(1, 6)
    want = pixels([F.group_norm(i, 3, t(weight)[0], t(bias)[0], eps=1e-6) for i in images(x, GRIDS)])
    close(OPS.group_norm_silu(x, weight, bias, GRIDS, 3, silu=silu), F.silu(want) if silu else want)


# ---- promises


def bitwise(a: Float32, b: Float32) -> None:
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(np.ascontiguousarray(a).view(np.int32), np.ascontiguousarray(b).view(np.int32))


@pytest.mark.parametrize(("k", "n"), [(1, 5), (17, 33), (65, 1), (384, 100), (1537, 37)])
def test_rows_do_not_depend_on_the_batch(k: int, n: int) -> None:
    x, weight = draw(41, k), OPS.pack_linear([draw(n, k)], [draw(n)])
    whole = OPS.linear(x, weight, activation="gelu_tanh")
    for start, stop in ((0, 1), (1, 2), (3, 20), (7, 41), (40, 41)):
        bitwise(OPS.linear(strided(x[start:stop]), weight, activation="gelu_tanh"), whole[start:stop])
    w = draw(1, k)
    bitwise(OPS.norm(x[13:20], w), OPS.norm(x, w)[13:20])


def test_samples_do_not_depend_on_the_batch() -> None:
    heads, width = 3, 33
    qkv = draw(40, 3 * width)
    q, k, v = (qkv[:, i * width : (i + 1) * width] for i in range(3))
    whole = OPS.attention(q, k, v, Segments.of([5, 13, 0, 22]), heads)
    bitwise(OPS.attention(q[5:18], k[5:18], v[5:18], Segments.of([13]), heads), whole[5:18])
    rows = int(np.prod(GRIDS, axis=1).sum())
    x, conv = draw(rows, 16), OPS.pack_conv(draw(9, 16, 3, 3), draw(9))
    weight, bias = draw(1, 16), draw(1, 16)
    bitwise(OPS.conv2d(x[19:], conv, GRIDS[2:]), OPS.conv2d(x, conv, GRIDS)[19:])
    norm = OPS.group_norm_silu(x, weight, bias, GRIDS, 4)
    bitwise(OPS.group_norm_silu(x[15:19], weight, bias, GRIDS[1:2], 4), norm[15:19])


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_poison_stays_in_its_row(poison: float) -> None:
    x = draw(5, 6)
    x[2, 3] = poison
    segments = Segments.of([2, 1, 2])
    gate, weight = draw(3, 6), OPS.pack_linear([draw(6, 6)])
    results = [
        OPS.linear(x, weight, activation="gelu"),
        OPS.linear(x, weight, residual=draw(5, 6), gate=gate, segments=segments),
        OPS.norm(x, draw(1, 6)),
        OPS.modulate(x, gate, gate, segments),
        OPS.attention(x, x, x, segments, 2),
        OPS.group_norm_silu(x, draw(1, 6), draw(1, 6), np.array([[1, 2], [1, 1], [2, 1]], np.int32), 2),
        OPS.conv2d(x, OPS.pack_conv(draw(6, 6, 3, 3), None), np.array([[1, 2], [1, 1], [2, 1]], np.int32)),
    ]
    for y in results:
        assert np.isfinite(y[[0, 1, 3, 4]]).all()
        assert not np.isfinite(y[2]).all()


# ---- refusals

X, W = np.zeros((4, 6), np.float32), OPS.pack_linear([np.zeros((6, 6), np.float32)])
SEGMENTS, C33 = Segments.of([1, 3]), OPS.pack_conv(np.zeros((2, 6, 3, 3), np.float32), None)
TERMS = AdapterTerms(X, X, ints(0), ints(0, 9), ints(1), floats(1))


def guided(**changes: Any) -> GuidanceTerms:
    whole = {"origins": ints(0, 1), "offsets": ints(0, 1, 2), "rows": ints(0, 1), "weights": floats(1, 1)}
    return GuidanceTerms(**(whole | changes))


def solve(guidance: GuidanceTerms) -> None:
    OPS.solver_step(X, X, SEGMENTS, guidance, floats(0, 0), floats(0, 0))


REFUSED: list[tuple[str, Callable[[], object]]] = [
    ("array: values", lambda: OPS.array(np.zeros((1, 1, 1)))),
    ("array: values", lambda: OPS.array(np.zeros(1, complex))),
    ("array: dtype", lambda: OPS.array(X, "float16")),  # type: ignore[arg-type]
    ("zeros: rows, width", lambda: OPS.zeros(-1, 2)),
    ("cast: activation", lambda: OPS.cast(X, activation="gelu")),
    ("rows: start, stop", lambda: OPS.rows(X, 2, 5)),
    ("columns: start, stop", lambda: OPS.columns(X, 3, 2)),
    ("concat: parts", lambda: OPS.concat([])),
    ("concat: parts", lambda: OPS.concat([X, X[:, :2]])),
    ("split: sizes", lambda: OPS.split(X, [1, 2])),
    ("add: y", lambda: OPS.add(X, X[:2])),
    ("add: segments", lambda: OPS.add(X, X, only=ints(0))),
    ("add: only", lambda: OPS.add(X, X, SEGMENTS, ints(2))),
    ("add: only", lambda: OPS.add(X, X, SEGMENTS, ints(1, 1))),
    ("pack_linear: weights", lambda: OPS.pack_linear([X, X[:, :2]])),
    ("pack_linear: biases", lambda: OPS.pack_linear([X], [np.zeros(3)])),
    ("pack_linear: weights", lambda: OPS.pack_linear([X[:3]], swiglu=True)),
    ("linear: x", lambda: OPS.linear(X[:, :5], W)),
    ("linear: x", lambda: OPS.linear(X.astype(np.float64), W)),
    ("linear: activation", lambda: OPS.linear(X, W, activation="swiglu")),
    ("linear: activation", lambda: OPS.linear(X, W, activation="silu", residual=X)),
    ("linear: gate", lambda: OPS.linear(X, W, gate=X)),
    ("linear: segments", lambda: OPS.linear(X, W, gate=X, residual=X)),
    ("linear: segments", lambda: OPS.linear(X, W, gate=X[:1], residual=X, segments=SEGMENTS)),
    ("linear: residual", lambda: OPS.linear(X, W, residual=X[:3])),
    ("linear: out", lambda: OPS.linear(X, W, out=X[:, :5])),
    ("modulate: scale", lambda: OPS.modulate(X, X, X[:2], SEGMENTS)),
    ("modulate: segments", lambda: OPS.modulate(X, X, X, Segments.of([3]))),
    ("modulate: eps", lambda: OPS.modulate(X, X, X, SEGMENTS, eps=0)),
    ("norm: weight", lambda: OPS.norm(X, X)),
    ("norm: kind", lambda: OPS.norm(X, X[:1], kind="batch")),  # type: ignore[arg-type]
    ("qk_norm_rope: qkv", lambda: OPS.qk_norm_rope(X, 4, None, None, None, None)),
    ("qk_norm_rope: q_weight", lambda: OPS.qk_norm_rope(X, 1, X[:1], None, None, None)),
    ("qk_norm_rope: cos, sin", lambda: OPS.qk_norm_rope(X, 1, None, None, X, None)),
    ("attention: q", lambda: OPS.attention(X, X, X, SEGMENTS, 4)),
    ("attention: v", lambda: OPS.attention(X, X, X[:3], SEGMENTS, 2)),
    ("attention: kv_segments", lambda: OPS.attention(X, X, X, SEGMENTS, 2, kv_segments=Segments.of([5]))),
    ("attention: adapters.offsets", lambda: OPS.attention(X, X, X, SEGMENTS, 2, adapters=TERMS)),
    ("embed: indices", lambda: OPS.embed([ints(4)], [X])),
    ("embed: indices", lambda: OPS.embed([ints(-1)], [X])),
    ("timestep_embedding: width", lambda: OPS.timestep_embedding(floats(1), 3)),
    ("solver_step: guidance.origins", lambda: solve(guided(origins=ints(0, 2)))),
    ("solver_step: guidance.origins", lambda: solve(guided(origins=ints(0, -1)))),
    ("solver_step: guidance.rows", lambda: solve(guided(rows=ints(1, 2)))),
    ("solver_step: guidance.rows", lambda: solve(guided(rows=ints(-1, 1)))),
    ("solver_step: guidance.rows", lambda: solve(guided(rows=ints(2**31 - 1, 1)))),
    ("solver_step: guidance.offsets", lambda: solve(guided(offsets=ints(0, 3, 2)))),
    ("solver_step: guidance.offsets", lambda: solve(guided(offsets=ints(0, 2)))),
    ("solver_step: guidance.offsets", lambda: solve(guided(offsets=ints(0, 1, 1)))),
    ("solver_step: guidance.weights", lambda: solve(guided(weights=floats(1)))),
    ("solver_step: a", lambda: OPS.solver_step(X, X, SEGMENTS, guided(), floats(0), floats(0, 0))),
    ("solver_step: previous", lambda: OPS.solver_step(X, X, SEGMENTS, guided(), *[floats(1, 1)] * 2)),
    ("blend: y", lambda: OPS.blend(X, X[:3], X, X[:, :1], SEGMENTS, floats(0, 0), floats(0, 0))),
    ("blend: weights", lambda: OPS.blend(X, X, X, X, SEGMENTS, floats(0, 0), floats(0, 0))),
    ("blend: b", lambda: OPS.blend(X, X, X, X[:, :1], SEGMENTS, floats(0, 0), floats(0))),
    ("pack_conv: weight", lambda: OPS.pack_conv(np.zeros((2, 2, 5, 5)), None)),
    ("conv2d: grids", lambda: OPS.conv2d(X, C33, np.array([[1, 3]], np.int32))),
    ("conv2d: x", lambda: OPS.conv2d(X[:, :4], C33, np.array([[2, 2]], np.int32))),
    ("downsample: grids", lambda: OPS.downsample(X, C33, np.array([[1, 4]], np.int32))),
    (
        "upsample: weight",
        lambda: OPS.upsample(X, OPS.pack_conv(np.zeros((2, 6, 1, 1)), None), np.array([[2, 2]], np.int32)),
    ),
    ("group_norm_silu: groups", lambda: OPS.group_norm_silu(X, X[:1], X[:1], np.array([[2, 2]], np.int32), 4)),
]


@pytest.mark.parametrize(("message", "call"), REFUSED, ids=[f"{i}-{m}" for i, (m, _) in enumerate(REFUSED)])
def test_refuses(message: str, call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=f"^{message}: got .*, want "):
        call()
    assert not X.any()
