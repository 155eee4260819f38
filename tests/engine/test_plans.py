"""Plans of TensorRT for RTX, built without a GPU, and what of them is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("tensorrt_rtx", reason="it builds the plans (extra: tensorrt)")
pytest.importorskip("onnx", reason="graphs are made of it (extra: onnx)")
pytest.importorskip("onnxruntime", reason="the onnx backend records them (extra: onnx)")

from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, SpecError
from salon.engine.plans import build_plan, open_plan
from salon.kernels.onnx.rtx import PlanError

from .conftest import write_tiny


def one_of_each(folder: Path) -> Path:
    """Leave of the tiny checkpoint of FLUX.1's shape one double and one single block."""
    from safetensors.numpy import load_file, save_file

    part = write_tiny(folder, guidance_embeds=True) / "transformer"
    config = json.loads((part / "config.json").read_text())
    (part / "config.json").write_text(json.dumps(config | {"num_layers": 1, "num_single_layers": 1}))
    weights = load_file(part / "diffusion_pytorch_model.safetensors")
    kept = {name: array for name, array in weights.items() if not name.startswith("transformer_blocks.1.")}
    assert len(kept) < len(weights)
    save_file(kept, part / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    return folder


def test_a_plan_of_the_embedded_model_is_built(tmp_path: Path) -> None:
    engine = Engine.load(backend="onnx", threads=1)
    plan = build_plan(engine, tmp_path, [(64, 64), (192, 128)], gpu="sm89")
    assert plan.built
    facts = open_plan(plan.path, gpu="sm89")
    assert facts["model"] == engine.model.digest
    assert facts["bytes"] == plan.path.stat().st_size > 1_000_000


def test_a_flux_shaped_plan_of_one_double_and_one_single_block_is_built_once_and_refused_where_it_does_not_fit(
    tmp_path: Path,
) -> None:
    engine, folder = Engine.load(one_of_each(tmp_path / "flux"), backend="onnx", threads=1), tmp_path / "plans"
    assert engine.model.family == "flux"
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
