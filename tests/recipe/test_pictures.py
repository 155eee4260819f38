"""Pictures composed by several processes. Needs the `train` extra."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from salon.models.mini.recipe import fetch, plan, raster
from salon.models.mini.recipe.config import Run, smoke
from salon.models.mini.recipe.pictures import PART, composed, open_pictures, to_bytes
from salon.models.mini.recipe.smoke import draw_packages


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    work = tmp_path_factory.mktemp("pictures")
    draw_packages(work / "fetch" / "packages")
    run = Run(work, smoke(), threads=2)
    for stage in (fetch, raster, plan):
        stage.run_stage(run)
    return run


@pytest.mark.parametrize("threads", [1, 2])
def test_pictures_come_in_order_in_parts_of_one_size(run: Run, threads: int) -> None:
    pictures = open_pictures(run)
    groups = [np.flatnonzero(pictures.entries[:, 4] == n) for n in (0, 1, 3)]
    groups[0] = np.resize(groups[0], 4 * PART + 5)
    parts = list(composed(replace(run, threads=threads), pictures, groups))
    assert [len(p) for p in parts[:5]] == [PART] * 4 + [5]
    wanted = [to_bytes(pictures.draw(int(e))) for group in groups for e in group]
    got = [picture for part in parts for picture in part]
    assert len(got) == len(wanted)
    assert all(np.array_equal(a, b) for a, b in zip(got, wanted, strict=True))
