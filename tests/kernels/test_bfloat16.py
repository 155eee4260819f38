"""bfloat16 bits as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from salon.kernels.bfloat16 import widen

BITS = np.array([[0x3F80, 0xC000, 0x0001], [0x7F80, 0x8000, 0x4049]], np.uint16)
NUMBERS = np.array([[1, -2, 2.0**-133], [np.inf, -0.0, 3.140625]], np.float32)


@pytest.mark.parametrize("bits", [BITS, BITS.astype(">u2"), np.asfortranarray(BITS), np.repeat(BITS, 2, 1)[:, ::2]])
def test_bits_become_the_numbers_they_mean(bits: Any) -> None:
    got = widen(bits, "x")
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got.view(np.uint32), NUMBERS.view(np.uint32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint8, np.bool_])
def test_other_numbers_are_copied(dtype: Any) -> None:
    values = np.array([1, 0, 1], dtype)
    got = widen(values, "x")
    values[0] = 0
    np.testing.assert_array_equal(got, [1, 0, 1])
    assert got.dtype == np.float32


def test_what_float32_cannot_hold_is_infinite() -> None:
    np.testing.assert_array_equal(widen(np.array([1e300, -1e300]), "x"), [np.inf, -np.inf])


@pytest.mark.parametrize("values", [np.array(["a"]), np.array([1j]), np.array([None])])
def test_what_are_no_numbers_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=r"linear: x: got .*, want a float dtype"):
        widen(values, "linear: x")
