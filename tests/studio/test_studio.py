"""The embedded whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.errors import LimitError, ModelNotFound, SpecError
from salon.engine.limits import Limits
from salon.scheduler.admission import Work
from salon.scheduler.plans import Kind
from salon.studio.errors import WrongTimeout
from salon.studio.scheduling.loop import Loop
from salon.studio.studio import Studio

from .conftest import BACKEND, TIMEOUT, Solo, add_adapters, spec


@pytest.mark.parametrize(("workers", "process"), [(1, False), (2, False), (2, True)])
def test_a_prompt_becomes_pictures(tiny: Path, solo: Solo, workers: int, process: bool) -> None:
    with Studio(tiny, workers=workers, process=process, backend=BACKEND, threads=1) as studio:
        add_adapters(studio.loop)
        jobs = [studio.imagine("cat", lane, seed=i) for i, lane in enumerate(("fast", "turbo", "draft", "relax"))]
        for i, job in enumerate(jobs):  # the model's defaults: 16 x 16, 3 steps, guidance 3
            np.testing.assert_array_equal(job.result(TIMEOUT), solo(spec(prompt="cat", steps=3, seed=i)))
        wide = studio.imagine("cat", aspect=(2, 1), images=2)
        assert wide.result(TIMEOUT).shape == (2, 12, 24, 3) or wide.result(0).shape[2] > wide.result(0).shape[1]


class Text(str):
    """As somebody derived it."""

    def __str__(self) -> str:
        return "another text"


def test_numpys_numbers_are_numbers_everywhere(tiny: Path, solo: Solo) -> None:
    """faults.md 7's kind: of a studio's own fields, only Python's own `int` was a number, only a tuple an aspect."""
    limits = Limits(max_images=np.int64(3))  # type: ignore[arg-type]
    options: dict[str, Any] = {"workers": np.int64(1), "threads": np.int64(1), "backend": BACKEND, "limits": limits}
    with Studio(tiny, **options) as studio:
        fields: dict[str, Any] = {
            "images": np.uint8(2),
            "seed": np.int64(5),
            "preview_every": np.int64(1),
            "aspect": np.array([2, 1]),
            "account": Text("me"),
            "work": Work(kind=Kind.GRID, images=np.int64(2), draft=np.bool_(False)),  # type: ignore[arg-type]
        }
        job = studio.imagine(Text("cat"), np.str_("relax"), **fields)
        size = {"width": job.spec.width, "height": job.spec.height}
        np.testing.assert_array_equal(job.result(TIMEOUT), solo(spec(prompt="cat", steps=3, seed=5, images=2, **size)))
        assert job.account == "me"
        with pytest.raises(LimitError, match="images: got 4 images, allowed 3"):
            studio.imagine("cat", images=np.int64(4))


@pytest.mark.parametrize("wrong", ["x", "1", True, [1], -1, -0.5, float("nan"), 10**400])
def test_a_wrong_time_to_wait_is_refused(tiny: Path, wrong: Any) -> None:
    """It was a TypeError or OverflowError of the standard library's locks; `events` raised it at its first event."""
    with Studio(tiny, backend=BACKEND, threads=1) as studio:
        job = studio.imagine("cat")
        for wait in (job.wait, job.result, job.events):
            with pytest.raises(WrongTimeout, match="timeout_s: got .*, allowed seconds, from 0, or None; correct it"):
                wait(wrong)
        assert job.wait(np.float32(TIMEOUT))  # type: ignore[arg-type]
        assert job.wait(math.inf)
        with pytest.raises(ValueError, match="timeout_s"):  # also of a job that has ended
            job.wait(wrong)
        close: Callable[[Any], None]
        for close in (studio.close, studio.loop.close):
            with pytest.raises(WrongTimeout, match="timeout_s: got .*, allowed seconds, from 0; correct it"):
                close(wrong)
        with pytest.raises(WrongTimeout, match="start_timeout_s: got"):
            Loop([], start_timeout_s=wrong)
        assert studio.imagine("cat").wait(TIMEOUT), "a refused close has closed it"
        assert [event.kind for event in job.events(1e300)][-1] == "done"


def test_a_seed_that_is_left_out_is_random_and_told(tiny: Path, solo: Solo) -> None:
    """faults.md 14: it was 0, so that every visitor of an application got the same picture."""
    with Studio(tiny, backend=BACKEND, threads=1) as studio:
        jobs = [studio.imagine("cat") for _ in range(3)]
        assert len({job.spec.seed for job in jobs}) > 1
        for job in jobs:
            np.testing.assert_array_equal(job.result(TIMEOUT), solo(spec(prompt="cat", steps=3, seed=job.spec.seed)))


def test_bad_requests(tiny: Path) -> None:
    with Studio(tiny, backend=BACKEND, threads=1) as studio:
        for fields, words in (
            ({"aspect": (2, 1), "width": 8}, "aspect: got 2:1"),
            ({"wdith": 8}, "spec: got wdith"),
            ({"prompt": " "}, "prompt"),
            ({"steps": 0}, "steps"),
            ({"negative_prompt": "red", "guidance_scale": 1}, "negative_prompt: got 'red' with guidance_scale 1"),
        ):
            with pytest.raises(SpecError, match=words):
                studio.imagine(**({"prompt": "cat"} | fields))
    for workers in (0, True, "2", 1000):
        with pytest.raises(SpecError, match="workers"):
            Studio(tiny, workers=workers)  # type: ignore[arg-type]
    with pytest.raises(ModelNotFound):
        Studio("/nowhere")
