"""What commands print, without a server: numbers and foreign text for people, tables, one frame of `ops top`."""

from __future__ import annotations

import io
import json
import sys
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.errors import SalonError
from salon.frontends.client.errors import (
    BadPicture,
    Disconnected,
    JobFailed,
    KeyRefused,
    NotFound,
    ServerBug,
    TimedOut,
    failed,
)
from salon.frontends.client.steps import JobEvent
from salon.frontends.commands import exits, tables, top, words
from salon.frontends.commands.account import fast_time
from salon.frontends.commands.jobs import job_row
from salon.frontends.commands.parsing import UsageError
from salon.frontends.commands.pictures import fetch
from salon.frontends.commands.show import event_line, job_pairs
from salon.frontends.wire.messages import AccountInfo, Failure, JobInfo, Picture, Status, WorkerInfo

EVIL = "a \x1b[31mred\x1b[0m [bold]cat[/bold] \u202eback\u2066 \x07\nnext"
JOB = JobInfo(
    job="j1", account="a" * 64, prompt=EVIL, state="running", width=192, height=96, step=3, steps=20, images=4
)
STATUS = Status(
    state="running",
    model="salon-mini",
    backend="cpu/avx2",
    up_ms=61_000,
    queued={"fast": 2, "relax": 1},
    running={"fast": 1},
    accepted=7,
    ended={"done": 3},
    steps=100,
    batch_jobs=1.5,
    workers=(WorkerInfo(name="worker-0", state="busy", steps=100, step_ms=41.24, busy_share=0.934),),
)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-1, "-"),
        (0, "0 ms"),
        (999, "999 ms"),
        (999.6, "1.0 s"),
        (1000, "1.0 s"),
        (59_900, "59.9 s"),
        (59_960, "1 min"),
        (60_000, "1 min"),
        (245_000, "4 min 5 s"),
        (3_600_000, "1 h"),
        (12_000_000, "3 h 20 min"),
        (86_400_000, "1 d"),
        (187_200_000, "2 d 4 h"),
    ],
)
def test_spans(ms: float, text: str) -> None:
    assert words.span(ms) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(-5000, "now"), (0, "now"), (999, "now"), (1000, "1 s ago"), (59_999, "59 s ago"), (60_000, "1 min ago")]
    + [(3_599_000, "59 min ago"), (3_600_000, "1 h ago"), (86_400_000 * 3 + 5, "3 d ago")],
)
def test_ages(ms: int, text: str) -> None:
    assert words.age(10**12, 10**12 + ms) == text
    assert words.age(0, ms) == ""


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1536, "1.5 kB"), (99_960, "100 kB"), (2_500_000, "2.5 MB")]
    + [(999_999, "1.0 MB"), (31_000_000_000, "31.0 GB"), (5 * 10**15, "5,000.0 TB")],
)
def test_sizes(count: int, text: str) -> None:
    assert words.size(count) == text


@given(st.integers(0, 2**63 - 1))
def test_any_number_can_be_told(number: int) -> None:
    for tell in (words.span, words.size, words.moment):
        assert tell(number) or number == 0
    assert "ago" in words.age(1, number + 1) or number < 1000


def test_times_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert words.moment(1_764_000_000_000) == "2025-11-25 01:00:00"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert words.moment(0) == ""


@given(st.text())
def test_foreign_text_is_one_harmless_line(text: str) -> None:
    shown = words.clean(text)
    assert all(char.isprintable() or char in "\u200c\u200d" for char in shown)
    assert words.clean(shown) == shown


def test_foreign_text_stays_readable() -> None:
    assert words.clean("naïve 猫 👩‍🔬 [x]") == "naïve 猫 👩‍🔬 [x]"
    assert words.clean(EVIL) == "a \ufffd[31mred\ufffd[0m [bold]cat[/bold] \ufffdback\ufffd \ufffd next"


def test_a_plain_table(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_table(("name", ">n"), [["a", "1"], ["long", "100"]], "nothing")
    assert capsys.readouterr().out == "NAME    N\na       1\nlong  100\n"
    tables.print_table(("name", ">n"), [], "nothing")
    assert capsys.readouterr().out == "nothing\n"


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_table_on_a_terminal(
    no_color: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    tables.print_table(("state", "prompt"), [["done", "[red]" + "x" * 100]], "nothing")
    tables.print_pairs([("state", "failed, badly"), ("nothing", "")])
    out = capsys.readouterr().out
    assert "[red]xxx" in out
    assert "…" in out  # cut to the terminal's width
    assert "x" * 61 not in out
    assert ("\x1b[32mdone" in out) == (not no_color)
    assert ("\x1b[31mfailed" in out) == (not no_color)
    assert "nothing" not in out


@pytest.mark.parametrize(
    ("width", "head"),
    [(90, "JOB A N PROMPT"), (45, "JOB A N PROMPT"), (44, "JOB A PROMPT"), (42, "JOB A PROMPT"), (41, "JOB PROMPT")],
)
def test_columns_that_can_be_spared(width: int, head: str) -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width)
    rows = [["job-123456789", "1", "2", "x" * 50]]  # 15 for the id, 3 for each of the others, 24 for the prompt
    console.print(tables.rich_table(("job", "?a", "?>n", "prompt"), rows, width))
    out = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert out[0].split() == head.split()
    assert "job-123456789" in out[1]


def test_json_has_every_field_and_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_json([JOB])
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    (found,) = json.loads(out)
    assert set(found) == set(JobInfo.__struct_fields__)
    assert (found["prompt"], found["pictures"], found["negative_prompt"]) == (EVIL, [], "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JobFailed(JOB), 1),
        (BadPicture("x"), 1),
        (ServerBug(Failure(code="internal", kind="x", text="y")), 1),
        (NotFound(Failure(code="not_found", kind="x", text="y")), 2),
        (failed(Failure(code="of the future", kind="x", text="y")), 2),
        (KeyRefused("x"), 2),
        (Disconnected("x"), 3),
        (TimedOut("x"), 3),
        (SalonError("x"), 2),
    ],
)
def test_exit_codes(error: SalonError, code: int) -> None:
    assert exits.code_of(error) == code


def test_one_frame() -> None:
    frame = top.Frame(10.0, STATUS, [JOB])
    text = "\n".join(top.plain_lines(frame))
    assert "state     running, for 1 min 1 s" in text
    assert "queued    2 fast, 1 relax" in text
    assert "worker-0 93 % 41.2 ms 100 0 0 % 0 busy" in " ".join(text.split())
    assert "aaaaaaaaaaaa…" in text
    assert "\x1b" not in text
    assert [line.split()[0] for line in text.split("LANE")[1].splitlines()[1:5]] == ["turbo", "fast", "draft", "relax"]


def test_rates_need_two_frames_of_one_life() -> None:
    before = top.Frame(10.0, STATUS, [])
    later = msgspec.structs.replace(STATUS, steps=120, accepted=9, ended={"done": 4})
    assert top.rates(top.Frame(12.0, later, []), None) == ""
    assert top.rates(top.Frame(12.0, later, []), before) == "10.0 steps/s, 1.0 jobs/s accepted, 0.5 jobs/s ended"
    assert top.rates(top.Frame(14.0, STATUS, []), top.Frame(12.0, later, [])) == ""  # it was started again
    assert top.rates(before, before) == ""


@pytest.mark.parametrize("height", [3, 8, 12, 24, 60])
@pytest.mark.parametrize("jobs", [0, 1, 50])
def test_a_frame_fits_the_terminal(height: int, jobs: int) -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80, height=height, force_terminal=False)
    console.print(top.rich_frame(top.Frame(10.0, STATUS, [JOB] * jobs), None, 80, height))
    out = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(out) <= max(height, 5)
    assert max(map(len, out)) <= 80
    assert not any("\x1b" in line for line in out)


def test_accounts_in_words() -> None:
    assert fast_time(AccountInfo(account="x")) == "unlimited"
    assert fast_time(AccountInfo(account="x", fast_ms={"plan": 7_200_000, "bonus": 0})) == "2 h left (plan 2 h)"
    assert fast_time(AccountInfo(account="x", fast_ms={"plan": 0})) == "0 min left"


def test_jobs_in_words() -> None:
    pairs = dict(job_pairs(JOB))
    assert pairs["state"] == "running, step 3 of 20"
    assert pairs["lane"] == "fast"
    relaxed = JobInfo(job="j", state="failed", lane="relax", note="no time", failure="NumericalError", reason="NaN")
    pairs = dict(job_pairs(relaxed))
    assert (pairs["state"], pairs["why"]) == ("failed", "NumericalError: NaN")
    assert pairs["lane"] == "relax, asked for fast: no time"


def test_a_private_job_of_somebody_else() -> None:
    """faults.md 27: an operator read "seed 0", and was told to make it again."""
    info = JobInfo(job="j1", state="done", private=True, images=4, width=128, height=128)
    text = repr(job_pairs(info))
    assert "seed" not in text
    assert "somebody else's private one" in text
    assert job_row(info)[-1] == "(private)"
    with pytest.raises(UsageError, match="ask its owner"):
        fetch(None, info, None)  # type: ignore[arg-type]
    own = JobInfo(job="j1", state="done", private=True, prompt="a cat", seed=0, images=4, width=128, height=128)
    assert "seed 0" in repr(job_pairs(own))
    assert job_row(own)[-1] == "private: a cat"


def test_events_in_words() -> None:
    picture = Picture(index=0, digest="d", size=2000, width=192, height=96)
    assert event_line(JobEvent(number=1, kind="step", step=3, steps=20)) == "step 3/20"
    line = event_line(JobEvent(number=2, kind="image", at_ms=1_764_000_000_000, picture=picture))
    assert line.endswith(":00 picture 1, 192 x 96, 2.0 kB")
    line = event_line(JobEvent(number=3, kind="failed", reason="bad\x1b"))
    assert line == "failed: bad\ufffd"
