"""`salon export`: what it writes and says, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="graphs are made of it (extra: onnx)")
pytest.importorskip("onnxruntime", reason="the onnx backend records them (extra: onnx)")

from salon.frontends.cli import main

from ..engine.conftest import write_tiny


def test_a_model_becomes_a_folder_of_graphs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_tiny(tmp_path / "tiny")
    assert main(["export", str(model), "-o", str(tmp_path / "graphs")]) == 0
    said = capsys.readouterr()
    assert "step.onnx, step_adapters.onnx" in said.out
    assert "opset 20, float32" in said.out
    assert "step 100/100" in said.err  # progress
    assert main(["export", str(model), "-o", str(tmp_path / "graphs")]) == 2
    assert "got a folder with something in it, allowed a new or empty folder" in capsys.readouterr().err
    assert main(["export", str(model), "-o", str(tmp_path / "half"), "--dtype", "bfloat16", "--json", "--quiet"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["dtype"] == "bfloat16"
    assert (Path(report["folder"]) / report["graphs"]["step"]["file"]).is_file()
    assert main(["export", str(tmp_path / "nothing"), "-o", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()


def test_doctor_says_what_a_backend_of_graphs_does_not_promise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_tiny(tmp_path / "tiny")
    assert main(["doctor", "--model", str(model), "--backend", "onnx", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("backend   onnx/cpu/") and line.endswith("float32, threads: 1") for line in lines)
    assert any(line.startswith("graphs    1, whose weights took 0.") and line.endswith("(TMPDIR)") for line in lines)
    assert any(line.endswith("of memory as float32") or " of memory as float32, " in line for line in lines)
    assert any(line.startswith("note ") and "a picture may depend on what is drawn with it" in line for line in lines)


def test_a_plan_needs_its_package_and_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["build-plan", "-o", str(tmp_path / "plans"), "--shapes", "64by64"]) == 2
    assert "--shapes: got '64by64', allowed sizes like 512x512,1024x768" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)  # as it is where it is not installed
    model = write_tiny(tmp_path / "tiny")
    assert main(["build-plan", str(model), "-o", str(tmp_path / "plans"), "--shapes", "16x16"]) == 2
    told = "got no TensorRT-RTX, allowed an installed one; install it: pip install 'salon[tensorrt]'"
    assert told in capsys.readouterr().err
    assert not (tmp_path / "plans").exists()
