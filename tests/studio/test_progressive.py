"""Jobs at half the sides first, among others, on one worker: the pictures of each alone, previews of the whole size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from salon.engine.engine import Engine
from salon.studio.job import Job
from salon.studio.studio import Studio

from .conftest import BACKEND, TIMEOUT


def test_jobs_of_a_studio_grow(tiny: Path, new_engine: Callable[[], Engine]) -> None:
    usual: dict[str, Any] = {"width": 20, "height": 16, "steps": 6, "stylize": 0.0}
    asked: list[dict[str, Any]] = [
        {"progressive": 50.0, "seed": 1},
        {"seed": 2},
        {"progressive": 80.0, "seed": 3, "images": 2},
    ]
    shown: list[tuple[int, ...]] = []

    def look(job: Job, image: int, seen: Any) -> None:
        shown.append(seen.shape)

    with Studio(tiny, backend=BACKEND, threads=1) as studio:
        jobs = [studio.imagine("cat", **usual, **each, preview_every=1, on_preview=look) for each in asked]
        got = [job.result(TIMEOUT) for job in jobs]
    assert {shape[1:] for shape in shown} == {(16, 20, 3)}
    engine = new_engine()
    for each, pictures in zip(asked, got, strict=True):
        generation = engine.open(engine.make_spec("cat", **usual, **each))
        while generation.state == "running":
            engine.step([generation])
        np.testing.assert_array_equal(engine.finish(generation), pictures)
        engine.close(generation)
