"""The one runner of all benchmarks: `python -m salon.bench.NAME [--quick] [--threads N] [--out DIR]`.

A benchmark is a function of a `Bench`: it adds rows, goals and notes, and asks `bench.deadline` how much time is left.
The runner does the rest: arguments, machine and versions, progress, the printed tables, and the result file, which is
also written where the body was interrupted or ran out of time.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..kernels.machine import usable_cores
from ..system import explain
from . import machine
from .facts import SHIPPED
from .measure import Deadline
from .report import Goal, Report, TiedTo

T = TypeVar("T")
QUICK_SECONDS = 44.0  # a --quick run must end within 50 s, start of the interpreter and clean-up included
BUSY = 0.05  # share of the cores; above it the result says that the machine was not idle


def default_results(package: Path) -> Path:
    """Return where results go: beside the benchmarks in a checkout, into the working folder for an installed Salon,
    whose own folder belongs to the package manager."""
    return package / "bench" / "results" if (package / "pyproject.toml").exists() else Path("salon-results")


RESULTS = default_results(Path(__file__).resolve().parents[1])


class Bench:
    """What a benchmark's body works with. `tiny`, which implies `quick`: every part once, on as little as it takes."""

    def __init__(
        self, name: str, options: argparse.Namespace, console: Console, deadline: Deadline, tied_to: TiedTo
    ) -> None:
        self.options = options
        self.console = console
        self.deadline = deadline
        self.quick: bool = options.quick or options.tiny
        self.tiny: bool = options.tiny
        self.threads: int = options.threads
        self.columns: list[list[str]] | None = None  # the printed tables; the file keeps everything
        self._start = (time.monotonic(), machine.busy_seconds(), _own_seconds())
        model = getattr(options, "model", SHIPPED)
        self.report = Report.start(name, tied_to=tied_to, threads=self.threads, quick=self.quick, model=model)

    def pick(self, tiny: T, quick: T, full: T) -> T:
        """Return what this run wants of three sizes."""
        return tiny if self.tiny else quick if self.quick else full

    def row(self, **cells: Any) -> dict[str, Any]:
        """Add a row to the results; the returned dict may still be filled."""
        self.report.rows.append(cells)
        return cells

    def goal(self, goal: Goal) -> None:
        self.report.goals.append(goal)

    def note(self, text: str) -> None:
        """Add a remark on the figures, which is kept in the file and printed below the table."""
        self.report.notes.append(text)

    def other_load(self) -> float:
        """Return the share of the machine's cores (0..1) that other processes kept busy since the start of the run."""
        wall = time.monotonic() - self._start[0]
        busy = machine.busy_seconds() - self._start[1]
        own = _own_seconds() - self._start[2]
        return max(0.0, busy - own) / max(wall, 1e-9) / machine.all_cores()

    def use(self, *distributions: str) -> None:
        """State the versions of these distributions."""
        self.report.versions.update(machine.versions(distributions))

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        """Show a progress bar. The caller calls the yielded function when a part is done, with the name of the next."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(what, total=total)

            def advance(following: str = "") -> None:
                progress.update(task, advance=1, description=f"{what}: {following}" if following else what)

            yield advance


def _parser(prog: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--quick", action="store_true", help="fewer samples; ends within 50 s")
    parser.add_argument("--tiny", action="store_true", help="the least that runs every part once: a test, no figures")
    parser.add_argument("--threads", type=positive, default=usable_cores(), help="threads of every candidate")
    text = f"folder of the result file (default: {RESULTS}; with --tiny none is written)"
    parser.add_argument("--out", type=Path, help=text)
    return parser


def positive(text: str) -> int:
    """Read a whole number from 1 on, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def run(
    name: str,
    description: str,
    body: Callable[[Bench], None],
    *,
    arguments: Callable[[argparse.ArgumentParser], None] | None = None,
    argv: Sequence[str] | None = None,
    console: Console | None = None,
    deadline: Deadline | None = None,
    tied_to: TiedTo = "shapes",
    prog: str = "",
) -> int:
    """Run a benchmark and return its exit code: 0, also with missed goals; 2 where the results cannot be written.

    `arguments` adds the benchmark's own options; `deadline` replaces the budget that --quick sets (tests). `tied_to`:
    see `Report`. `prog`: its command, if that is not the usual one.
    """
    parser = _parser(prog or f"python -m salon.bench.{name}", description)
    if arguments is not None:
        arguments(parser)
    options = parser.parse_args(argv)
    keep = options.out is not None or not options.tiny
    scratch = tempfile.TemporaryDirectory(prefix="salon-bench-")
    options.out = options.out or (RESULTS if keep else Path(scratch.name))
    # Without a terminal rich assumes 80 columns, which breaks every cell of a wide table.
    console = console or (Console() if sys.stdout.isatty() else Console(width=160))
    seconds = QUICK_SECONDS if options.quick and not options.tiny else None
    bench = Bench(name, options, console, deadline or Deadline(seconds), tied_to)
    bench.use("salon", "numpy")
    finished = False
    try:
        body(bench)
        finished = True
    finally:
        if not finished:
            bench.note("the run was cut short: what is missing was not measured")
        if bench.deadline.left() <= 0:
            bench.note(f"the time of --quick ({QUICK_SECONDS:g} s) ran out: what is missing was not measured")
        if finished or bench.report.rows:
            code = _publish(bench, keep)
        scratch.cleanup()
    return code


def _own_seconds() -> float:
    """Return the CPU seconds of this process and of its ended children."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _publish(bench: Bench, keep: bool) -> int:
    load = bench.other_load()
    if load > BUSY:
        bench.note(f"NOT an idle machine: other processes used {load:.0%} of its cores during the run")
    print_report(bench.report, bench.console, bench.columns)
    if not keep:
        return 0
    try:
        path = bench.report.write(bench.options.out)
    except OSError as error:
        got, _, remedy = explain(error)
        where = f"{bench.options.out} (--out DIR says where)"
        print(f"cannot write the results to {where}: {got}; {remedy}", file=sys.stderr)
        return 2
    bench.console.print(f"[dim]written: {path}")
    return 0


def print_report(report: Report, console: Console, columns: Sequence[Sequence[str]] | None = None) -> None:
    """Print tables of rows and goals.

    `columns` says which columns stand in which table (default: one table with all).
    """
    if report.rows:
        everything = list(dict.fromkeys(key for row in report.rows for key in row))
        isa = " ".join(report.machine.get("isa", [])[-4:])
        title = f"{report.bench}: {report.machine.get('cpu')} ({isa}), {report.threads} threads"
        for names in columns or [everything]:
            table = Table(title=title)
            for name in names:
                first = name == names[0]
                table.add_column(name.replace("_", " "), justify="left" if first else "right", no_wrap=first)
            for row in report.rows:
                if all(row.get(name) is None for name in names):
                    continue  # a row of another table
                table.add_row(*(_cell(row.get(name)) for name in names))
            console.print(table)
            title = ""
    if report.goals:
        table = Table(title="goals")
        for name in ("goal", "target", "value", "met", "note"):
            table.add_column(name, overflow="fold")
        for goal in report.goals:
            met = "[green]met" if goal.met else "[red]missed"
            table.add_row(goal.goal, goal.target, _cell(goal.value), met, goal.note)
        console.print(table)
    for note in report.notes:
        console.print(f"[dim]- {note}")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)
