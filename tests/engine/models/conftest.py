"""Backends on which every model is held to its original, and folders of random models in the original's own format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.kernels import backends
from salon.kernels.ops import Dtype, Ops

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Backend:
    """An op table, and how far its results may lie from float32 torch, in units of the results' own spread."""

    ops: Ops[Any, Any]
    max_error: float
    mean_error: float

    @property
    def exact(self) -> bool:
        """Whether it computes in float32."""
        return self.ops.compute == "float32"

    def close(self, got: Float32, want: Float32) -> None:
        """Finite first, then close."""
        assert got.shape == want.shape
        assert np.isfinite(want).all()
        assert np.isfinite(got).all()
        error, spread = np.abs(got - want), float(want.std())
        assert spread > 0
        assert float(error.max()) <= self.max_error * spread
        assert float(np.sqrt((error**2).mean())) <= self.mean_error * spread


def tables() -> list[tuple[str, Dtype]]:
    """(backend, dtype): the reference and, where it is built, the cpu backend in each of its dtypes."""
    try:
        from salon.kernels.cpu import isa_levels
    except ImportError:  # a bare checkout without the compiled module
        return [("reference", "float32")]
    dtypes: list[Dtype] = ["float32"]
    if isa_levels()[0].endswith("bf16"):
        dtypes.append("bfloat16")
    return [("reference", "float32"), *(("cpu", dtype) for dtype in dtypes)]


@pytest.fixture(params=tables(), ids=lambda p: f"{p[0]}-{p[1]}")
def backend(request: pytest.FixtureRequest) -> Backend:
    name, dtype = request.param
    ops = backends.create(name, dtype=dtype)
    # bfloat16 rounds each product's inputs by 2^-9; some thirty such roundings lie between input and output.
    return Zoo.exact(ops) if dtype == "float32" else Backend(ops, 0.25, 0.04)


class Zoo:
    """Random models of other libraries, on disk in those libraries' own way."""

    @staticmethod
    def liven(module: Any) -> Any:
        """Give every norm and bias of a fresh module random values, so that none can be left out unnoticed."""
        import torch

        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name.endswith("bias"):
                    parameter.normal_(0, 0.2)
                elif parameter.ndim == 1:
                    parameter.normal_(1, 0.2)
        return module.eval()

    @staticmethod
    def save(module: Any, folder: Path) -> Path:
        """Write a diffusers or transformers module."""
        module.save_pretrained(folder, safe_serialization=True)
        return folder

    @staticmethod
    def edit_config(folder: Path, **values: Any) -> None:
        """Change keys of config.json."""
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    @staticmethod
    def exact(ops: Ops[Any, Any]) -> Backend:
        """An op table that computes in float32."""
        return Backend(ops, 1e-4, 2e-5)


@pytest.fixture
def zoo() -> Iterator[Zoo]:
    """`Zoo`, with the same random weights in every run."""
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng():
        torch.manual_seed(20260211)
        yield Zoo()
