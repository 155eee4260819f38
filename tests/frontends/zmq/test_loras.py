"""LoRAs over the wire: brought by a client, named by the operator, on the command line; and a durable studio."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.errors import CheckpointError
from salon.frontends.client.aio import AsyncClient
from salon.frontends.client.client import Client
from salon.frontends.client.errors import Invalid
from salon.frontends.recipe import read_png
from salon.studio.service import loras as module
from salon.studio.service.embedded import DurableStudio

from ...engine.lora_files import changes, peft, write
from ...studio.conftest import BACKEND, TIMEOUT
from ..conftest import Main
from .conftest import Serve


def test_a_file_that_is_brought_and_a_name_draw_the_same(
    serve: Serve, main: Main, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    digest, path = write(tmp_path / "mine.safetensors", peft(changes(scale=1.0)))
    _, film = write(folder / "film.safetensors", peft(changes(scale=1.0)))
    _, wide = write(folder / "wide.safetensors", peft(changes({"proj_out": (16, 20)})))
    assert film.read_bytes() == path.read_bytes()
    server = serve(loras=str(folder))

    async def brought() -> str:
        async with AsyncClient(server.address) as client:
            return await client.add_lora(path)

    with Client(server.address) as client:
        with pytest.raises(Invalid, match=f"LoRA: got file {'0' * 64}, which is not here"):
            client.imagine("cat", loras="0" * 64)
        with pytest.raises(Invalid, match="'grain', allowed one of this server: film, wide"):
            client.imagine("cat", loras="grain")
        with pytest.raises(Invalid, match="LoRA 'wide': layer of another width"):
            client.imagine("cat", loras="wide")
        with pytest.raises(Invalid, match=r"LoRA [0-9a-f]{12}: layer of another width"):
            client.add_lora(wide)
        with pytest.raises(Invalid, match="not found|No such file"):
            client.add_lora(tmp_path / "none.safetensors")
        assert asyncio.run(brought()) == digest
        assert client.add_lora(path) == digest  # which sends nothing any more
        assert (tmp_path / "data" / "loras" / f"{digest}.safetensors").read_bytes() == path.read_bytes()
        fields: dict[str, Any] = {"width": 16, "height": 16, "steps": 2, "images": 1, "seed": 1}
        jobs = [client.imagine("cat", loras=loras, **fields) for loras in ([(digest, 0.8)], [("film", 0.8)], None)]
        files = [job.result(TIMEOUT)[0] for job in jobs]
    pictures = []
    for i, file in enumerate(files):
        (tmp_path / f"{i}.png").write_bytes(file)
        pictures.append(read_png(tmp_path / f"{i}.png"))
    assert [use.digest for use in pictures[0][1].spec.loras] == [digest]
    np.testing.assert_array_equal(pictures[0][0], pictures[1][0])
    assert not np.array_equal(pictures[0][0], pictures[2][0])
    monkeypatch.chdir(tmp_path)
    flags = ["--n", "1", "--steps", "2", "--seed", "1", "--json"]
    drawn = []
    for where in (["--model", str(tiny)], ["--server", server.address]):
        code, _, err = main("imagine", "cat", "--lora", f"{path}:0.5", *flags, "-o", "own.png", "--force", *where)
        assert code == 0, err
        drawn.append(read_png(tmp_path / "own.png")[0])
        code, out, err = main("reproduce", "own.png", "--lora", str(path), *where)
        assert (code, "the same pixels" in out) == (0, True), err
    np.testing.assert_array_equal(drawn[0], drawn[1])
    code, _, err = main("reproduce", "own.png", "--lora", str(film), "--model", str(tiny))
    assert code == 0, err
    film.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    code, _, err = main("reproduce", "own.png", "--lora", str(film), "--model", str(tiny))
    assert code == 2
    assert f"LoRA: got file {digest}, which is not here" in err
    monkeypatch.setattr(module, "KEPT_BYTES", 2 * path.stat().st_size)
    with Client(server.address) as client:  # what is least recently used goes
        for seed in (1, 2):
            client.add_lora(write(tmp_path / "more.safetensors", peft(changes(seed=seed)))[1])
        with pytest.raises(Invalid, match="which is not here"):
            client.imagine("cat", loras=write(tmp_path / "again.safetensors", peft(changes(scale=1.0, rank=4)))[0])


def pixels(studio: DurableStudio, **fields: Any) -> Any:
    """The picture of a small job."""
    job = studio.imagine("cat", width=16, height=16, steps=2, images=1, seed=3, **fields)
    return read_png(io.BytesIO(job.pictures(TIMEOUT)[0]))[0]


def test_a_durable_studio_goes_on_with_its_loras(tiny: Path, tmp_path: Path) -> None:
    digest, path = write(tmp_path / "film.safetensors", peft(changes(scale=1.0)))
    _, wide = write(tmp_path / "wide.safetensors", peft(changes({"proj_out": (16, 20)})))
    options: dict[str, Any] = {"model": str(tiny), "backend": BACKEND, "threads": 1}
    pictures = []
    with DurableStudio(tmp_path / "data", **options) as studio:
        with pytest.raises(CheckpointError, match="layer of another width"):
            studio.add_lora(wide)
        assert studio.add_lora(path) == digest
        pictures.append(pixels(studio, loras=[(digest, 0.8)]))
    path.unlink()
    with DurableStudio(tmp_path / "data", **options) as studio:  # which has a copy
        pictures += [pixels(studio, loras=[(digest, 0.8)]), pixels(studio)]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
