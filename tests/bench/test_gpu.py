"""The benchmark of a GPU in its tiniest form, by Triton's interpreter."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from salon.bench.report import problems
from salon.bench.runner import run
from salon.kernels import backends

pytest.importorskip("triton", reason="the kernels are run by Triton's interpreter (extra: gpu)")
pytest.importorskip("diffusers", reason="what they are compared with (extra: peers)")

from salon.bench.gpu import every_op, sdxl
from salon.bench.gpu.__main__ import PHASES, main
from salon.bench.gpu.setting import Gpu

INTERPRETED = [name for name in PHASES if name != "sdxl"]  # whose convolutions take the interpreter minutes


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every phase's result."""
    out = tmp_path_factory.mktemp("gpu")
    with open("/dev/null", "w") as nowhere:
        words = ["--device", "cpu", "--tiny", "--threads", "1", "--out", str(out), "--only", ",".join(INTERPRETED)]
        assert main(words, console=Console(file=nowhere)) == 0
    return {name: json.loads((out / f"gpu_{name}.json").read_text()) for name in INTERPRETED}


@pytest.mark.parametrize("name", INTERPRETED)
def test_a_phase_measures_and_writes_its_own_result(results: dict[str, Any], name: str) -> None:
    found = results[name]
    assert problems(found) == []
    assert found["isa"] == "triton/interpreter float32"
    assert found["rows"]
    assert not any("failed" in note or "cut short" in note for note in found["notes"])
    assert all(goal["met"] for goal in found["goals"]), found["goals"]


def test_nothing_is_timed_without_a_gpu(results: dict[str, Any]) -> None:
    """A figure that was not measured on a device stands nowhere."""
    for found in results.values():
        assert any("nothing is timed" in note for note in found["notes"])
        for row in found["rows"]:
            assert not {"ms", "each_ms", "floor_ms", "tflops", "share", "times", "gain"} & {
                key for key, value in row.items() if value is not None
            }


def test_torchs_attention_is_tried_and_nothing_is_chosen_unmeasured(results: dict[str, Any]) -> None:
    tried = [row for row in results["kernels"]["rows"] if row["op"] == "attention, torch's"]
    assert [row["shape"] for row in tried] == ["heads of 32", "heads of 16"]
    assert all(row["same_bits"] for row in tried)
    assert not any("choices.toml" in note for note in results["kernels"]["notes"])


def test_a_step_with_adapters_and_one_with_loras(results: dict[str, Any]) -> None:
    finite = {row["what"]: row["finite"] for row in results["sharing"]["rows"] if row.get("finite") is not None}
    assert finite == {"1 pictures, an adapter each": True, "1 pictures, a LoRA each": True}


def test_a_step_in_float8_is_off_by_a_stated_share(results: dict[str, Any]) -> None:
    (row,) = (row for row in results["flux"]["rows"] if row["candidate"].startswith("Salon FP8"))
    assert 0.001 < row["error"] < 0.1
    assert any("float8: 20 of 20 layers" in note for note in results["flux"]["notes"])


def test_every_op_is_compared() -> None:
    """Here by compiled kernels, which are faster than interpreted ones."""
    errors = every_op.errors(backends.create("cpu", dtype="float32", threads=1))
    assert max(errors.values()) < 1e-4, errors
    ops = {name.split()[0] for name in errors}
    wanted = {"linear", "modulate", "norm", "qk_norm_rope", "attention", "embed", "timestep_embedding", "cast", "add"}
    wanted |= {"finite", "solver_step", "blend", "conv2d", "upsample", "downsample", "group_norm_silu"}
    assert ops == wanted


class Host(Gpu):
    """The host in place of a GPU: a phase asks the op table alone what is to be computed."""

    def __init__(self) -> None:
        import torch

        self.ops: Any = backends.create("cpu", dtype="float32", threads=1)
        self.torch, self.device, self.dtype = torch, torch.device("cpu"), torch.float32
        self.timed, self.label, self.model, self._flush = False, "host", None, None


def test_sdxls_shape_is_compared_with_diffusers(tmp_path: Path) -> None:
    """Here by compiled kernels, too."""
    with open("/dev/null", "w") as nowhere:
        done = run(
            "gpu_sdxl", "SDXL", partial(sdxl.body, gpu=Host()), console=Console(file=nowhere), tied_to="nothing",
            argv=["--tiny", "--threads", "1", "--out", str(tmp_path)],
        )  # fmt: skip
    assert done == 0
    found = json.loads((tmp_path / "gpu_sdxl.json").read_text())
    assert [(row["candidate"], row["batch"]) for row in found["rows"]] == [
        ("Salon op by op", 1), ("Salon op by op, 4 together", 4), ("diffusers eager", 1),
    ]  # fmt: skip
    assert found["rows"][0]["error"] < 1e-4
    assert all(goal["met"] for goal in found["goals"])


def test_a_machine_without_a_gpu_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["--device", "cuda:0"]) == 2
    assert "nothing was measured: device: got 'cuda:0'" in capsys.readouterr().err
    assert main(["--only", "smoke,nothing"]) == 2
    assert "got 'nothing', allowed smoke, kernels, flux, sharing, flux2, sdxl" in capsys.readouterr().err
