"""Every instruction set of this machine, with both compute dtypes where it has both, beside the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.kernels.cpu import CpuOps, isa_levels
from salon.kernels.ops import Dtype
from salon.kernels.reference import ReferenceOps

Float32 = NDArray[np.float32]


def variants() -> list[tuple[str, Dtype]]:
    """(isa, dtype) pairs. "amx_model" runs the AMX kernels over tiles computed with AVX512."""
    levels = isa_levels()
    pairs: list[tuple[str, Dtype]] = [(isa, "float32") for isa in levels]
    pairs += [(isa, "bfloat16") for isa in levels if isa.endswith("bf16")]
    if "avx512_bf16" in levels:
        pairs.append(("amx_model", "bfloat16"))
    return pairs


@dataclass(frozen=True)
class Pair:
    """A cpu backend and the reference; `round` makes inputs that both hold exactly."""

    cpu: CpuOps
    reference: ReferenceOps
    rtol: float
    atol: float

    @property
    def both(self) -> tuple[Any, Any]:
        """The two tables, for code that runs on either."""
        return self.cpu, self.reference

    def round(self, x: NDArray[np.floating]) -> Float32:
        """x as the compute dtype holds it, in float32."""
        return self.cpu.numpy(self.cpu.array(np.asarray(x, np.float32).reshape(1, -1))).reshape(np.shape(x))

    def close(self, got: Float32, want: Float32, scale: float = 1.0) -> None:
        """Finite first, then within the tolerance of the compute dtype. `scale`: the size of the summands."""
        assert got.shape == want.shape
        assert np.isfinite(want).all()
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, want, rtol=self.rtol, atol=self.atol * scale)


@pytest.fixture(params=variants(), ids=lambda p: f"{p[0]}-{p[1]}")
def pair(request: pytest.FixtureRequest) -> Pair:
    isa, dtype = request.param
    exact = dtype == "float32"
    return Pair(CpuOps(isa, dtype, 2), ReferenceOps(), 2e-5 if exact else 1e-2, 2e-5 if exact else 1e-2)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)
