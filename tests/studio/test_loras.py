"""LoRAs of the embedded whole: a file in, pictures out, and what is refused before there is a job."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from salon.engine.errors import CheckpointError, SpecError
from salon.studio.studio import Studio

from ..engine.lora_files import changes, peft, write
from .conftest import BACKEND, TIMEOUT


def test_jobs_of_a_studio_draw_with_the_loras_that_it_has(tiny: Path, tmp_path: Path) -> None:
    digest, path = write(tmp_path / "film.safetensors", peft(changes(scale=1.0)))
    wrong = write(tmp_path / "wide.safetensors", peft(changes({"proj_out": (16, 20)})))[1]
    with Studio(tiny, process=True, backend=BACKEND, threads=1) as studio:
        with pytest.raises(SpecError, match=f"LoRA: got file {digest}, which is not here"):
            studio.imagine("cat", loras=digest)
        with pytest.raises(CheckpointError, match="layer of another width"):
            studio.add_lora(wrong)
        assert studio.add_lora(path) == digest
        weights = (0.0, 1.0, 2.0)
        jobs = [studio.imagine("cat", seed=1, loras=[(digest, weight)]) for weight in weights]
        plain, (none, some, more) = studio.imagine("cat", seed=1).result(TIMEOUT), [job.result(TIMEOUT) for job in jobs]
        np.testing.assert_array_equal(none, plain)
        assert not np.array_equal(some, plain)
        assert not np.array_equal(more, some)
