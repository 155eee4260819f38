"""Plans of TensorRT for RTX, built without a GPU, and what of them is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("tensorrt_rtx", reason="it builds the plans (pip install tensorrt-rtx)")
pytest.importorskip("onnx", reason="graphs are made of it (extra: onnx)")
pytest.importorskip("onnxruntime", reason="the onnx backend records them (extra: onnx)")

from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, SpecError
from salon.engine.plans import build_plan, open_plan
from salon.kernels.onnx.rtx import PlanError

from .conftest import write_tiny


def test_a_plan_is_built_once_and_refused_where_it_does_not_fit(tmp_path: Path) -> None:
    engine, folder = Engine.load(write_tiny(tmp_path / "tiny"), backend="onnx", threads=1), tmp_path / "plans"
    with pytest.raises(SpecError, match="--shapes: got 30x32, allowed sides that are multiples of 4"):
        build_plan(engine, folder, [(30, 32)])
    with pytest.raises(PlanError, match="--gpu: got 'sm90', allowed any, sm75"):
        build_plan(engine, folder, [(32, 32)], gpu="sm90")
    first, again = (build_plan(engine, folder, [(16, 16), (32, 24)], gpu="sm89") for _ in range(2))
    assert (first.built, again.built) == (True, False)
    assert first.path == again.path
    assert open_plan(first.path, gpu="sm89")["model"] == engine.model.digest
    with pytest.raises(CheckpointError, match="a plan for another GPU, expected sm120, found sm89"):
        open_plan(first.path, gpu="sm120")
    told = first.path.with_suffix(".json")
    facts = json.loads(told.read_text())
    told.write_text(json.dumps({**facts, "tensorrt_rtx": "0.1"}))
    with pytest.raises(CheckpointError, match="a plan of another version of TensorRT-RTX, expected .*, found 0.1"):
        open_plan(first.path)
    told.write_text(json.dumps(facts))
    first.path.write_bytes(first.path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="a plan of which bytes are missing"):
        open_plan(first.path)
