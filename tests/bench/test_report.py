import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from salon.bench import machine
from salon.bench.facts import SHIPPED, digests
from salon.bench.report import Goal, Report, problems
from salon.engine.engine import Engine
from salon.kernels.cpu import isa_levels


def report(**changes: object) -> Report:
    model = {"name": "m", "digest": "d", "shapes": "s"}
    base = Report("demo", "2026-01-01T00:00:00+00:00", "abc", "shapes", model, False, {"cpu": "x"}, "portable", 2)
    for key, value in changes.items():
        setattr(base, key, value)
    return base


def test_written_document_follows_the_schema_and_reads_back(tmp_path: Path) -> None:
    made = report(rows=[{"candidate": "a", "ms": 1.25}], goals=[Goal.at_least("speed", 2, 3.0, "x")], notes=["n"])
    path = made.write(tmp_path / "new" / "folder")
    document = json.loads(path.read_text())
    assert path.name == "demo.json"
    assert problems(document) == []
    assert document == made.as_dict()


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Goal.at_least("g", 6, 6.0), True),
        (Goal.at_least("g", 6, 5.999), False),
        (Goal.at_least("g", 6, None), False),
        (Goal.at_least("g", 6, math.nan), False),
        (Goal.at_least("g", 6, math.inf), False),
        (Goal.at_most("g", 0.7, 0.7), True),
        (Goal.at_most("g", 0.7, 0.71), False),
        (Goal.at_most("g", 0.7, None), False),
        (Goal.at_most("g", 0.7, math.nan), False),
        (Goal.at_most("g", 0.7, -math.inf), False),
    ],
)
def test_a_goal_is_met_only_by_a_finite_value_on_the_right_side(goal: Goal, met: bool) -> None:
    assert goal.met is met


def test_missed_and_unmeasured_goals_stay_in_the_file(tmp_path: Path) -> None:
    goals = [Goal.at_least("slow", 6, 1.5, "x", "why"), Goal.at_most("absent", 1, None)]
    goals.append(Goal.at_most("nan", 1, math.nan))
    document = json.loads(report(goals=goals).write(tmp_path).read_text())
    assert problems(document) == []
    assert document["goals"] == [
        {"goal": "slow", "target": ">= 6x", "value": 1.5, "met": False, "note": "why"},
        {"goal": "absent", "target": "<= 1", "value": None, "met": False},
        {"goal": "nan", "target": "<= 1", "value": None, "met": False},
    ]


def test_numbers_that_json_cannot_hold_become_null(tmp_path: Path) -> None:
    path = report(rows=[{"a": math.nan, "b": math.inf, "c": 1.23456789}]).write(tmp_path)
    assert json.loads(path.read_text())["rows"] == [{"a": None, "b": None, "c": 1.2346}]


def test_details_are_kept_and_cleaned_however_deep(tmp_path: Path) -> None:
    document = json.loads(report(details={"a": [{"b": math.nan, "c": (1.23456789, "x")}]}).write(tmp_path).read_text())
    assert document["details"] == {"a": [{"b": None, "c": [1.2346, "x"]}]}
    assert problems(document) == []
    assert "details" not in report().as_dict()


def test_a_write_that_fails_leaves_the_old_file_and_no_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report(notes=["old"]).write(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        report(notes=["new"]).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]
    assert json.loads((tmp_path / "demo.json").read_text())["notes"] == ["old"]


def test_what_cannot_be_serialised_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        report(rows=[{"a": object()}]).write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"rows": 3}, "rows is not a list"),
        ({"threads": 0}, "threads"),
        ({"goals": [{"goal": "g", "target": "t", "value": 1.0}]}, "lacks 'met'"),
        ({"goals": [{"goal": "g", "target": "t", "value": None, "met": True}]}, "met without a value"),
        ({"goals": [{"goal": "g", "target": "t", "value": 1.0, "met": "yes"}]}, "not true or false"),
        ({"host": "name"}, "unknown key"),
        ({"tied_to": "cpu"}, "tied_to is none of shapes, digest, nothing"),
        ({"model": {"name": "m", "digest": "d"}}, "model lacks 'shapes'"),
        ({"commit": ""}, "commit is empty"),
    ],
)
def test_problems_names_what_is_wrong(change: dict[str, object], word: str) -> None:
    document = {**report().as_dict(), **change}
    assert any(word in problem for problem in problems(document)), problems(document)


def test_a_report_says_what_was_measured() -> None:
    """house, drift 5: results named no model, so figures of weights that had gone stood in the README unseen."""
    made = Report.start("demo", tied_to="digest", threads=1, model=SHIPPED)
    assert problems(made.as_dict()) == []
    assert made.model["digest"] == Engine.load(threads=1).model.digest
    assert made.isa.split()[0] in isa_levels()
    assert made.commit == machine.commit()
    assert Report.start("demo", tied_to="nothing", threads=1, model=SHIPPED).model == {}


def test_the_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    assert machine.commit(tmp_path) == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    clean = machine.commit(tmp_path)
    assert len(clean) >= 7
    for path, dirty in (("bench/results/a.json", False), ("README.md", False), ("engine.py", True)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("one")
        subprocess.run([*git, "add", path], check=True)
        assert machine.commit(tmp_path) == clean + ("-dirty" if dirty else ""), path
    (tmp_path / "inside").mkdir()
    assert machine.commit(tmp_path / "inside") == "unknown"  # installed somewhere in a checkout of another project


def test_the_digest_of_shapes_does_not_see_values(tmp_path: Path) -> None:
    """Ruling 4: figures of speed hold as long as architecture and shapes do, whatever the weights have learned."""
    other = tmp_path / "mini"
    shutil.copytree(SHIPPED, other)
    before = digests(SHIPPED)
    path = other / "transformer" / "diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    again = digests(other)
    assert again["shapes"] == before["shapes"]
    assert again["digest"] != before["digest"]


def test_a_missing_key_is_a_problem() -> None:
    document = report().as_dict()
    del document["goals"]
    assert problems(document) == ["missing key 'goals'"]


def test_committed_results_follow_the_schema_and_name_no_place() -> None:
    folder = Path(__file__).resolve().parents[2] / "bench" / "results"
    for path in folder.glob("*.json"):
        text = path.read_text()
        document = json.loads(text)
        assert problems(document) == [], path.name
        assert document["bench"] == path.stem
        for place in ("/work", "/home", "/root", "/tmp", os.uname().nodename):
            assert place not in text, f"{path.name} names {place}"
