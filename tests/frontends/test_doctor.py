"""`salon doctor`, and what it is made of."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from salon.engine.engine import EMBEDDED
from salon.frontends import doctor, machine, selftest
from salon.frontends.arguments import parse
from salon.kernels.cpu import CpuOps, isa_levels
from salon.kernels.reference import ReferenceOps

from ..engine.conftest import write_tiny
from .conftest import Salon


def test_everything_is_well_and_said(salon: Salon) -> None:
    result = salon("doctor", "--json", "--threads", "1")
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert report["problems"] == []
    assert report["isa_levels"] == isa_levels()
    assert report["backend"]["threads"] == 1
    assert report["backend"]["name"] == f"cpu/{isa_levels()[0]}"
    assert report["model"]["path"] == str(Path(EMBEDDED).resolve())
    assert report["model"]["components"]["transformer"]["bytes"] > 40_000_000
    assert len(report["model"]["digest"]) == len(report["model"]["architecture_digest"]) == 64
    assert report["model"]["digest"] != report["model"]["architecture_digest"]
    assert set(report["versions"]) == set(machine.REQUIRED)
    assert report["parity"].keys() == {"linear", "attention", "modulate", "conv2d"}
    assert report["picture"]["steps"] == 2


def test_people_read_it(here: Salon) -> None:
    result = here("doctor", "--isa", "portable")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[-1] == "verdict   all is well"
    assert any(line.startswith("backend   cpu/portable, float32, threads: ") for line in lines)
    assert any("digest " in line and "of its architecture alone " in line for line in lines)


def test_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a driver torch is not even started; what is missing beside one is said."""
    monkeypatch.setattr(machine, "DRIVER", ("/nowhere/at/all",))
    found = machine.gpus()
    assert (found["found"], found["reason"]) == ([], "none (no NVIDIA driver)")
    monkeypatch.setattr(machine, "DRIVER", ("/proc",))
    monkeypatch.setattr(machine, "versions", lambda names: dict.fromkeys(names))
    assert machine.gpus()["reason"] == "not looked for: torch and triton not installed (pip install .[gpu])"
    there: Any = {"device": "cuda:0", "name": "NVIDIA T4", "capability": "7.5", "memory": 16 * 10**9, "bfloat16": False}
    text = "cuda:0, NVIDIA T4, 16.0 GB, compute capability 7.5, without bfloat16"
    assert doctor._gpus({"found": [there], "reason": ""}) == [("gpu", text)]


def test_the_reference_backend_passes(here: Salon) -> None:
    result = here("doctor", "--backend", "reference", "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["backend"]["name"] == "reference"


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--model", "none"], "none: no such model folder"), (["--isa", "mmx"], "mmx: this machine runs")],
)
def test_a_problem_is_said_and_the_rest_goes_on(here: Salon, words: list[str], message: str) -> None:
    result = here("doctor", *words)
    assert (result.returncode, result.stderr) == (1, "")
    assert "\nPROBLEM   model: " in result.stdout
    assert message in result.stdout
    assert result.stdout.endswith("verdict   something is broken, see above\n")
    assert "\nmemory " in result.stdout


def test_a_model_with_wrong_weights_is_seen(here: Salon, tmp_path: Path) -> None:
    """NaN in the decoder: loads, but makes no pictures."""
    shutil.copytree(EMBEDDED, tmp_path / "model", ignore=shutil.ignore_patterns("recipe"))
    path = tmp_path / "model" / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")  # the decoder's weights come first
    data[start : start + 200_000] = b"\xff\x7f" * 100_000  # NaN as bfloat16
    path.write_bytes(data)
    result = here("doctor", "--model", "model")
    assert result.returncode == 1
    assert "PROBLEM   picture: " in result.stdout


@pytest.mark.parametrize("isa", isa_levels())
def test_parity_passes_on_every_instruction_set(isa: str) -> None:
    assert set(selftest.parity(CpuOps(isa))) == {"linear", "attention", "modulate", "conv2d"}


class WrongOps(ReferenceOps):
    """A backend whose attention is off, by a little or by not being a number."""

    error = np.float32(0)

    def attention(self, *args: Any, **options: Any) -> Any:
        return super().attention(*args, **options) + self.error


@pytest.mark.parametrize("error", [0.01, np.nan, np.inf])
def test_parity_sees_wrong_numbers(error: float) -> None:
    ops = WrongOps()
    ops.error = np.float32(error)
    with pytest.raises(selftest.SelfTestError, match="attention on reference: off by"):
        selftest.parity(ops)


def test_machine_facts() -> None:
    cpu, memory = machine.cpu(), machine.memory()
    assert cpu["cores"] >= 1
    assert set(cpu["features"]) <= set(machine.FEATURES)
    assert 0 < memory["available"] <= memory["total"]
    found = machine.versions(("numpy", "no-such-package-anywhere"))
    assert found == {"numpy": np.__version__, "no-such-package-anywhere": None}


def test_a_healthy_model_without_a_text_pipeline(here: Salon, tmp_path: Path) -> None:
    """faults.md 18: doctor said that something was broken, and imagine packed all weights before it refused."""
    (write_tiny(tmp_path / "model") / "salon.json").unlink()
    result = here("doctor", "--model", "model")
    assert (result.returncode, result.stderr) == (0, "")
    assert "no text pipeline: a program encodes the text and passes it to Engine.open; salon imagine" in result.stdout
    assert result.stdout.endswith("verdict   all is well\n")
    report = json.loads(here("doctor", "--model", "model", "--json").stdout)
    assert (report["model"]["text"], report["picture"]["steps"], report["problems"]) == (None, 2, [])
    (tmp_path / "model" / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"never looked at")
    result = here("imagine", "a red apple", "--model", "model", "--n", "1")
    assert (result.returncode, result.stdout) == (2, "")
    assert "salon.json: a model without a text pipeline, key 'text'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_model_folder_whose_name_is_no_utf8(salon: Salon, tmp_path: Path) -> None:
    """faults.md 18: its tokenizer was called broken, and an error about the folder could not be printed."""
    name = os.fsdecode(b"mod\xe8le")
    result = salon("imagine", "a red apple", "--model", name, "--n", "1")
    assert (result.returncode, result.stdout) == (2, "")
    assert r"mod\xe8le: no such model folder" in result.stderr
    write_tiny(tmp_path / "plain").rename(tmp_path / name)
    result = salon("imagine", "a red apple", "--model", name, "--n", "1", "--steps", "1", "--seed", "1")
    assert result.returncode == 0
    result = salon("doctor", "--model", name)
    assert (result.returncode, result.stderr) == (0, "")
    assert r"mod\xe8le" in result.stdout


def test_an_error_of_the_system_is_a_problem_of_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few descriptors ended the whole report (faults 16)."""

    def fail() -> list[str]:
        raise OSError(24, os.strerror(24), "/x/_C.so")

    monkeypatch.setattr(doctor, "_isa_levels", fail)
    report = doctor.examine(parse(["doctor"], ""))
    wanted = "isa_levels: Too many open files (EMFILE): /x/_C.so; raise the limit (ulimit -n), or close what is open"
    assert report["problems"] == [wanted]


def in_fp8(path: Path) -> tuple[int, int]:
    """Write a file's matrices anew as fp8; their number and bytes."""
    arrays = {key: np.asarray(array) for key, array in load_file(path).items()}
    header: dict[str, Any] = {}
    data, count, size = b"", 0, 0
    for key, array in arrays.items():
        codes = (np.arange(array.size) % 0x30).astype(np.uint8)
        dtype, raw = ("F8_E4M3", codes.tobytes()) if array.ndim == 2 else ("F32", array.astype(np.float32).tobytes())
        header[key] = {"dtype": dtype, "shape": [*array.shape], "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
        count, size = (count + 1, size + len(raw)) if array.ndim == 2 else (count, size)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return count, size


def test_a_model_is_looked_at_before_it_is_loaded(salon: Salon, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny")
    count, size = in_fp8(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    result = salon("doctor", str(folder), "--json", "--backend", "reference")
    report = json.loads(result.stdout)
    assert (result.returncode, report["problems"]) == (0, [])
    files = report["files"]
    assert (files["family"], files["what"], files["problem"]) == ("flux", "FluxPipeline (FLUX.1)", "")
    assert files["needed"] == 4 * sum(part["parameters"] for part in files["parts"] if part["read"])
    told = doctor.describe(report)
    sizes = f"{size / 1e6:.1f} MB in the file, {4 * size / 1e6:.1f} MB packed as float32"
    assert f"quantised as fp8 (e4m3): arrays: {count}, {sizes}\n" in told
    assert f"while they are loaded at most {files['loading'] / 1e6:.1f} MB more" in told
    nameless = {**report, "model": {**report["model"], "version": ""}}  # as other makers' models are
    assert f"model     {report['model']['name']}, " in doctor.describe(nameless)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "StableDiffusion3Pipeline"}))
    result = salon("doctor", str(folder), "--backend", "reference")
    assert result.returncode == 1
    assert "StableDiffusion3Pipeline (Stable Diffusion 3), of no family that Salon has" in result.stdout
    assert "it is Stable Diffusion 3; the families that Salon has: flux" in result.stdout
    result = salon("doctor", str(folder), "--model", str(folder))
    assert (result.returncode, result.stderr) == (
        2, "salon: error: --model: got it beside MODEL, allowed one of them; drop one\n"
    )  # fmt: skip
