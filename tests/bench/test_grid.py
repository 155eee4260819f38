"""The grid benchmark end to end, over candidates that are arithmetic; its floors, against counts from the weights."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from salon.bench import grid
from salon.bench.footprint import install_mib
from salon.bench.job import SIDE, decode_gflop, slots, step_gflop
from salon.bench.peers.base import Job
from salon.bench.report import problems
from salon.bench.runner import run
from salon.engine.safetensors_file import SafetensorsFile

NAMES = {"salon": "Off", "eager": "Built", "compile": "Broken", "fp32": "Fake"}


@pytest.fixture
def run_grid(rivals: Path, job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(grid, "PEERS", {name: f"rivals.fake:{cls}" for name, cls in NAMES.items()})
    monkeypatch.setattr(grid, "flops_per_core", lambda dtype: 1e12)

    def make_job(self: grid.Grid) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        job.save(self.job)
        self.steps = job.steps

    monkeypatch.setattr(grid.Grid, "_make_job", make_job)

    def call(*extra: str) -> dict[str, object]:
        argv = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), "--threads", "2", *extra]
        with open("/dev/null", "w") as nowhere:
            assert run("grid", "d", grid.body, arguments=grid.arguments, argv=argv, console=Console(file=nowhere)) == 0
        document: dict[str, object] = json.loads((tmp_path / "out" / "grid.json").read_text())
        assert problems(document) == []
        return document

    return call


def test_a_full_run_measures_everyone_and_keeps_the_failed(run_grid) -> None:
    document = run_grid("--only", "salon,eager,compile,fp32")
    rows = {row["candidate"]: row for row in document["rows"]}
    assert set(rows) == {"a little off", "with something to build", "broken", "fake"}
    assert rows["broken"]["error"] == "RuntimeError: no such kernel"
    assert "step_ms" not in rows["broken"]
    for name in ("a little off", "with something to build", "fake"):
        for key in ("step_ms", "decode_ms", "grid_ms", "img_s_1", "img_s_4", "img_s_16", "rss_mib", "first_step_s"):
            assert rows[name][key] > 0, (name, key)
        assert rows[name]["first_step_s"] <= rows[name]["image_s"]
    assert rows["with something to build"]["psnr_db"] == 99.0
    assert rows["with something to build"]["latent_error"] == 0
    # slope .26 for .25 at guidance 3: the latents end .03 lower, the pictures 7.65 of 255 (some are clipped)
    assert rows["a little off"]["latent_error"] == pytest.approx(0.03, rel=1e-3)
    assert 30 < rows["a little off"]["psnr_db"] < 36
    goals = {goal["goal"]: goal for goal in document["goals"]}
    assert goals["step faster than compile"] == {**goals["step faster than compile"], "value": None, "met": False}
    assert goals["step faster than eager"]["value"] is not None
    assert any("RuntimeError: no such kernel" in note for note in document["notes"])


def test_quick_leaves_out_what_is_not_built(run_grid) -> None:
    rows = {row["candidate"]: row for row in run_grid("--only", "salon,eager", "--quick")["rows"]}
    assert "nothing built yet" in rows["with something to build"]["error"]
    assert rows["a little off"]["step_ms"] > 0


def test_quick_measures_what_an_earlier_run_built(run_grid) -> None:
    run_grid("--only", "eager")
    rows = {row["candidate"]: row for row in run_grid("--only", "eager", "--quick")["rows"]}
    assert rows["with something to build"]["step_ms"] > 0


def test_psnr() -> None:
    black, grey = np.zeros((2, 3), np.uint8), np.full((2, 3), 51, np.uint8)
    assert grid.psnr(black, black) == 99.0
    assert grid.psnr(black, grey) == pytest.approx(20 * np.log10(5))


def test_step_floor_counts_every_weight_that_rows_meet() -> None:
    """From the shapes in the file: a matrix meets image rows, text rows or both, once each."""
    file = SafetensorsFile(grid.MINI / "transformer" / "diffusion_pytorch_model.safetensors")
    text, image = sum(slots(grid.MINI).values()), (SIDE // 16) ** 2
    total = 0
    for key, tensor in file.tensors.items():
        if len(tensor.shape) != 2 or "norm" in key or "time_text_embed" in key:
            continue
        only_text = "add_" in key or "ff_context" in key or "context_embedder" in key
        rows = text if only_text else image + text if key.startswith("single") else image
        total += rows * tensor.shape[0] * tensor.shape[1]
    layers, width = 6, 384
    attention = layers * 2 * (image + text) ** 2 * width
    assert step_gflop(grid.MINI, 4) == pytest.approx(2e-9 * 8 * (total + attention), rel=1e-6)


def test_decode_floor_counts_every_convolution() -> None:
    file = SafetensorsFile(grid.MINI / "vae" / "diffusion_pytorch_model.safetensors")
    total, folded = 0, 0
    for key, tensor in file.tensors.items():
        if not key.startswith("decoder.") or len(tensor.shape) != 4:
            continue
        level = int(key.split(".")[2]) if "up_blocks" in key else 3 if key.startswith("decoder.conv_out") else 0
        side = (SIDE // 8) << (level + ("upsamplers" in key))
        work = side**2 * int(np.prod(tensor.shape))
        total += work
        folded += work * 4 // 9 if "upsamplers" in key else work
    assert decode_gflop(grid.MINI, 4) == pytest.approx(2e-9 * 4 * total, rel=1e-9)
    assert decode_gflop(grid.MINI, 4, folded=True) == pytest.approx(2e-9 * 4 * folded, rel=1e-9)


def test_the_cache_folder_follows_the_content(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    weights = tmp_path / "transformer" / "a.safetensors"
    weights.write_bytes(b"1")
    first = grid.cache_folder(tmp_path, tmp_path, 2)
    assert grid.cache_folder(tmp_path, tmp_path, 2) == first
    assert grid.cache_folder(tmp_path, tmp_path, 1) != first
    weights.write_bytes(b"2")
    assert grid.cache_folder(tmp_path, tmp_path, 2) != first


def test_size_of_an_install() -> None:
    assert install_mib("no-such-distribution-anywhere") is None
    numpy_size = install_mib("numpy")
    assert numpy_size is not None
    assert numpy_size > 10
