import ast
import json
import sys
from pathlib import Path

import pytest

from salon.bench import runner
from salon.bench.lanes import __main__ as lanes
from salon.bench.measure import Deadline
from salon.bench.report import Goal, problems
from salon.bench.runner import Bench, run

BENCH = Path(runner.__file__).parent


def test_run_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def body(bench: Bench) -> None:
        bench.row(candidate="a", ms=1.5)
        bench.goal(Goal.at_least("speed", 6, 1.5, "x"))
        bench.note("a remark")
        with bench.progress("counting", 2) as advance:
            advance("next")
            advance("")

    assert run("demo", "A demonstration.", body, argv=["--threads", "3", "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "demo.json").read_text())
    assert problems(document) == []
    assert document["threads"] == 3
    assert document["quick"] is False
    assert document["goals"][0]["met"] is False
    assert document["versions"]["python"]
    printed = capsys.readouterr().out
    assert "missed" in printed
    assert "a remark" in printed


def test_quick_sets_a_budget_under_fifty_seconds(tmp_path: Path) -> None:
    seen: list[float | None] = []

    def body(bench: Bench) -> None:
        seen.append(bench.deadline.seconds)
        seen.append(bench.deadline.left())

    run("demo", "d", body, argv=["--quick", "--out", str(tmp_path)])
    run("demo", "d", body, argv=["--out", str(tmp_path)])
    assert seen[0] == runner.QUICK_SECONDS
    assert runner.QUICK_SECONDS < 48
    assert seen[1] is not None
    assert seen[1] <= runner.QUICK_SECONDS
    assert seen[2] is None


def test_time_that_ran_out_is_said_in_the_file(tmp_path: Path) -> None:
    run("demo", "d", lambda bench: None, argv=["--quick", "--out", str(tmp_path)], deadline=Deadline(-1.0))
    assert "ran out" in " ".join(json.loads((tmp_path / "demo.json").read_text())["notes"])


def test_an_interrupted_run_keeps_its_rows_and_says_so(tmp_path: Path) -> None:
    def body(bench: Bench) -> None:
        bench.row(candidate="a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("demo", "d", body, argv=["--out", str(tmp_path)])
    document = json.loads((tmp_path / "demo.json").read_text())
    assert document["rows"] == [{"candidate": "a"}]
    assert "cut short" in " ".join(document["notes"])


def test_a_run_that_fails_before_its_first_row_leaves_older_results_alone(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text("older")

    def body(bench: Bench) -> None:
        raise RuntimeError("no model")

    with pytest.raises(RuntimeError, match="no model"):
        run("demo", "d", body, argv=["--out", str(tmp_path)])
    assert (tmp_path / "demo.json").read_text() == "older"


def test_an_unwritable_folder_is_one_line_and_exit_code_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run("demo", "d", lambda bench: None, argv=["--out", str(tmp_path / "file" / "x")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--out" in error


@pytest.mark.parametrize("threads", ["0", "-1", "two"])
def test_a_bad_thread_count_is_refused(threads: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("demo", "d", lambda bench: None, argv=["--threads", threads])
    assert stopped.value.code == 2
    assert "--threads" in capsys.readouterr().err


def test_a_busy_machine_is_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "other_load", lambda self: 0.62)
    run("demo", "d", lambda bench: None, argv=["--out", str(tmp_path)])
    assert "NOT an idle machine: other processes used 62%" in " ".join(
        json.loads((tmp_path / "demo.json").read_text())["notes"]
    )


def modules() -> list[Path]:
    """The benchmarks: modules of bench/ that can be run and that measure."""
    found = [path for path in sorted(BENCH.glob("*.py")) if "__main__" in path.read_text()]
    return [path for path in found if path.name not in ("worker.py", "job.py", "quotes.py", "triton_compile.py")]


def test_there_are_benchmarks() -> None:
    assert {"grid"} <= {path.stem for path in modules()}


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.stem)
def test_every_benchmark_goes_through_the_runner_and_asks_the_deadline(path: Path) -> None:
    """Loops that measure must be `interleave` (which stops in time) or look at `deadline`; no second command line."""
    source = path.read_text()
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
    attributes = {node.func.attr for node in calls if isinstance(node.func, ast.Attribute)}
    assert "partial" in names  # main = partial(run, ...)
    looks = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    assert "interleave" in names or "deadline" in looks
    assert "parse_args" not in attributes
    assert "deadline" in source
    assert f'main = partial(run, "{path.stem}"' in source.replace("partial(\n    run,\n    ", "partial(run, ")


def test_a_tiny_run_writes_nothing_unless_it_is_told_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def body(bench: Bench) -> None:
        bench.row(picked=bench.pick("tiny", "quick", "full"))
        (bench.options.out / "picture.png").write_text("")  # a folder to write pictures to is always there

    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results")
    assert run("demo", "d", body, argv=["--tiny"]) == 0
    assert not (tmp_path / "results").exists()
    assert run("demo", "d", body, argv=["--tiny", "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "demo.json").read_text())
    assert document["rows"] == [{"picked": "tiny"}]
    assert document["quick"] is True


def test_results_of_an_installed_salon_stay_out_of_its_folder(tmp_path: Path) -> None:
    """They were written into site-packages (faults 27)."""
    assert runner.default_results(tmp_path / "site-packages" / "salon") == Path("salon-results")
    (tmp_path / "pyproject.toml").touch()
    assert runner.default_results(tmp_path) == tmp_path / "bench" / "results"
    assert runner.default_results(BENCH.parent.resolve()) == runner.RESULTS


def test_lanes_without_matplotlib_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It failed after it had measured everything (faults 27)."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run("lanes", "d", lambda bench: lanes.draw(bench, [], 1.0), argv=["--out", str(tmp_path)]) == 0
    notes = json.loads((tmp_path / "lanes.json").read_text())["notes"]
    assert "no picture timeline.png: matplotlib is not installed (pip install 'salon[peers]')" in notes
