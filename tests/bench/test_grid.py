"""The grid benchmark end to end, on the shipped model with real rivals, in its tiniest form; its floors, against counts
from the weights."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from salon.bench import grid
from salon.bench.facts import SHIPPED, digests, shipped
from salon.bench.fleet import CandidateFailed
from salon.bench.footprint import install_mib
from salon.bench.job import decode_gflop, step_gflop
from salon.bench.kept import cache_folder
from salon.bench.report import problems
from salon.bench.runner import run
from salon.bench.worker import peer_class
from salon.engine.safetensors_file import SafetensorsFile

from .conftest import make_rivals

# openvino is not among them: converting the model takes half a minute of a core
CANDIDATES = "salon,eager,onnxruntime,salon-fp32,fp32"
FAKES = "rivals.fake:Built,rivals.fake:Broken,rivals.fake:Dying"
Call = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def grids(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """Run the benchmark with one cache folder for all, so that the job is made once."""
    folder = tmp_path_factory.mktemp("grid")
    with pytest.MonkeyPatch.context() as patch:
        make_rivals(folder, patch)

        def call(*extra: str) -> dict[str, Any]:
            argv = ["--out", str(folder / "out"), "--cache", str(folder / "cache"), "--threads", "1", *extra]
            with open("/dev/null", "w") as nowhere:
                code = run("grid", "d", grid.body, arguments=grid.arguments, argv=argv, console=Console(file=nowhere))
            assert code == 0
            name = "grid_rival" if "--rival" in extra else "grid"  # which does not take the place of the other
            document: dict[str, Any] = json.loads((folder / "out" / f"{name}.json").read_text())
            assert problems(document) == []
            return document

        yield call


@pytest.fixture(scope="module")
def tiny(grids: Call) -> dict[str, Any]:
    return grids("--tiny", "--only", f"{CANDIDATES},{FAKES}", "--rival", f"other={sys.executable}")


def test_the_shipped_model_is_measured_beside_real_rivals(tiny: dict[str, Any]) -> None:
    """house, drift 1: the whole benchmark had stopped to work with the weights, and no test ran it on them."""
    rows = {row["candidate"]: row for row in tiny["rows"]}
    compared = 0
    for name in CANDIDATES.split(","):
        peer = peer_class(grid.PEERS[name])
        row = rows[peer.name]
        if any(find_spec(package) is None for package in peer.packages):
            assert "error" in row
            continue
        assert "error" not in row, row["error"]
        for key in ("step_ms", "decode_ms", "img_s_1", "img_s_4", "rss_mib", "first_step_s"):
            assert row[key] > 0, (name, key)
        assert row["first_step_s"] <= row["image_s"]
        if name != grid.REFERENCE:
            assert row["psnr_db"] > 35, name
            compared += 1
        if name == "salon-fp32":
            assert row["latent_error"] < 1e-3
    assert compared >= 3
    floor = tiny["details"]["floor"]
    assert 0 < rows["Salon cpu"]["step_share"] <= 1.05
    assert rows["Salon cpu"]["step_share"] == pytest.approx(floor["step_ms"] / rows["Salon cpu"]["step_best"], 1e-3)
    assert tiny["model"] == digests(SHIPPED)
    assert any(f"x {shipped().rows} rows" in note for note in tiny["notes"])


def test_another_build_is_one_more_candidate(tiny: dict[str, Any]) -> None:
    rows = {row["candidate"]: row for row in tiny["rows"]}
    for name in ("Salon cpu", "Salon cpu float32"):
        mine, other = rows[name], rows[f"{name}, build other"]
        assert "error" not in other
        assert other["psnr_db"] == mine["psnr_db"]  # here the other build is this one
        for what in ("step", "decode"):
            assert other[f"{what}_times"] == pytest.approx(other[f"{what}_ms"] / mine[f"{what}_ms"], rel=1e-3)
            assert other[f"{what}_best_times"] > 0
    assert sys.executable not in json.dumps(tiny)  # a result names no place


@pytest.mark.parametrize("rival", ["name", "=python", "name=/no/such/python"])
def test_a_rival_that_is_none_is_refused(rival: str, grids: Call, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        grids("--rival", rival)
    assert "NAME=PYTHON" in capsys.readouterr().err


def test_who_fails_is_kept_with_its_last_words(tiny: dict[str, Any]) -> None:
    rows = {row["candidate"]: row for row in tiny["rows"]}
    assert rows["with something to build"]["step_ms"] > 0
    assert rows["broken"]["error"].startswith("RuntimeError: no such kernel")
    assert rows["dying"]["error"].endswith("out of luck")
    assert "step_ms" not in rows["broken"]
    assert any("RuntimeError: no such kernel" in note for note in tiny["notes"])
    goals = {goal["goal"]: goal for goal in tiny["goals"]}
    assert goals["step faster than compile"]["value"] is None
    assert not goals["step faster than compile"]["met"]


def test_quick_leaves_out_what_is_not_built(tiny: dict[str, Any], grids: Call) -> None:
    only = "rivals.fake:Built,rivals.fake:Fresh"
    rows = {row["candidate"]: row for row in grids("--only", only, "--quick")["rows"]}
    assert "nothing built yet" in rows["never built"]["error"]
    assert rows["with something to build"]["step_ms"] > 0  # an earlier run built it


def test_a_job_that_cannot_be_made_says_why(tmp_path: Path, grids: Call) -> None:
    """house, drift 1: the reason went to /dev/null, and what was left was "returned non-zero exit status 1"."""
    model = tmp_path / "model"
    shutil.copytree(SHIPPED, model)
    salon = json.loads((model / "salon.json").read_text())
    (model / "salon.json").write_text(json.dumps(salon | {"defaults": salon["defaults"] | {"solver": "heun"}}))
    said = r"the job could not be made \(code 1\); its last lines: .*ValueError: the checkpoint's solver: got 'heun'"
    with pytest.raises(CandidateFailed, match=said):
        grids("--tiny", "--only", "rivals.fake:Fake", "--model", str(model))


def test_kept_files_are_of_one_model(tmp_path: Path) -> None:
    """house, drift 2: the key of what is kept left out salon.json, the statistics and the scheduler."""
    model = tmp_path / "model"
    shutil.copytree(SHIPPED, model)
    same = cache_folder(tmp_path, model, 1)
    assert same == cache_folder(tmp_path, SHIPPED, 1)
    other = tmp_path / "other"
    shutil.copytree(model, other)
    path = other / "salon.json"
    path.write_text(path.read_text().replace('"guidance_scale": ', '"guidance_scale": 1'))
    assert cache_folder(tmp_path, other, 1) != same


def test_an_unknown_candidate_is_refused(grids: Call) -> None:
    with pytest.raises(SystemExit, match="'nobody', want any of salon"):
        grids("--only", "nobody")


def test_psnr() -> None:
    black, grey = np.zeros((2, 3), np.uint8), np.full((2, 3), 51, np.uint8)
    assert grid.psnr(black, black) == 99.0
    assert grid.psnr(black, grey) == pytest.approx(20 * np.log10(5))


def test_step_floor_counts_every_weight_that_rows_meet() -> None:
    """From the shapes in the file: a matrix meets image rows, text rows or both, once each."""
    file, facts = SafetensorsFile(SHIPPED / "transformer" / "diffusion_pytorch_model.safetensors"), shipped()
    text, image = facts.text_rows, facts.image_rows
    total = 0
    for key, tensor in file.tensors.items():
        if len(tensor.shape) != 2 or "norm" in key or "time_text_embed" in key:
            continue
        only_text = "add_" in key or "ff_context" in key or "context_embedder" in key
        rows = text if only_text else image + text if key.startswith("single") else image
        total += rows * tensor.shape[0] * tensor.shape[1]
    layers, width = facts.flux.num_layers + facts.flux.num_single_layers, facts.flux.width
    attention = layers * 2 * (image + text) ** 2 * width
    assert step_gflop(facts, 4) == pytest.approx(2e-9 * 4 * facts.samples * (total + attention), rel=1e-6)


def test_decode_floor_counts_every_convolution() -> None:
    file = SafetensorsFile(SHIPPED / "vae" / "diffusion_pytorch_model.safetensors")
    facts, total, folded = shipped(), 0, 0
    assert facts.defaults["width"] == facts.defaults["height"]
    for key, tensor in file.tensors.items():
        if not key.startswith("decoder.") or len(tensor.shape) != 4:
            continue
        level = int(key.split(".")[2]) if "up_blocks" in key else 3 if key.startswith("decoder.conv_out") else 0
        side = (facts.defaults["width"] // facts.autoencoder.factor) << (level + ("upsamplers" in key))
        work = side**2 * int(np.prod(tensor.shape))
        total += work
        folded += work * 4 // 9 if "upsamplers" in key else work
    assert decode_gflop(facts, 4) == pytest.approx(2e-9 * 4 * total, rel=1e-9)
    assert decode_gflop(facts, 4, folded=True) == pytest.approx(2e-9 * 4 * folded, rel=1e-9)


def test_size_of_an_install() -> None:
    assert install_mib("no-such-distribution-anywhere") is None
    numpy_size = install_mib("numpy")
    assert numpy_size is not None
    assert numpy_size > 10
