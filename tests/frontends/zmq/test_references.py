"""Omni references over the wire, on the command line with and without a server, and in a durable studio."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.frontends.client.client import Client
from salon.frontends.client.errors import Invalid
from salon.frontends.recipe import read_png
from salon.studio.service.embedded import DurableStudio

from ...studio.conftest import BACKEND, TIMEOUT
from ..conftest import Main
from .conftest import Serve

RULE = {"most": 2, "area": 512, "least": 4, "aspect": 8}


@pytest.fixture(scope="module")
def looking(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as one that looks at pictures."""
    folder = tmp_path_factory.mktemp("looking") / "model"
    shutil.copytree(tiny, folder)
    salon = json.loads((folder / "salon.json").read_text())
    (folder / "salon.json").write_text(json.dumps(salon | {"references": RULE}))
    return folder


def photo(path: Path, seed: int, size: tuple[int, int] = (32, 16)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_reference_draws_the_same_everywhere(
    serve: Serve, main: Main, looking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = photo(Path("a.png"), 1), photo(Path("b.png"), 2, (20, 20))
    flags = ["--n", "1", "--steps", "2", "--seed", "1", "-o", "own.png", "--force", "--json"]
    server = serve(model=str(looking))
    drawn = []
    for where in (["--model", str(looking)], ["--server", server.address]):
        code, out, err = main("imagine", "cat --oref a.png b.png", *flags, *where)
        assert code == 0, err
        drawn.append(read_png(Path("own.png")))
        code, out, err = main("reproduce", "own.png", "--reference", "a.png", "b.png", *where)
        assert (code, "the same pixels" in out) == (0, True), err
        code, out, err = main("plan", "cat --oref a.png --n 1", *where, "--json")
        assert code == 0, err
        (plan,) = json.loads(out)["jobs"]
        code, out, err = main("plan", "cat --n 1", *where, "--json")
        assert plan["cost_ms"] == 2 * json.loads(out)["jobs"][0]["cost_ms"]
    np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
    uses = drawn[0][1].spec.references
    assert [(use.width, use.height) for use in uses] == [(32, 16), (20, 20)]
    assert drawn[0][0].shape[1] == 2 * drawn[0][0].shape[0]  # in the proportions of the first
    with Client(server.address) as client:
        digests = [client.add_reference(path) for path in (first, second)]
        assert [use.picture for use in uses] == digests
        fields: dict[str, Any] = {"steps": 2, "seed": 1, "images": 1}
        with pytest.raises(Invalid, match=f"omni reference: got picture {'0' * 64}, which is not here"):
            client.imagine("cat", omni_reference=["0" * 64], **fields)
        with pytest.raises(Invalid, match="--ow: got 50, allowed 100, or 0 for none"):
            client.imagine("cat", omni_reference=digests, omni_weight=50, **fields)
        job = client.imagine("cat", omni_reference=digests, **fields)
        again = read_png(io.BytesIO(job.result(TIMEOUT)[0]))
        np.testing.assert_array_equal(again[0], drawn[0][0])
        of_job = client.imagine("cat", omni_reference=[f"{job.id}:1"], **fields)  # a picture that a job made
        assert len(read_png(io.BytesIO(of_job.result(TIMEOUT)[0]))[1].spec.references) == 1
        varied = client.job(job.id).reroll()  # keeps what the job looked at
        assert read_png(io.BytesIO(varied.result(TIMEOUT)[0]))[1].spec.references == uses


def test_a_model_that_looks_at_none_refuses_with_and_without_a_server(
    serve: Serve, main: Main, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo(Path("a.png"), 1)
    server = serve()
    for where in (["--model", str(tiny)], ["--server", server.address]):
        code, out, err = main("imagine", "cat --oref a.png", "--quiet", "-o", "own.png", *where)
        assert (code, out) == (2, "")
        assert "--oref: got it with another model, allowed models that were trained to look at pictures" in err
        code, out, err = main("imagine", "cat --oref none.png", "--quiet", "-o", "own.png", *where)
        assert (code, "none.png" in err) == (2, True)
    assert not Path("own.png").exists()


def test_a_durable_studio_keeps_what_its_jobs_look_at(looking: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": str(looking), "backend": BACKEND, "threads": 1}
    fields: dict[str, Any] = {"width": 16, "height": 16, "steps": 2, "images": 1, "seed": 3}
    pictures, digest = [], ""
    for _ in range(2):  # the second time with what the first has kept
        with DurableStudio(tmp_path / "data", **options) as studio:
            digest = digest or studio.add_reference(photo(tmp_path / "a.png", 1))
            job = studio.imagine("cat", omni_reference=[digest], **fields)
            pictures.append(read_png(io.BytesIO(job.pictures(TIMEOUT)[0]))[0])
            plain = read_png(io.BytesIO(studio.imagine("cat", **fields).pictures(TIMEOUT)[0]))[0]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], plain)
