"""Every command against the client library's fake server: tables, JSON, exit codes, files.

Long because it is one subject: all commands share the server and the account of the fixtures below.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from salon.frontends.client import lookout
from salon.frontends.client.fake import FakeServer
from salon.frontends.wire.messages import AccountInfo, Hello, JobInfo, OpsStatus, Record, Status, Submit, Watch
from salon.frontends.zmq.failures import RequestRefused

from .conftest import COMMAND, Main, finish, start

ADA = "0123456789abcdef" * 4


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def ask(main: Main, fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Main:
    """Run a command line in this process, as a client of `fake`."""
    monkeypatch.setenv("SALON_SERVER", fake.address)
    return main


@pytest.fixture
def env(fake: FakeServer) -> dict[str, str]:
    """Of a process of its own, which is a client of `fake`."""
    return {**os.environ, "SALON_SERVER": fake.address, "TERM": "xterm"}


def value(result: tuple[int, str, str]) -> Any:
    """The one JSON value that a command printed."""
    code, out, err = result
    assert (code, err, out.count("\n")) == (0, "", 1)
    return json.loads(out)


def wait_for(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def once_asked(fake: FakeServer, kind: type[Record], act: Callable[[], object]) -> threading.Thread:
    """Act when the server has answered a request of a kind, or has begun a watch, on a thread of its own."""
    seen = fake.requests if kind is Watch else fake.answered  # a watch begins in the turn in which it is asked for

    def wait() -> None:
        wait_for(lambda: any(isinstance(request, kind) for request in list(seen)))
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


# ---- imagine -----------------------------------------------------------------------------------------------------


@pytest.fixture
def shown_first(fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no job be done before a preview of it is there, in the file p.jpg."""
    storing = fake._server.service.jobs.storing
    make = storing._make_files
    assert make is not None

    def make_files(*parts: Any) -> Any:
        wait_for((tmp_path / "p.jpg").exists)
        return make(*parts)

    monkeypatch.setattr(storing, "_make_files", make_files)


@pytest.mark.usefixtures("shown_first")
def test_imagine(ask: Main, fake: FakeServer, tmp_path: Path) -> None:
    fake.step_s = 0.1
    ask("ops", "accounts", "set", "local", "--plan", "pro")
    code, out, err = ask("imagine", "a", "red apple", "--seed", "7", "--n", "2", "--steps", "6", "--preview", "p.jpg")
    assert code == 0, err
    files = [f"outputs/a-red-apple-7{end}.png" for end in ("", "-1", "-2")]
    assert out.splitlines() == files
    assert [(tmp_path / file).read_bytes() for file in files] == [fake.pictures[i] for i in (0, 0, 1)]
    assert (tmp_path / "p.jpg").read_bytes()[:3] == b"\xff\xd8\xff"
    assert sorted(os.listdir(tmp_path)) == ["outputs", "p.jpg"]
    lines = err.splitlines()
    assert lines[0] == "2 pictures, 8 x 8, 6 steps, seed 7, job job-1, lane fast"
    told = lines[1:-1]  # a line in a while, and of the last step
    assert told == sorted(set(told))
    assert {*told} <= {f"step {step}/6" for step in range(1, 7)}
    assert told[-1] == "step 6/6"
    # half a grid, of 6 steps where 4 are usual
    assert re.fullmatch(r"made in [0-9.]+ s, 45.0 s of GPU time", lines[-1])


def test_imagine_says_all_that_was_typed(ask: Main, fake: FakeServer) -> None:
    words = [
        "--lane",
        "relax",
        "--ar",
        "16:9",
        "--steps",
        "3",
        "--guidance",
        "2.5",
        "--no",
        "a worm",
        "--solver",
        "heun",
    ]
    code, out, _ = ask("imagine", "x", "--private", "--n", "1", "--quiet", *words)
    assert (code, out) == (0, "")
    (submit,) = [request for request in fake.requests if isinstance(request, Submit)]
    default = Submit(key="", prompt="")
    found = {name: getattr(submit, name) for name in submit.__struct_fields__ if name != "key"}
    found = {name: value for name, value in found.items() if value != getattr(default, name) or name == "preview_every"}
    assert found == {
        "prompt": "x",
        "language": True,
        "preview_every": 0,
        "parameters": {
            "lane": "relax",
            "private": True,
            "no": "a worm",
            "aspect": [16.0, 9.0],
            "steps": 3,
            "images": 1,
            "guidance_scale": 2.5,
            "solver": "heun",
        },
    }


def test_imagine_json(ask: Main, tmp_path: Path) -> None:
    code, out, err = ask("imagine", "x", "--n", "1", "--seed", str(2**32 - 1), "--json", "--quiet", "-o", "x.png")
    assert (code, err) == (0, "")  # faults.md 27: --quiet and --json were refused together
    found = json.loads(out)
    assert (found["files"], found["seed"], found["job"]["state"]) == (["x.png"], 2**32 - 1, "done")
    assert set(found["seconds"]) == {"accept", "make", "fetch"}
    assert found["recipe"] is None  # the fake's pictures have none
    assert os.listdir(tmp_path) == ["x.png"]


def test_one_of_a_thing_is_one(ask: Main) -> None:
    """faults.md 27: "1 steps"."""
    code, _, err = ask("imagine", "x", "--n", "1", "--steps", "1", "--seed", "3", "-o", "x.png")
    assert code == 0
    assert err.startswith("1 picture, 8 x 8, 1 step, seed 3, ")


def test_imagine_detached(ask: Main, fake: FakeServer, tmp_path: Path) -> None:
    assert ask("imagine", "x", "--detach") == (0, "job-1\n", "")
    assert value(ask("imagine", "x", "--detach", "--json"))["job"] == "job-2"
    assert os.listdir(tmp_path) == []
    assert list(fake.jobs) == ["job-1", "job-2"]


@pytest.mark.parametrize(
    ("how", "line"),
    [({"fail": "no\x1bmemory"}, "failed: FakeFailure: no\ufffdmemory"), ({"block": "unsafe"}, "blocked: unsafe")],
)
def test_jobs_that_end_without_pictures(main: Main, tmp_path: Path, how: dict[str, str], line: str) -> None:
    with FakeServer(**how) as server:  # type: ignore[arg-type]
        code, out, err = main("imagine", "x", "--server", server.address)
        assert (code, out) == (1, "")
        assert err.splitlines()[-1] == f"salon: error: job job-1 {line}"
        code, out, _ = main("imagine", "x", "--server", server.address, "--json")
        assert (code, json.loads(out)["files"]) == (1, [])
        assert main("show", "job-1", "--server", server.address)[0] == 0  # it was shown, as was asked for
        assert main("show", "job-1", "--server", server.address, "--follow")[0] == 1
    assert os.listdir(tmp_path) == []


def test_a_refused_submit(ask: Main, fake: FakeServer) -> None:
    fake.refuse("refused", kind="submit")
    assert ask("imagine", "x") == (2, "", "salon: error: refused on demand: refused\n")
    fake.refuse("internal", kind="submit")
    assert ask("imagine", "x") == (1, "", "salon: error: refused on demand: internal\n")


def test_a_lost_server(ask: Main, fake: FakeServer) -> None:
    """While a job is waited for: it is not cancelled, and the way back to it is told."""
    fake.hold = True
    stopper = once_asked(fake, Watch, fake.stop)
    code, out, err = ask("imagine", "x", "--timeout", "3")
    stopper.join()
    assert (code, out) == (3, "")
    _, note, error = err.splitlines()
    assert note == "salon: note: job job-1 goes on; later: salon show job-1 --follow -o ."
    assert error.startswith(f"salon: error: server {fake.address}: got ")


def test_the_way_back_names_the_place_that_was_given(ask: Main, fake: FakeServer, tmp_path: Path) -> None:
    """faults.md 27: the hint forgot `-o`, and the pictures landed elsewhere."""
    fake.hold = True
    stopper = once_asked(fake, Watch, fake.stop)
    code, _, err = ask("imagine", "x", "--timeout", "3", "-o", "my pictures.png")
    stopper.join()
    assert code == 3
    assert "later: salon show job-1 --follow -o 'my pictures.png'" in err


class Patience:
    """How long a client of this process says nothing of a silent server; for as long as a test likes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.told = threading.Event()
        take = lookout.Lookout.take

        def taken(looks: lookout.Lookout) -> list[float | None]:
            news = take(looks)
            if any(seconds is not None for seconds in news):
                self.told.set()
            return news

        monkeypatch.setattr(lookout.Lookout, "take", taken)
        self.set(1000.0)

    def set(self, seconds: float) -> None:
        self._patch.setattr(lookout, "TELL_S", seconds)
        self._patch.setattr(lookout, "ASK_S", seconds / 2)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Patience:
    return Patience(monkeypatch)


def anyhow_long(line: str) -> str:
    """A line without how long the server was silent."""
    return re.sub(r"has not answered for [0-9]+ s", "has not answered for a while", line)


def test_a_silent_server_is_told_of(ask: Main, fake: FakeServer, patience: Patience) -> None:
    """faults.md 27: a stopped server left `salon imagine` silent until its patience had ended."""
    fake.hold = True
    back: list[FakeServer] = []

    def stop() -> None:
        fake.silence(1000)
        patience.set(0.3)
        fake.stop()  # which wakes the client
        assert patience.told.wait(60)
        patience.set(1000.0)
        back.append(FakeServer(fake.address, house=fake.house).start())
        back[0].release()

    stopper = once_asked(fake, Watch, stop)
    code, _, err = ask("imagine", "x", "--n", "1", "-o", "x y.png")
    stopper.join()
    back[0].stop()
    assert code == 0, err
    told = [anyhow_long(line) for line in err.splitlines() if "answer" in line]
    assert told == [
        f"salon: note: the server at {fake.address} has not answered for a while; job job-1 goes on there; Ctrl-C "
        "leaves it, salon show job-1 --follow -o 'x y.png' brings it back",
        f"salon: note: the server at {fake.address} answers again",
    ]


def test_a_server_that_is_not_there_is_told_of(ask: Main, fake: FakeServer, patience: Patience) -> None:
    """faults.md 27: once, however long it is waited for, and not with --quiet."""
    fake.stop()
    patience.set(0.3)
    code, out, err = ask("imagine", "x", "--timeout", "3")
    assert (code, out) == (3, "")
    note, error = err.splitlines()
    told = f"salon: note: the server at {fake.address} has not answered for a while; Ctrl-C ends the wait"
    assert anyhow_long(note) == told
    assert error.startswith("salon: error: server ")
    code, _, err = ask("imagine", "x", "--quiet", "--timeout", "1")
    assert (code, err.count("\n")) == (3, 1)


def test_interrupted_while_the_server_is_silent(fake: FakeServer, env: dict[str, str], tmp_path: Path) -> None:
    """faults.md 27: who had enough of a silent server waited half a minute more, for a job to be cancelled there."""
    fake.hold = True
    process = start(["imagine", "x", "-o", "x.png"], tmp_path, env=env)
    assert process.stderr is not None
    assert "job job-1" in process.stderr.readline()
    fake.stop()
    assert "has not answered" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    result = finish(process)
    line = "salon: error: interrupted; job job-1 goes on; later: salon show job-1 --follow -o x.png\n"
    assert (result.returncode, result.stderr) == (130, line)


def test_what_happens_meanwhile_is_told(ask: Main, fake: FakeServer) -> None:
    fake.hold = True

    def tell() -> None:
        wait_for(lambda: fake.jobs)
        fake.tell("job-1", "requeued", reason="worker\x07 died")
        fake.release()

    teller = threading.Thread(target=tell)
    teller.start()
    code, _, err = ask("imagine", "x", "--n", "1")
    teller.join()
    assert code == 0
    assert "salon: note: requeued: worker\ufffd died" in err.splitlines()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_is_cancelled(
    fake: FakeServer, env: dict[str, str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    fake.hold = True
    process = start(["imagine", "x", "-o", "x.png", "--preview", "p.jpg"], tmp_path, env=env)
    wait_for(lambda: any(isinstance(request, Watch) for request in list(fake.requests)))
    process.send_signal(number)
    result = finish(process)
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.splitlines()[-1] == "salon: error: interrupted; job job-1 is cancelled"
    assert fake.jobs["job-1"].state == "cancelled"
    assert os.listdir(tmp_path) == []


# ---- one's own jobs ----------------------------------------------------------------------------------------------


def test_jobs(ask: Main, fake: FakeServer) -> None:
    assert ask("jobs") == (0, "no jobs\n", "")
    assert value(ask("jobs", "--json")) == []
    for i in range(5):
        ask("imagine", f"picture {i}", "--quiet", "--n", "1", "--lane", "relax")
    code, out, err = ask("jobs", "--limit", "2")
    head, *rows = out.splitlines()
    assert head.split() == ["JOB", "STATE", "KIND", "LANE", "N", "SIZE", "STEP", "AGE", "GPU", "TIME", "PROMPT"]
    assert [row.split()[:7] for row in rows] == [
        [f"job-{i}", "done", "imagine", "relax", "1", "8x8", "4/4"] for i in (5, 4)
    ]
    assert rows[0].endswith("  picture 4")
    assert (code, err) == (0, "salon: note: there are more; pass --all-pages, or --limit up to 200\n")
    found = value(ask("jobs", "--limit", "2", "--all-pages", "--json"))
    assert [job["job"] for job in found] == [f"job-{i}" for i in (5, 4, 3, 2, 1)]
    assert set(found[0]) == set(JobInfo.__struct_fields__)
    assert value(ask("jobs", "--state", "failed,queued", "--json")) == []
    assert len(value(ask("jobs", "--state", "done", "--json"))) == 5
    assert ask("jobs", "--account", "*")[1].splitlines()[0].split()[:3] == ["JOB", "ACCOUNT", "STATE"]


def test_show(ask: Main, fake: FakeServer, tmp_path: Path) -> None:
    ask("imagine", "a red apple", "--seed", "3", "--quiet", "--n", "2", "--no", "worms")
    code, out, err = ask("show", "job-1", "-o", ".")
    assert (code, err) == (0, "")
    pairs = dict(re.split(r" {2,}", line, maxsplit=1) for line in out.splitlines()[:-3])
    assert (pairs["job"], pairs["state"], pairs["prompt"], pairs["weights"]) == (
        "job-1",
        "done",
        "a red apple",
        "prompt 1, worms -0.5",
    )
    assert pairs["what"] == "2 pictures, 8 x 8, seed 3"
    assert out.splitlines()[-3:] == ["a-red-apple-3.png", "a-red-apple-3-1.png", "a-red-apple-3-2.png"]
    assert (tmp_path / "a-red-apple-3-2.png").read_bytes() == fake.pictures[1]
    found = value(ask("show", "job-1", "--json", "-o", "x.png"))
    assert found["files"] == ["x.png", "x-1.png", "x-2.png"]
    assert set(found) == {*JobInfo.__struct_fields__, "files"}
    code, out, err = ask("show", "job-1", "-o", "x.png")
    assert (code, out) == (2, "")
    assert "a file that exists" in err
    assert ask("show", "job-1", "-o", "x.png", "--force")[0] == 0
    code, out, err = ask("show", "nope")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("salon: error: job: got 'nope', allowed ")


def test_show_follow(ask: Main, fake: FakeServer) -> None:
    fake.hold = True
    ask("imagine", "x", "--detach", "--n", "1", "--seed", "0")
    code, out, err = ask("show", "job-1", "-o", ".")
    assert (code, out) == (2, "")
    assert "queued, with 0 of 1 pictures" in err
    assert "--follow" in err
    fake.step_s = 0.1
    releaser = once_asked(fake, Watch, fake.release)
    code, out, err = ask("show", "job-1", "--follow", "-o", ".")
    releaser.join()
    assert (code, out.splitlines()[-1]) == (0, "x-0.png")
    told = [line.split(" ", 1)[1] for line in err.splitlines()]
    assert told[:2] == ["queued", "started"]
    steps = [line for line in told if line.startswith("step")]  # of which only the latest is kept
    assert steps == sorted(set(steps))
    assert {*steps} <= {f"step {step}/4" for step in range(1, 5)}
    assert steps[-1] == "step 4/4"
    assert told[-3:] == ["picture 1, 8 x 8, 72 B", "grid, 8 x 8, 72 B", "done"] or told[-1] == "done"
    code, out, err = ask("show", "job-1", "--follow", "--json")
    *events, job = map(json.loads, out.splitlines())
    assert (code, err) == (0, "")
    assert {event["type"] for event in events} == {"event"}
    assert (events[0]["kind"], events[-1]["kind"]) == ("queued", "done")
    assert (job["type"], job["state"]) == ("job", "done")


def test_cancel_and_delete(ask: Main, fake: FakeServer) -> None:
    fake.hold = True
    for _ in range(2):
        ask("imagine", "x", "--detach")
    code, out, err = ask("delete", "job-1")
    assert (code, out, err.count("\n")) == (2, "", 1)
    code, out, err = ask("cancel", "job-1", "nope", "job-1")
    assert (code, out) == (2, "job-1 cancelled\n")  # the others, too, and each once
    assert err.startswith("salon: error: job: got 'nope', allowed ")
    assert ask("cancel", "job-1") == (0, "job-1 had ended before\n", "")
    assert value(ask("cancel", "job-1", "job-2", "--json")) == [
        {"job": "job-1", "cancelled": False},
        {"job": "job-2", "cancelled": True},
    ]
    assert ask("delete", "job-1") == (0, "job-1 deleted\n", "")
    code, out, _ = ask("delete", "job-2", "nope", "--json")
    assert (code, [item["deleted"] for item in json.loads(out)]) == (2, [True, False])


def test_info(ask: Main, fake: FakeServer) -> None:
    ask("ops", "accounts", "set", "local", "--name", "Ada [x]", "--plan", "pro", "--quota", "1")
    ask("imagine", "x", "--quiet", "--n", "1")
    code, out, err = ask("info")
    assert (code, err) == (0, "")
    assert "name       Ada [x]\n" in out
    assert "fast time  29 h 59 min 45 s left (monthly 29 h 59 min 45 s)\n" in out
    assert "lifetime   15 s, 1 job\n" in out
    assert f"stored     {2 * len(fake.pictures[0])} B of 1.0 MB\n" in out
    ask("ops", "accounts", "set", ADA)
    assert set(value(ask("info", "--json"))) == set(AccountInfo.__struct_fields__)
    assert value(ask("info", "--account", ADA, "--json"))["account"] == ADA


# ---- ops ---------------------------------------------------------------------------------------------------------


def test_status_workers_and_one_frame(ask: Main) -> None:
    ask("imagine", "x", "--quiet", "--n", "1")
    code, out, err = ask("ops", "status")
    assert (code, err) == (0, "")
    assert "accepted  1 job, ended: 1 done\n" in out
    assert "\nworker-1 " in out
    assert value(ask("ops", "status", "--json"))["workers"][0]["name"] == "worker-1"
    assert ask("ops", "workers")[1].splitlines()[1].startswith("worker-1")
    assert [worker["name"] for worker in value(ask("ops", "workers", "--json"))] == ["worker-1"]
    for words in (["--once"], []):  # no terminal here
        code, out, err = ask("ops", "top", *words)
        assert (code, err) == (0, "")
        assert "\nturbo " in out
        assert "\nworker-1 " in out
    assert set(value(ask("ops", "top", "--json"))) == {"status", "jobs"}


def test_pause_resume_drain(ask: Main, fake: FakeServer) -> None:
    assert ask("ops", "pause") == (0, "paused\n", "")
    assert ask("ops", "pause") == (0, "was paused before\n", "")
    assert value(ask("ops", "pause", "--json")) == {"paused": False}
    assert value(ask("ops", "resume", "--json")) == {"resumed": True}
    assert ask("ops", "resume") == (0, "was running before\n", "")
    assert ask("ops", "drain", "--wait") == (0, "draining\nall jobs have ended\n", "")
    assert value(ask("ops", "drain", "--wait", "--json")) == {"draining": False, "stop": False, "left": 0}
    code, out, err = ask("imagine", "x")
    assert (code, out) == (2, "")
    assert "it is draining and accepts nothing" in err


def test_a_drained_server_that_stops(ask: Main, fake: FakeServer) -> None:
    """It is gone before the last job was seen to end; that is no error."""
    fake.hold = True
    ask("imagine", "x", "--detach")
    releaser = once_asked(fake, OpsStatus, fake.release)
    assert ask("ops", "drain", "--stop", "--wait") == (
        0,
        "draining\nall jobs have ended, the server stops\n",
        "1 job left\n",
    )
    releaser.join()


def test_a_draining_server_that_is_slow_to_let_somebody_in_is_not_gone(
    ask: Main, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After two seconds without a connection all jobs were said to have ended."""
    fake.hold = True
    ask("imagine", "x", "--detach")
    hear, heard = fake._router.heard_hello, 0

    def reluctant(hello: Hello) -> None:
        nonlocal heard
        heard += 1
        if heard == 2:  # the first one is of the order to drain
            raise RequestRefused("busy", "it has no time", 2500, "Busy")
        hear(hello)

    monkeypatch.setattr(fake._router, "heard_hello", reluctant)
    releaser = once_asked(fake, OpsStatus, fake.release)
    said = ask("ops", "drain", "--stop", "--wait")
    releaser.join()
    assert said == (0, "draining\nall jobs have ended, the server stops\n", "1 job left\n")


def test_a_drain_that_somebody_ends(ask: Main, fake: FakeServer) -> None:
    fake.hold = True
    for _ in range(2):
        ask("imagine", "x", "--detach")

    running = Status(state="running", queued={"fast": 2})
    resumer = once_asked(fake, OpsStatus, lambda: fake.answer("ops.status", running))
    code, out, err = ask("ops", "drain", "--wait")
    resumer.join()
    assert (code, out, err) == (1, "draining\n2 jobs left: the server drains no more\n", "2 jobs left\n")


def test_accounts(ask: Main, fake: FakeServer) -> None:
    code, out, _ = ask("ops", "accounts")
    assert (code, out.splitlines()[1].split()[:3]) == (0, ["local", "operator", "unlimited"])
    code, out, _ = ask("ops", "accounts", "set", ADA, "--name", "Ada", "--plan", "pro", "--role", "operator", "--block")
    assert code == 0
    assert "role      operator, blocked\n" in out.replace("       ", "      ")
    found = value(ask("ops", "accounts", "set", ADA, "--unblock", "--json"))
    assert (found["name"], found["plan"], found["role"], found["blocked"]) == ("Ada", "pro", "operator", False)
    ask("ops", "accounts", "set", "local")
    code, out, err = ask("ops", "accounts", "--limit", "1")
    assert out.splitlines()[1].split()[:3] == [ADA, "operator", "pro"]
    assert (code, err) == (0, "salon: note: there are more; pass --all-pages\n")
    found = value(ask("ops", "accounts", "--limit", "1", "--all-pages", "--json"))
    assert [account["account"] for account in found] == [ADA, "local"]


def test_grant_and_ledger(ask: Main, fake: FakeServer) -> None:
    assert ask("ops", "ledger", "--after", "1") == (0, "no entries\n", "")  # the first one renews `local`
    ask("ops", "accounts", "set", ADA, "--plan", "basic")
    before_s = len(value(ask("ops", "ledger", "--json"))["entries"])
    code, out, _ = ask("ops", "grant", ADA, "90")
    assert code == 0
    before = time.time_ns() // 1_000_000
    assert re.search(r"^fast time  4 h 50 min left \(.*bought 1 h 30 min.*\)$", out, re.MULTILINE)
    before = time.time_ns() // 1_000_000
    found = value(ask("ops", "grant", ADA, "0.5", "--source", "operator", "--expires", "2", "--json"))
    assert (found["fast_ms"]["bought"], found["fast_ms"]["operator"]) == (5_400_000, 30_000)
    for _ in range(2):
        ask("ops", "grant", "local", "1", "--key", "once")
    code, out, err = ask("ops", "ledger", "--limit", "2", "--after", str(before_s))
    head, *rows = out.splitlines()
    assert head.split() == ["NO", "TIME", "ACCOUNT", "KIND", "AMOUNT", "SOURCE", "EXPIRES", "JOB"]
    row = rf" {before_s + 1}  \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d  0123456789ab…  grant  1 h 30 min  bought  .*"
    assert re.fullmatch(row, rows[0].rstrip())
    assert (code, err) == (0, "salon: note: there are more; pass --all-pages\n")
    found = value(ask("ops", "ledger", "--limit", "1", "--after", str(before_s), "--all-pages", "--json"))
    given = [entry for entry in found["entries"] if entry["kind"] == "grant"]
    assert [entry["amount_ms"] for entry in given] == [5_400_000, 30_000, 60_000]
    assert 0 <= given[1]["expires_ms"] - before - 2 * 86_400_000 < 60_000
    assert (found["balance_ms"], found["more"]) == (None, False)
    newest = value(ask("ops", "ledger", "--newest", "--limit", "1", "--all-pages", "--json"))["entries"]
    assert [entry["seq"] for entry in newest] == [*range(newest[0]["seq"], 0, -1)]
    code, out, _ = ask("ops", "ledger", ADA, "--after", str(before_s + 1))
    assert out.splitlines()[-1] == "balance: 4 h 50 min"
    assert len(out.splitlines()) == 3
    code, out, err = ask("ops", "grant", ADA, "1", "--expires", "2")
    assert (code, out) == (2, "")
    assert err.startswith("salon: error: --expires: got it with --source bought, allowed with operator; ")


def test_retry(ask: Main, fake: FakeServer) -> None:
    fake.fail = "bad luck"
    assert ask("imagine", "x", "--quiet")[0] == 1
    fake.fail, fake.hold = "", True
    assert ask("ops", "retry", "job-1") == (0, "job-1 queued\n", "")
    code, out, err = ask("ops", "retry", "job-1", "--json")
    assert (code, out) == (2, "")
    assert err.startswith("salon: error: job: got one that is queued, allowed a failed one")


def test_others_are_told_so(main: Main) -> None:
    with FakeServer(role="user") as server:
        for words in (["status"], ["top"], ["drain", "--wait"], ["accounts"], ["ledger"]):
            code, out, err = main("ops", *words, "--server", server.address)
            assert (code, out) == (2, "")
            assert err.startswith("salon: error: ops.")
            assert "for operators only" in err


# ---- on a terminal -----------------------------------------------------------------------------------------------


class Terminal:
    """A command with a terminal of 100 x 30."""

    def __init__(self, words: list[str], env: dict[str, str]) -> None:
        self.keyboard, inside = pty.openpty()
        env = {**env, "COLUMNS": "100", "LINES": "30"}
        self.process = subprocess.Popen(
            [*COMMAND, *words], stdin=inside, stdout=inside, stderr=inside, env=env, start_new_session=True
        )
        os.close(inside)
        self.text = ""

    def read(self, until: Callable[[str], bool]) -> None:
        """Collect what it shows, until that is the case, or it has ended."""
        end = time.monotonic() + 90
        while not until(self.text):
            assert time.monotonic() < end, self.text
            if not select.select([self.keyboard], [], [], 0.1)[0]:
                continue
            try:
                self.text += os.read(self.keyboard, 65536).decode(errors="replace")
            except OSError:  # Linux says so when the other side has closed
                return

    def end(self) -> int:
        self.read(lambda _: False)
        os.close(self.keyboard)
        return self.process.wait(timeout=60)


@pytest.mark.parametrize("end", ["q", "Ctrl-C", "SIGTERM"])
def test_top_is_live_until_it_is_left(fake: FakeServer, env: dict[str, str], end: str) -> None:
    """The screen is given back."""
    terminal = Terminal(["ops", "top"], env)
    terminal.read(lambda text: ("steps/s" if end == "q" else "q or Ctrl-C") in text)
    assert "worker-1" in terminal.text
    assert "\x1b[?1049h" in terminal.text
    if end == "q":
        os.write(terminal.keyboard, b"q")
    else:
        terminal.process.send_signal(signal.SIGINT if end == "Ctrl-C" else signal.SIGTERM)
    assert terminal.end() == (143 if end == "SIGTERM" else 0)
    assert "\x1b[?1049l" in terminal.text
    assert "Traceback" not in terminal.text


def test_top_says_when_the_server_is_lost(fake: FakeServer, env: dict[str, str]) -> None:
    terminal = Terminal(["ops", "top", "--timeout", "5"], env)
    terminal.read(lambda text: "worker-1" in text)
    fake.stop()
    assert terminal.end() == 3
    assert "salon: error: server tcp://" in terminal.text.split("\x1b[?1049l")[1]


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours(fake: FakeServer, env: dict[str, str], main: Main, no_color: str) -> None:
    main("imagine", "[bold]x[/bold] \x1b[41m", "--quiet", "--server", fake.address)
    env.pop("NO_COLOR", None)
    terminal = Terminal(["jobs"], env | ({"NO_COLOR": no_color} if no_color else {}))
    assert terminal.end() == 0
    assert ("\x1b[32mdone" in terminal.text) == (not no_color)
    assert "[bold]x[/bold]" in terminal.text
    assert "\x1b[41m" not in terminal.text


def test_a_process_of_its_own(fake: FakeServer, env: dict[str, str], tmp_path: Path) -> None:
    """The entry point, once: a table, JSON, a bar's plain lines."""
    result = finish(start(["imagine", "x", "--n", "1", "--seed", "1"], tmp_path, env=env))
    assert (result.returncode, result.stdout) == (0, "outputs/x-1.png\n")
    result = finish(start(["jobs"], tmp_path, env=env))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[1].startswith("job-1  done ")
    result = finish(start(["ops", "workers", "--json"], tmp_path, env=env))
    assert [worker["name"] for worker in json.loads(result.stdout)] == ["worker-1"]
