"""The embedded whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from salon.engine.errors import ModelNotFound, SpecError
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


def test_bad_requests(tiny: Path) -> None:
    with Studio(tiny, backend=BACKEND, threads=1) as studio:
        for fields, words in (
            ({"aspect": (2, 1), "width": 8}, "aspect: got 2:1"),
            ({"wdith": 8}, "spec: got wdith"),
            ({"prompt": " "}, "prompt"),
            ({"steps": 0}, "steps"),
        ):
            with pytest.raises(SpecError, match=words):
                studio.imagine(**({"prompt": "cat"} | fields))
    for workers in (0, True, "2", 1000):
        with pytest.raises(SpecError, match="workers"):
            Studio(tiny, workers=workers)  # type: ignore[arg-type]
    with pytest.raises(ModelNotFound):
        Studio("/nowhere")
