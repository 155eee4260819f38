"""What every command has in common."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from salon import __version__
from salon.engine.errors import SalonError
from salon.frontends import cli, progress

from .conftest import Salon


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["imagine", "--help"], ["imagine", "x", "--sed", "3"], ["jobs", "--help"]]
    + [["ops", "accounts", "set", "--help"], ["serve", "--help"], ["ops", "grant", "x"], ["completion", "tcsh"]],
)
def test_starting_is_light(words: list[str]) -> None:
    """Help, version and refusals come without numpy, the engine or anything else that is not Python's own."""
    code = (
        "import sys\n"
        "from salon.frontends.cli import main\n"
        f"assert main({words}) in (0, 2)\n"
        "heavy = {'numpy', 'msgspec', 'rich', 'PIL', 'tokenizers', 'zmq', 'sqlalchemy', 'torch'}\n"
        "heavy |= {'salon.engine.engine', 'salon.frontends.client.client', 'salon.frontends.zmq.main'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=300)


def test_version(salon: Salon) -> None:
    result = salon("--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"salon {__version__}\n", "")


def test_no_command(salon: Salon) -> None:
    result = salon()
    assert result.returncode == 2
    assert result.stderr == 'salon: error: no command; try `salon imagine "a red apple"`, or see `salon --help`\n'


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["imagine", "--help"]])
def test_nobody_reads_the_help(salon: Salon, words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        result = salon(*words, stdout=write)
    finally:
        os.close(write)
    assert result.returncode in (0, 128 + signal.SIGPIPE)  # argparse ignores the error where output is unbuffered
    assert result.stderr == ""


def test_closed_standard_output(salon: Salon) -> None:
    """`salon --version >&-`: what was to be printed goes nowhere."""
    result = salon("--version", preexec_fn=lambda: os.close(1))
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SalonError("two\nlines"), 2, "salon: error: two lines"),
        (MemoryError(), 2, "salon: error: out of memory; make fewer or smaller pictures, or free some memory"),
        (ModuleNotFoundError("No module named 'x'"), 2, "salon: error: the installation is incomplete (No module"),
        (
            ImportError("libx.so: Too many open files"),
            2,
            "salon: error: a module could not be loaded (libx.so: Too many",
        ),
        (ImportError("x.so: failed to map segment"), 2, "salon: error: a module could not be loaded (x.so: failed"),
        (OSError(22, "Invalid argument"), 2, "salon: error: Invalid argument (EINVAL); choose a folder on another one"),
        (SalonError("a \x1b[31mcolour"), 2, "salon: error: a \ufffd[31mcolour"),
        (
            PermissionError(13, "Permission denied", "/secret/x"),
            2,
            "salon: error: Permission denied (EACCES): /secret/x; change its",
        ),
        (KeyboardInterrupt(), 130, "salon: error: interrupted"),
        (KeyboardInterrupt("told so"), 130, "salon: error: told so"),
    ],
)
def test_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    def fail(_argv: object) -> None:
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert cli.main([]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_our_own_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_argv: object) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr(cli, "_run", fail)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(AssertionError, match="a bug"):
        cli.main([])


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5, 20, 39])
def test_plain_progress_has_at_most_four_lines_and_the_last(total: int, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress(total, quiet=False) as advance:
        for done in range(1, total + 1):
            advance(done)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f"step {total}/{total}"
    assert len(lines) == min(total, 4)


def test_plain_progress_with_steps_that_nobody_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A server leaves out steps for a slow reader."""
    with progress.progress(20, quiet=False) as advance:
        for done in (3, 6, 11, 12, 20):
            advance(done)
    assert capsys.readouterr().err.splitlines() == ["step 6/20", "step 11/20", "step 20/20"]


def test_quiet_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress(2, quiet=True) as advance:
        advance(1)
        advance(2)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.progress(3, quiet=False) as advance:
        for done in (1, 2, 3):
            advance(done)
    text = capsys.readouterr().err
    assert "3/3" in text
