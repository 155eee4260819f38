"""Weights in float8: rounded as torch rounds, a token's bits its own, and only where the quality gate lets them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from salon.kernels import backends
from salon.kernels.segments import Segments
from salon.kernels.triton.devices import open_device
from salon.kernels.triton.float8 import GATE, Float8
from salon.kernels.triton.table import TritonOps

ROWS, WIDTH, DEPTH = 21, 35, 70


def table(**bounds: Any) -> Any:
    return TritonOps(open_device("cpu", "bfloat16"), float8=Float8(**({"least": 16} | bounds)))


@pytest.fixture(scope="module")
def ops() -> Any:
    return table()


def normal(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_tokens_are_rounded_as_torch_rounds(ops: Any) -> None:
    x = normal(ROWS, DEPTH) * 10.0 ** np.arange(-10, 11)[:, None]
    x[3] = 0
    x[4, :3] = 300, -300, 1e-3  # a wide row has subnormals
    given = ops.array(x)
    made, scales = ops._to_float8(given)
    want = (given.float() / scales[:, None]).to(torch.float8_e4m3fn)
    assert torch.equal(made.view(torch.uint8), want.view(torch.uint8))
    assert scales[3] == 1
    largest = (made.float() * scales[:, None]).abs().amax(1)
    torch.testing.assert_close(largest, given.float().abs().amax(1))


@pytest.mark.parametrize("kind", ["gelu", "swiglu", "gated"])
def test_products_are_those_of_the_rounded_numbers(ops: Any, kind: str) -> None:
    weight, bias, segments = normal(2 * WIDTH, DEPTH), normal(2 * WIDTH, seed=2), Segments.of([8, 0, 13])
    packed = ops.pack_linear([weight], [bias], swiglu=kind == "swiglu")
    assert packed.weight.dtype == torch.float8_e4m3fn
    given = ops.array(normal(ROWS, DEPTH, seed=3))
    small, scales = ops._to_float8(given)
    y = (small.float() * scales[:, None]) @ (packed.weight.float() * packed.scales[:, None]).T + torch.from_numpy(bias)
    if kind == "gelu":
        got, want = ops.linear(given, packed, activation="gelu", dtype="float32"), torch.nn.functional.gelu(y)
    elif kind == "swiglu":
        got = ops.linear(given, packed, activation="swiglu", dtype="float32")
        want = torch.nn.functional.silu(y[:, :WIDTH]) * y[:, WIDTH:]
    else:
        stream, gates = normal(ROWS, 2 * WIDTH, seed=4), normal(3, 2 * WIDTH, seed=5)
        total, gate = (ops.array(part, "float32") for part in (stream, gates))
        got = ops.linear(given, packed, residual=total, gate=gate, segments=segments)
        want = torch.from_numpy(stream + gates[segments.row_owners()]) * 0 + torch.from_numpy(stream)
        want = want + torch.from_numpy(gates[segments.row_owners()]) * y
    torch.testing.assert_close(got, want, rtol=2e-5, atol=2e-4)


def test_a_row_has_the_bits_that_it_has_alone(ops: Any) -> None:
    """Whatever is beside it, also numbers that are none: scales belong to tokens."""
    packed, x = ops.pack_linear([normal(WIDTH, DEPTH)]), normal(ROWS, DEPTH, seed=6)
    whole = ops.numpy(ops.linear(ops.array(x), packed))
    for start, stop in ((0, 1), (15, 18), (20, 21)):
        np.testing.assert_array_equal(ops.numpy(ops.linear(ops.array(x[start:stop]), packed)), whole[start:stop])
    x[7, 2], x[9, 3], x[11] = np.nan, np.inf, 1e30
    spoilt = ops.numpy(ops.linear(ops.array(x), packed))
    assert not np.isfinite(spoilt[[7, 9]]).any()
    np.testing.assert_array_equal(np.delete(spoilt, [7, 9, 11], 0), np.delete(whole, [7, 9, 11], 0))


def test_a_layer_that_loses_too_much_stays_as_it_is() -> None:
    ops, strict = table(), table(gate=0.001)
    assert ops.pack_linear([normal(WIDTH, DEPTH)]).scales is not None
    assert ops.pack_linear([normal(8, DEPTH)]).scales is None, "too small to be worth it"
    assert strict.pack_linear([normal(WIDTH, DEPTH)]).scales is None
    assert ops.pack_linear([np.full((WIDTH, DEPTH), np.nan, np.float32)]).scales is None
    (said,) = (note for note in ops.notes if "float8" in note)
    assert said.startswith("float8: 1 of 3 layers, whose products are off by ")
    assert (strict._float8.kept, strict._float8.layers) == (0, 1)


def test_the_gate_lets_normal_numbers_pass_and_no_coarser_ones() -> None:
    """The declared bound is a little more than what rounding both sides costs, and less than twice it."""
    found = Float8()
    assert found.rounded(torch.from_numpy(normal(256, 512)).bfloat16()) is not None
    assert GATE / 2 < found.worst < GATE


def test_it_is_a_backend_of_its_own_and_says_so_in_its_name() -> None:
    """So a recipe tells whether a picture was drawn with it, and nobody has it who did not ask for it."""
    assert backends.create("triton_fp8", device="cpu").name == "triton_fp8/interpreter"
    assert backends.create("triton", device="cpu").name == "triton/interpreter"
