"""Weights that leave the device and come back to their places, views of them included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from salon.kernels.triton import unloading
from salon.kernels.triton.devices import open_device
from salon.kernels.triton.float8 import Float8
from salon.kernels.triton.table import TABLE, TritonOps


def normal(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_they_come_back_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    ops: Any = TritonOps(open_device("cpu", "bfloat16"), float8=Float8(least=16))
    small, plain = ops.pack_linear([normal(18, 21)]), ops.pack_linear([normal(5, 21)])
    kernel, table = ops.pack_conv(normal(2, 21, 1, 1), None), ops.array(normal(1024, TABLE // 2048))
    assert small.scales is not None
    x, grids, part = ops.array(normal(4, 21)), np.array([[2, 2]], np.int32), table[3:5, :7]

    def results() -> list[Any]:
        made = [ops.linear(x, small), ops.linear(x, plain), ops.conv2d(x, kernel, grids), part]
        return [ops.numpy(each) for each in made]

    before, size = results(), ops.resident.num_bytes
    places = [each.weight.untyped_storage() for each in (small, plain, kernel)]
    assert size == sum(place.nbytes() for place in places) + TABLE
    assert ops.resident.unload() == size
    assert [place.nbytes() for place in places] == [0, 0, 0]
    assert (ops.resident.num_bytes, ops.resident.unload()) == (0, 0)
    whole, failing = unloading._bytes_of, [torch.OutOfMemoryError("others took it")]

    def once(tensor: torch.Tensor) -> torch.Tensor:
        if len(ops.resident._hosts) == 2 and failing:
            raise failing.pop()
        return whole(tensor)

    monkeypatch.setattr(unloading, "_bytes_of", once)
    with pytest.raises(torch.OutOfMemoryError):
        ops.resident.wake()
    ops.resident.wake()
    assert ops.resident.num_bytes == size
    for got, want in zip(results(), before, strict=True):
        np.testing.assert_array_equal(got, want)


def test_weights_of_a_model_that_is_gone_are_forgotten() -> None:
    ops: Any = TritonOps(open_device("cpu", "float32"))
    packed = ops.pack_linear([normal(4, 8)])
    assert ops.resident.num_bytes > 0
    del packed
    assert (ops.resident.num_bytes, ops.resident.unload()) == (0, 0)
