"""The triton backend beside the reference: its kernels run under Triton's interpreter, on the CPU."""

from __future__ import annotations

from typing import Any

import pytest

from salon.kernels import backends
from salon.kernels.ops import Dtype
from salon.kernels.reference import ReferenceOps

from ..conftest import Pair

pytest.importorskip("torch", reason="the triton backend computes with torch (extra: gpu)")
pytest.importorskip("triton", reason="the triton backend is compiled by triton (extra: gpu)")


def make_pair(dtype: Dtype) -> Pair:
    ops: Any = backends.create("triton", device="cpu", dtype=dtype)
    tolerance = 2e-5 if dtype == "float32" else 1e-2
    return Pair(ops, ReferenceOps(), tolerance, tolerance)


@pytest.fixture(params=["float32", "bfloat16"], scope="module")
def pair(request: pytest.FixtureRequest) -> Pair:
    return make_pair(request.param)
