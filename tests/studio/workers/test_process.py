"""Workers in processes of their own, and what is done to them: killed, stopped, never born. Pixels do not care."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.spec import AdapterUse
from salon.scheduler.policy import Policy
from salon.scheduler.tickets import Lane
from salon.studio.errors import JobFailed, StudioClosed, WorkerLost
from salon.studio.scheduling.loop import Loop
from salon.studio.workers import process
from salon.studio.workers.client import ALIVE
from salon.studio.workers.messages import AddAdapter, Drop, Ready, Setup, pack
from salon.studio.workers.process import Deadlines, ProcessWorker

from ..conftest import BACKEND, TIMEOUT, Solo, add_adapters, amid, check_identity, finals, spec

MakePorts = Callable[..., list[ProcessWorker]]
QUICK = Deadlines(start_s=TIMEOUT, beat_s=TIMEOUT, command_s=TIMEOUT, backoff_s=0.05, max_restarts=3)


def children() -> set[int]:
    """Processes whose parent this one is, the dead that nobody has waited for included."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            after_name = stat.read_text().rpartition(")")[2].split()
            if int(after_name[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


@pytest.fixture
def new_ports(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePorts]:
    """Makes ports; afterwards, none of their processes and files may be left."""
    made: list[ProcessWorker] = []
    before = children()  # other tests may have left some, such as multiprocessing's resource tracker
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def make(count: int = 1, deadlines: Deadlines = QUICK, **setup: Any) -> list[ProcessWorker]:
        fields: dict[str, Any] = {"model": os.fsencode(tiny), "backend": BACKEND, "threads": 1} | setup
        made.extend(ProcessWorker(Setup(**fields), f"process-{len(made)}", deadlines) for _ in range(count))
        for i, port in enumerate(made):
            port._name = f"process-{i}"
        return made

    yield make
    for port in made:
        port.close(TIMEOUT)
        assert port.pid is None
        assert port._thread is None or not port._thread.is_alive()
    assert not list(tmp_path.glob("salon-*"))
    assert children() <= before  # nobody is left, not even to be waited for


def kill(port: ProcessWorker, what: int = signal.SIGKILL) -> None:
    assert port.pid is not None
    os.kill(port.pid, what)


LONG = spec(steps=200, solver="heun", seed=5, adapters=(AdapterUse("page", 0.5, "null"),))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_silent_worker_is_replaced(
    new_ports: MakePorts, solo: Solo, monkeypatch: pytest.MonkeyPatch, how: int
) -> None:
    """Its jobs run again on its successor, which knows the adapters too, and everybody ends exactly once."""
    watches: list[Any] = []

    class Watch(process._Watch):
        def __init__(self, deadlines: Deadlines) -> None:
            super().__init__(deadlines)
            watches.append(self)

    monkeypatch.setattr(process, "_Watch", Watch)
    ports = new_ports()
    with Loop(ports, start_timeout_s=TIMEOUT) as loop:
        add_adapters(loop)
        job = amid(loop, LONG)
        waiting = loop.submit(spec(seed=6), lane=Lane.RELAX)
        first = ports[0].pid
        kill(ports[0], how)
        if how == signal.SIGSTOP:  # from now on, and in this life alone: a busy machine's worker may be silent as long
            watches[0]._deadlines = replace(QUICK, beat_s=0.5)
        loop.release()
        for each in (job, waiting):
            np.testing.assert_array_equal(each.result(TIMEOUT), solo(each.spec))
            assert finals(each) == ["done"]
        assert ports[0].pid != first
        requeued = [event for event in job.events(TIMEOUT) if event.kind == "requeued"]
        assert len(requeued) == 1
        assert ("killed by signal 9" if how == signal.SIGKILL else "no sign of life for 0.5 s") in requeued[0].reason


# What a worker's Python runs first (PYTHONPATH): its steps do not end, on however fast a machine.
HANGS = """
import sys, time
if "salon.studio.workers.main" in sys.orig_argv:
    from salon.engine.engine import Engine
    Engine.step = lambda *_: time.sleep(3600)
"""


def test_a_step_that_never_ends_has_a_deadline(
    new_ports: MakePorts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker beats, but does not answer."""
    (tmp_path / "sitecustomize.py").write_text(HANGS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    ports = new_ports(deadlines=replace(QUICK, command_s=0.4, max_restarts=1))
    with Loop(ports, start_timeout_s=TIMEOUT) as loop:
        job = loop.submit(spec())
        with pytest.raises(JobFailed, match="no answer to a command for 0.4 s; it was started 2 times, and is given"):
            job.result(TIMEOUT)
        assert finals(job) == ["failed"]
        with pytest.raises(WorkerLost, match="no worker is left"):
            loop.submit(spec())


def test_one_of_two_dies_again_and_again(new_ports: MakePorts, solo: Solo) -> None:
    """Random mixed loads on two workers while they are killed in turn."""
    ports, rng = new_ports(2), random.Random(3)
    with Loop(ports, start_timeout_s=TIMEOUT) as loop:
        add_adapters(loop)

        def disturb(i: int) -> None:
            if i % 4 == 1:
                time.sleep(0.01 * rng.random())
                victim = ports[(i // 4) % 2]
                if victim.pid is not None:
                    kill(victim)

        assert check_identity(loop, solo, 8, seed=4, disturb=disturb) > 12


def test_close_amid_work_leaves_nothing(new_ports: MakePorts) -> None:
    ports = new_ports(2)
    loop = Loop(ports, start_timeout_s=TIMEOUT).start()
    jobs = [loop.submit(spec(width=512, height=512, steps=200, seed=i), account=str(i)) for i in range(3)]
    start = time.monotonic()
    loop.close(10 * TIMEOUT)
    assert time.monotonic() - start < TIMEOUT  # and not as long as the jobs, or as it may take
    for job in jobs:
        assert finals(job) == ["cancelled"]
        assert job.reason == "studio closed"
    with pytest.raises(StudioClosed):
        loop.submit(spec())


def test_a_worker_that_cannot_load_says_why(new_ports: MakePorts) -> None:
    for setup, words in (
        ({"model": b"/nowhere"}, "ModelNotFound: /nowhere"),
        ({"backend": "abacus"}, "UnknownBackend"),
    ):
        assert words in first_word(new_ports(**setup))


def test_a_command_that_cannot_be_said_is_a_lost_worker(
    new_ports: MakePorts, solo: Solo, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """A bug on this side of the socket: its job fails, and nobody waits for ever."""

    def picky(message: Any) -> bytes:
        if any(arrival.spec.seed == 13 for arrival in getattr(message, "arrivals", ())):
            raise TypeError("Encoding objects of this type is unsupported")
        return pack(message)

    monkeypatch.setattr(process, "pack", picky)
    ports = new_ports()
    with Loop(ports, policy=Policy(max_losses=1), start_timeout_s=TIMEOUT) as loop:
        bad = loop.submit(spec(seed=13))
        good = loop.submit(spec(seed=1), account="other")
        with pytest.raises(JobFailed, match="workers died"):
            bad.result(TIMEOUT)
        np.testing.assert_array_equal(good.result(TIMEOUT), solo(good.spec))
    assert "TypeError: Encoding objects" in caplog.text


def test_a_killed_process_that_stays_is_left_behind(
    new_ports: MakePorts, solo: Solo, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    wait = subprocess.Popen.wait

    def stuck(self: Any, timeout: float | None = None) -> int:
        code = wait(self, timeout)
        if timeout == process.KILLED_S:
            raise subprocess.TimeoutExpired("worker", timeout)
        return code

    monkeypatch.setattr(subprocess.Popen, "wait", stuck)
    ports = new_ports()
    with Loop(ports, start_timeout_s=TIMEOUT) as loop:
        job = amid(loop, spec(steps=200, seed=5))
        kill(ports[0])
        loop.release()
        np.testing.assert_array_equal(job.result(TIMEOUT), solo(job.spec))
        (requeued,) = [event for event in job.events(TIMEOUT) if event.kind == "requeued"]
        assert "killed by signal 9" in requeued.reason
    assert "was killed and is still there" in caplog.text


def test_a_new_worker_is_told_the_adapters_of_its_jobs_and_no_others(
    new_ports: MakePorts, solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """house.md 4.9: every adapter of every user was told to every worker that started, for ever."""
    told: list[str] = []

    def listen(message: Any) -> bytes:
        if isinstance(message, AddAdapter):
            told.append(message.name)
        return pack(message)

    monkeypatch.setattr(process, "pack", listen)
    ports = new_ports()
    with Loop(ports, start_timeout_s=TIMEOUT) as loop:
        add_adapters(loop)
        assert told == []
        job = amid(loop, spec(steps=200, seed=6, adapters=(AdapterUse("page", 0.5, "null"),)))
        kill(ports[0])
        loop.release()
        np.testing.assert_array_equal(job.result(TIMEOUT), solo(job.spec))
        assert sorted(told) == ["null", "null", "page", "page"], "once in each life"
        again = loop.submit(spec(seed=7, adapters=(AdapterUse("page", 0.5, "null"),)))
        np.testing.assert_array_equal(again.result(TIMEOUT), solo(again.spec))
        assert len(told) == 4


def test_a_model_that_is_away_for_a_while_loses_nothing(
    new_ports: MakePorts, tiny: Path, tmp_path: Path, solo: Solo
) -> None:
    """What could be loaded once may be loadable again."""
    model, away = tmp_path / "model", tmp_path / "away"
    shutil.copytree(tiny, model)
    ports = new_ports(model=os.fsencode(model), deadlines=replace(QUICK, max_restarts=8))
    with Loop(ports, start_timeout_s=TIMEOUT) as loop:
        job = amid(loop, spec(steps=200, seed=5))
        model.rename(away)
        kill(ports[0])
        loop.release()
        end = time.monotonic() + TIMEOUT
        while loop.snapshot().workers[0].losses < 2:  # it was killed, and then not loaded
            assert time.monotonic() < end
            time.sleep(0.02)
        away.rename(model)
        np.testing.assert_array_equal(job.result(TIMEOUT), solo(job.spec))


def test_a_model_that_stays_away_is_given_up(new_ports: MakePorts, tiny: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny, model)
    ports = new_ports(model=os.fsencode(model), deadlines=replace(QUICK, max_restarts=1))
    with Loop(ports, start_timeout_s=TIMEOUT) as loop:
        job = amid(loop, spec(steps=200, seed=5))
        shutil.rmtree(model)
        kill(ports[0])
        loop.release()
        words = "no worker is left; .* not loaded again: ModelNotFound: .*; it was started 2 times, and is given up"
        with pytest.raises(JobFailed, match=words):
            job.result(TIMEOUT)


def test_workers_that_would_differ_do_not_work_together(new_ports: MakePorts, caplog: Any) -> None:
    from salon.engine.limits import Limits

    new_ports()
    ports = new_ports(limits=Limits(max_steps=7))
    with Loop(ports, start_timeout_s=TIMEOUT) as loop:
        end = time.monotonic() + TIMEOUT
        while not any(slot.gone for slot in loop._core.pool.slots.values()):
            assert time.monotonic() < end
            time.sleep(0.01)
        assert "are not those of the others" in caplog.text
        assert loop.submit(spec()).result(TIMEOUT).shape == (1, 16, 16, 3)


def command_of(pid: int) -> bytes:
    """The command line of a process; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_a_worker_ends_with_its_parent(tiny: Path, tmp_path: Path) -> None:
    """The parent is killed, and cannot clean up: the worker notices, and does."""
    code = (
        "import sys, time\n"
        "from salon.studio.scheduling.loop import Loop\n"
        "from salon.studio.workers.messages import Setup\n"
        "from salon.studio.workers.process import ProcessWorker\n"
        f"port = ProcessWorker(Setup(model={os.fsencode(tiny)!r}, backend={BACKEND!r}, threads=1))\n"
        "loop = Loop([port]).start()\n"
        "print(port.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    places = os.environ | {"TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=places)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert len(list(tmp_path.glob("salon-*"))) == 1
    parent.kill()
    parent.wait(TIMEOUT)
    parent.stdout.close()
    end = time.monotonic() + TIMEOUT
    while b"workers.main" in command_of(pid):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert not list(tmp_path.glob("salon-*"))


# ---- what trying again does not change ------------------------------------------------------------------------------


def first_word(ports: list[ProcessWorker]) -> str:
    """Why a loop on the last of these ports does not start; it must not have been tried twice."""
    with pytest.raises(WorkerLost) as refused:
        Loop([ports[-1]], start_timeout_s=TIMEOUT).start()
    assert ports[-1]._life == 1
    return str(refused.value)


def test_a_socket_path_that_is_too_long(new_ports: MakePorts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """faults.md 20, house.md 4.14: a TMPDIR of 110 characters was tried nine times, for 33 seconds."""
    folder = tmp_path / ("x" * 110)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    words = first_word(new_ports())
    assert str(folder) in words
    assert "at most 107 are possible; set TMPDIR to a shorter folder" in words
    assert not list(folder.iterdir())


def test_no_temporary_folder(new_ports: MakePorts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """faults.md 20"""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    words = first_word(new_ports())
    assert f"No such file or directory: '{tmp_path}/none/salon-" in words
    assert "set TMPDIR to one that can be written" in words


@pytest.mark.parametrize(
    ("executable", "words"),
    [
        ("/nowhere/python", "sys.executable, '/nowhere/python', cannot be run: No such file or directory"),
        ("/etc/passwd", "sys.executable, '/etc/passwd', cannot be run: Permission denied"),
        ("/bin/true", "'/bin/true' ended with 0 before it said anything; sys.executable must be a Python"),
        ("", "sys.executable is empty"),
    ],
)
def test_an_executable_that_is_no_python(
    new_ports: MakePorts, monkeypatch: pytest.MonkeyPatch, executable: str, words: str
) -> None:
    """faults.md 20"""
    monkeypatch.setattr(sys, "executable", executable)
    assert words in first_word(new_ports())


def test_files_of_the_working_folder_are_not_run(
    new_ports: MakePorts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """faults.md 21: a `queue.py` or a folder `salon` there was what the worker imported."""
    folder = tmp_path / "work"
    (folder / "salon").mkdir(parents=True)
    for name in ("queue.py", "secrets.py", "salon/__init__.py"):
        (folder / name).write_text("open('ran', 'w')\nraise SystemExit(3)\n")
    monkeypatch.chdir(folder)
    with Loop(new_ports(), start_timeout_s=TIMEOUT) as loop:
        assert loop.submit(spec()).result(TIMEOUT).shape == (1, 16, 16, 3)
    assert not (folder / "ran").exists()


def test_commands_that_a_stopped_worker_does_not_take_are_bounded(new_ports: MakePorts) -> None:
    """house.md 4.14: the queue to a hung worker had no bound."""
    late = 20 * TIMEOUT  # so that on a busy machine, too, it is the number of commands that ends the worker
    (port,) = new_ports(deadlines=Deadlines(start_s=TIMEOUT, beat_s=late, command_s=late, max_restarts=0))
    heard: list[Any] = []
    ready, lost = threading.Event(), threading.Event()

    def notice(name: str, answer: Any, frames: Any) -> None:
        heard.append(answer)
        (ready if isinstance(answer, Ready) else lost).set()

    port.start(notice)
    assert ready.wait(TIMEOUT)
    kill(port, signal.SIGSTOP)
    for number in range(3 * process.MAX_COMMANDS):
        port.send(Drop(number, ("nobody",)), life=heard[0].life)
    assert lost.wait(late)
    assert "4096 commands wait, and it takes none" in heard[-1].reason


FORK = """
import os, sys, threading
from salon.studio.errors import StudioClosed
from salon.studio.studio import Studio
studio = Studio({model!r}, backend={backend!r}, threads=1, process=True)
studio.loop.hold()
job = studio.imagine("a red apple", images=1, steps=200, seed=1)
job.pause()
studio.loop.release()
done = studio.imagine("a red apple", images=1, steps=1, seed=1)
done.result(60)
if os.fork() == 0:
    for act in (job.result, job.wait, job.cancel, lambda: list(job.events()), studio.loop.snapshot,
                lambda: studio.imagine("a cat", seed=1), lambda: studio.loop.info("x")):
        try:
            act()
        except StudioClosed as error:
            assert "made before a fork" in str(error), error
        else:
            os._exit(4)
    assert done.result().shape[0] == 1
    studio.close()
    sys.exit(0)  # all that is done at exit is done here
_, status = os.wait()
job.resume()
print(os.waitstatus_to_exitcode(status), job.result(60).shape)
kept = studio.imagine("a cat", images=1, steps=2, seed=2).result(60)
studio.close()
print("closed", os.listdir(os.environ["TMPDIR"]))
"""


def test_a_studio_in_a_forked_child(tiny: Path, tmp_path: Path) -> None:
    """faults.md 10: `result()` waited for ever in the child, and the child's end removed the parent's folder."""
    code = FORK.format(model=str(tiny), backend=BACKEND)
    places = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=4 * TIMEOUT, env=places)
    first, last = done.stdout.splitlines()
    assert first.startswith("0 (1, ")
    assert last == "closed []"
    assert done.returncode == 0


def test_a_folder_is_swept_at_no_moment_of_its_making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two servers that started at the same time, one removed the folder of the other's socket."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lock = fcntl.flock

    def late(file: Any, how: int) -> None:
        if how == fcntl.LOCK_EX:
            process._sweep(str(tmp_path))  # the other server's
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with process._private_folder() as folder:
        assert Path(folder, ALIVE).exists()
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_killed_process_goes_when_the_next_one_starts(
    new_ports: MakePorts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was killed before its worker had started left its socket's folder behind for ever."""
    place = tmp_path / "place"
    names = ("salon-7-abcdefgh", "salon-8-abcdefgh", "salon-9-abcdefgh", "salon-mine")
    dead, held, unlocked, other = (place / name for name in names)
    for folder in (dead, held, unlocked, other):
        folder.mkdir(parents=True)
    for folder in (dead, held, other):
        (folder / ALIVE).touch()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with open(held / ALIVE, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Loop(new_ports(), start_timeout_s=TIMEOUT) as loop:
            assert not dead.exists()
            own = next(path for path in place.iterdir() if path not in (held, unlocked, other))
            process._sweep(str(place))
            assert own.exists(), "one's own is held"
            assert loop.submit(spec()).wait(TIMEOUT)
        assert not own.exists()
    assert held.exists()
    assert unlocked.exists()
    assert other.exists()
