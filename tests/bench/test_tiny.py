"""Every benchmark in its tiniest form, on the model that ships: what is not run in CI stops working unseen.

`grid` has a file of its own. What is asserted is that everything was measured and is plausible; the figures of a tiny
run on a shared machine say nothing.
"""

from __future__ import annotations

import importlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from salon.bench import triton_resources
from salon.bench.facts import SHIPPED, digests
from salon.bench.report import problems
from salon.bench.web.page import chromium

RUNS: dict[str, dict[str, Any]] = {
    "ops": {"tied_to": "shapes", "needs": "torch", "rows": 40},
    "batch": {"tied_to": "shapes", "needs": "numpy", "rows": 8},
    "families": {"tied_to": "nothing", "needs": "diffusers", "rows": 20},
    "bfloat16": {"tied_to": "nothing", "needs": "diffusers", "rows": 2},
    "flux_width": {"tied_to": "nothing", "needs": "diffusers", "rows": 2},
    "identity": {"tied_to": "shapes", "needs": "numpy", "rows": 1},
    "jobs": {"tied_to": "shapes", "needs": "diffusers", "rows": 25},
    "int8": {"tied_to": "digest", "needs": "numpy", "rows": 6},
    "loading": {"tied_to": "nothing", "needs": "diffusers", "rows": 3},
    "onnx": {"tied_to": "nothing", "needs": "diffusers", "rows": 2},
    "lanes": {"tied_to": "shapes", "needs": "matplotlib", "rows": 10},
    "simulate": {"tied_to": "nothing", "needs": "numpy", "rows": 30},
    "faults": {"tied_to": "shapes", "needs": "sqlalchemy", "rows": 4},
    "triton_resources": {"tied_to": "nothing", "needs": "triton", "rows": 5},
    "web": {"tied_to": "nothing", "needs": "sqlalchemy", "rows": 19 if chromium() else 11},
    "lora": {"tied_to": "shapes", "needs": "diffusers", "rows": 11},
    "taste_speed": {"tied_to": "shapes", "needs": "diffusers", "rows": 5},
    "gateway": {"tied_to": "shapes", "needs": "uvicorn", "rows": 6},
}


def tiny(name: str, out: Path) -> dict[str, Any]:
    """Run a benchmark as its command line does; its result."""
    home = "salon.bench." + (
        f"{name}.__main__" if name in ("families", "jobs", "lanes", "loading", "simulate", "web") else name
    )
    main = importlib.import_module(home).main
    with open("/dev/null", "w") as nowhere:
        assert main(argv=["--tiny", "--threads", "1", "--out", str(out)], console=Console(file=nowhere)) == 0
    document: dict[str, Any] = json.loads((out / f"{name}.json").read_text())
    assert problems(document) == []
    return document


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers with numpy 2
@pytest.mark.parametrize("name", RUNS)
def test_runs_on_the_shipped_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = RUNS[name]
    if find_spec(wanted["needs"]) is None:
        pytest.skip(f"needs {wanted['needs']}")
    if name == "triton_resources":  # which compares with the committed result: an installed package has none
        monkeypatch.setattr(triton_resources, "RESULTS", Path(__file__).parents[2] / "bench" / "results")
    document = tiny(name, tmp_path)
    assert len(document["rows"]) >= wanted["rows"]
    assert document["tied_to"] == wanted["tied_to"]
    assert document["model"] == ({} if wanted["tied_to"] == "nothing" else digests(SHIPPED))
    assert not any("cut short" in note or "wrong:" in note for note in document["notes"])
    must = MUST_HOLD.get(name, ())
    goals = {goal["goal"]: goal for goal in document["goals"]}
    for goal in must:
        assert goals[goal]["met"], goals[goal]


MUST_HOLD = {  # goals that do not depend on the machine
    "bfloat16": ("z_image: error of an evaluation, of diffusers' own", "z_image: picture nearer than diffusers' own"),
    "identity": ("pictures that differ from their solo run", "jobs with other than one final answer"),
    "jobs": ("jobs whose results depend on the others",),
    "triton_resources": ("kernels that spill or take twice the registers",),
    "simulate": ("violated inequalities in all traces", "padded rows"),
    "faults": ("jobs lost", "jobs doubled", "pictures that differ from their solo run", "internal errors",
               "findings of the audit after kills", "whole messages not answered exactly once"),
}  # fmt: skip
