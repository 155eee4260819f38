"""A durable studio in a program of one's own: from plain Python, with a deadline on each wait."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.engine.errors import SpecError
from salon.parameters.errors import ParameterError, PromptRefused
from salon.parameters.job_request import Source
from salon.studio.errors import (
    JobCancelled,
    JobFailed,
    JobTimeout,
    ReferenceRefused,
    StoreInUse,
    StudioClosed,
    WrongTimeout,
)
from salon.studio.service.embedded import DurableStudio
from salon.studio.service.errors import KeyReused, UnknownJob
from salon.studio.service.recipe_files import read_png
from salon.studio.studio import Studio

from ..conftest import BACKEND, TIMEOUT

Open = Callable[..., DurableStudio]
TINY: dict[str, Any] = {"width": 16, "height": 16, "steps": 2, "images": 2, "seed": 3}

CODE = """
import sys
from salon import DurableStudio
model, backend, data = sys.argv[1:]
studio = DurableStudio(data, model=model, backend=backend, threads=1)
first = studio.imagine("cat", key="first", width=16, height=16, steps=2, images=2, seed=3)
first.wait(300)
job = studio.imagine("a red apple", key="second", steps=200, images=4, seed=5)
for event in job.events(300):
    if event.kind == "step":
        print(first.id, job.id, event.step, flush=True)
"""


@pytest.fixture
def open_(tiny: Path, tmp_path: Path) -> Iterator[Open]:
    with ExitStack() as stack:

        def make(folder: str = "data", **options: Any) -> DurableStudio:
            values: dict[str, Any] = {"model": str(tiny), "backend": BACKEND, "threads": 1} | options
            return stack.enter_context(DurableStudio(tmp_path / folder, **values))

        yield make


def pixels_of(files: tuple[bytes, ...]) -> Any:
    return np.stack([read_png(io.BytesIO(data))[0] for data in files])


def test_a_prompt_of_the_language(open_: Open) -> None:
    studio = open_()
    small: dict[str, Any] = {"width": 16, "height": 16, "steps": 2}
    plan = studio.plan("{cat, dog} --n 1 --seed 3", **small)
    assert [(job.prompt, job.sources["images"]) for job in plan.jobs] == [
        ("cat --seed 3 --n 1 --steps 2", "typed"), ("dog --seed 3 --n 1 --steps 2", "typed"),
    ]  # fmt: skip
    jobs = studio.submit("{cat, dog} --n 1 --seed 3", key="k", **small)
    source = Source(job=jobs[0].id, index=0)
    jobs[0].wait(TIMEOUT)
    varied = studio.plan(kind="vary", sources=[source], **small)
    (job,) = varied.jobs
    assert (job.prompt, job.parameters["images"], job.sources["images"], job.sources["steps"]) == (
        "cat --steps 2", 4, "picture", "typed",
    )  # fmt: skip
    assert job.sources["guidance_scale"] == "picture"
    assert [job.record().prompt for job in jobs] == ["cat", "dog"]
    assert [len(job.pictures(TIMEOUT)) for job in jobs] == [1, 1]
    assert [job.id for job in studio.submit("{cat, dog} --n 1 --seed 3", key="k", **small)] == [job.id for job in jobs]
    with pytest.raises(PromptRefused, match="--n: got '9'"):
        studio.submit("cat --n 9")


def test_pictures_are_those_of_a_studio_without_a_folder(open_: Open, tiny: Path) -> None:
    job = open_().imagine("cat", **TINY)
    files = job.pictures(TIMEOUT)
    with Studio(str(tiny), backend=BACKEND, threads=1) as studio:
        np.testing.assert_array_equal(pixels_of(files), studio.imagine("cat", **TINY).result(TIMEOUT))
    assert read_png(io.BytesIO(job.grid(TIMEOUT)))[1].kind == "grid"
    record = job.record()
    assert (record.state, record.account, record.step) == ("done", "local", 2)


def test_the_same_key_is_the_same_job_after_a_restart(open_: Open) -> None:
    studio = open_()
    job = studio.imagine("cat", key="k", **TINY)
    files = job.pictures(TIMEOUT)
    studio.close()
    studio.close()  # changes nothing
    with pytest.raises(StudioClosed):
        job.record()
    studio = open_()
    again = studio.imagine("cat", key="k", **TINY)
    assert again.id == job.id
    assert again.pictures(TIMEOUT) == files
    with pytest.raises(KeyReused):
        studio.imagine("dog", key="k", **TINY)
    assert [record.job for record in studio.jobs()] == [job.id]
    assert studio.jobs(states=["failed"]) == ()


def test_a_kill_amid_a_job_loses_nothing(open_: Open, tiny: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", CODE, str(tiny), BACKEND, str(tmp_path / "data")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    watchdog = threading.Timer(300, process.kill)
    watchdog.start()
    try:
        first, second, step = process.stdout.readline().split()
        assert int(step) < 200
        os.kill(process.pid, signal.SIGKILL)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait(TIMEOUT)
        process.stdout.close()
    studio = open_()
    states = {record.job: record.state for record in studio.jobs()}
    assert (list(states), states[first]) == ([second, first], "done")
    events = list(studio.job(second).events(TIMEOUT))
    assert [event.kind for event in events if event.kind in ("done", "failed", "cancelled")] == ["done"]
    files = studio.job(second).pictures(TIMEOUT)
    fresh = open_("fresh").imagine("a red apple", steps=200, images=4, seed=5).pictures(TIMEOUT)
    np.testing.assert_array_equal(pixels_of(files), pixels_of(fresh))
    assert studio.job(first).pictures(0)[0]
    studio._context.store.check()


def test_a_program_that_ends_without_closing_loses_nothing(open_: Open, tiny: Path, tmp_path: Path) -> None:
    code = CODE.partition("for event in")[0] + "next(event for event in job.events(300) if event.kind == 'step')\n"
    words = [sys.executable, "-c", code + "print(job.id)", str(tiny), BACKEND, str(tmp_path / "data")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    job = open_().job(done.stdout.strip())
    assert len(job.pictures(TIMEOUT)) == 4


def test_a_folder_has_one_studio_at_a_time(open_: Open) -> None:
    open_()
    with pytest.raises(StoreInUse):
        open_()


def test_jobs_that_end_without_pictures(open_: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = open_()
    studio._context.studio.loop.hold()
    job = studio.imagine("cat", **TINY)
    with pytest.raises(JobTimeout, match="one that goes on"):
        job.wait(0.01)
    assert job.cancel()
    assert not job.cancel()
    with pytest.raises(JobCancelled):
        job.pictures(TIMEOUT)
    (slot,) = studio._context.studio.loop._core.pool.slots.values()

    def broken(*arguments: Any) -> Any:
        raise RuntimeError("the device is on fire")

    monkeypatch.setattr(slot.client._worker.engine, "decode", broken)  # type: ignore[attr-defined]
    studio._context.studio.loop.release()
    with pytest.raises(JobFailed, match="on fire"):
        studio.imagine("cat", **TINY).pictures(TIMEOUT)
    assert job.delete()
    for ask in (job.record, lambda: job.wait(TIMEOUT), lambda: studio.job(job.id)):
        with pytest.raises(UnknownJob):
            ask()


def test_what_is_refused(open_: Open) -> None:
    studio = open_()
    bad: tuple[dict[str, Any], ...] = ({"images": 0}, {"images": "many"}, {"stylise": 3}, {"parameters": {"seed": -1}})
    for fields in bad:
        with pytest.raises(ParameterError):
            studio.imagine("cat", **fields)
    also: tuple[dict[str, Any], ...] = ({"key": "no spaces"}, {"stylize": 3}, {"style_references": [7]})
    for fields in also:  # the model has no styles
        with pytest.raises(SpecError):
            studio.imagine("cat", **fields)
    with pytest.raises(ReferenceRefused, match="no picture"):
        studio.add_reference(b"hello")
    with pytest.raises(WrongTimeout):
        studio.imagine("cat", timeout_s=-1)
    with pytest.raises(WrongTimeout):
        studio.jobs(timeout_s="soon")  # type: ignore[arg-type]
    assert studio.jobs() == ()


def test_an_end_of_the_studio_ends_those_who_wait(open_: Open) -> None:
    studio = open_()
    studio._context.studio.loop.hold()
    job = studio.imagine("cat", **TINY)
    waiting, errors = threading.Event(), []

    def wait() -> None:
        try:
            for event in job.events(TIMEOUT):
                if event.kind == "queued":
                    waiting.set()
        except StudioClosed as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(TIMEOUT)
    studio.close()
    thread.join(TIMEOUT)
    assert len(errors) == 1
    assert open_().job(job.id).pictures(TIMEOUT)


def test_no_thread_is_left(open_: Open) -> None:
    before = {thread.name for thread in threading.enumerate()}
    studio = open_()
    studio.imagine("cat", **TINY).wait(TIMEOUT)
    studio.close()
    left = [thread for thread in threading.enumerate() if thread.name not in before]
    for thread in left:
        thread.join(TIMEOUT)
    assert [thread.name for thread in left if thread.is_alive()] == []


def test_a_picture_is_kept_and_drawn_in_the_style_of_after_a_restart(tmp_path: Path) -> None:
    rng, buffer = np.random.default_rng(0), io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(buffer, "PNG")
    small: dict[str, Any] = {"images": 1, "steps": 1, "seed": 3, "width": 64, "height": 64}
    with DurableStudio(tmp_path / "data", threads=1) as studio:
        digest = studio.add_reference(buffer.getvalue())
    with DurableStudio(tmp_path / "data", threads=1) as studio:
        plain, styled = studio.imagine("a red apple", **small), studio.imagine(
            "a red apple", style_references=[digest], **small
        )  # fmt: skip
        assert plain.pictures(timeout_s=TIMEOUT)[-1] != styled.pictures(timeout_s=TIMEOUT)[-1]
        assert studio.job(styled.id).record().styles == {f"style:picture:{digest}": 1.0}
        assert studio.job(plain.id).record().styles == {}
