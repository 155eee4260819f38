"""`__name__` in prompts: the words of lists, on the command line, on a server, in clients and in programs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from salon.frontends.client.aio import AsyncClient
from salon.frontends.client.client import Client
from salon.frontends.client.errors import Invalid
from salon.frontends.recipe import read_png
from salon.studio.service.embedded import DurableStudio

from ...studio.conftest import BACKEND
from ..conftest import Main
from .conftest import Serve

FLAGS = ["--n", "1", "--steps", "1", "--json"]
COLOURS = "# of paint\nred\nyellow\nteal\nblue\n"


def lists(folder: Path) -> None:
    """Write lists of words."""
    folder.mkdir(parents=True)
    (folder / "colour.txt").write_text(COLOURS)
    (folder / "empty.txt").write_text("# nothing yet\n")


def test_the_same_words_here_and_on_a_server(
    serve: Serve, main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALON_WILDCARDS", str(tmp_path / "own"))
    lists(tmp_path / "own")
    lists(tmp_path / "data" / "wildcards")
    server = serve(model=None, backend="cpu")
    drawn = []
    for seed in range(6):
        prompt = f"an apple, __colour__ tones, on a __colour__ background --seed {seed}"
        prompts = []
        for where in ((), ("--server", server.address)):
            code, out, err = main("plan", prompt, "--json", *where)
            assert code == 0, err
            prompts.append(json.loads(out)["jobs"][0]["prompt"])
        assert prompts[0] == prompts[1]
        drawn.append(prompts[0])
    assert len(set(drawn)) > 1, "the seed decides"
    assert all("__" not in prompt for prompt in drawn)
    prompt = "an apple, __colour__ tones --seed 3"
    specs = []
    for name, where in (("here", ()), ("there", ("--server", server.address))):
        code, out, err = main("imagine", prompt, *FLAGS, "-o", f"{name}.png", *where)
        assert code == 0, err
        specs.append(read_png(tmp_path / f"{name}.png")[1].spec)
    assert specs[0] == specs[1]
    assert specs[0].prompt in [f"an apple, {word} tones" for word in ("red", "yellow", "teal", "blue")]
    for where in ((), ("--server", server.address)):
        code, out, _ = main("wildcards", *where)
        assert (code, [line.split() for line in out.splitlines()][1:]) == (0, [["colour", "4"], ["empty", "0"]])
        assert main("wildcards", "colour", *where)[1].split() == ["red", "yellow", "teal", "blue"]
        assert json.loads(main("wildcards", "colour", "--json", *where)[1])[0] == "red"
        code, _, err = main("wildcards", "nothing", *where)
        assert code == 2
        assert "wildcards: got 'nothing', allowed colour, empty" in err
        for word in ("nothing", "empty"):
            code, _, err = main("imagine", f"a __{word}__ apple", *FLAGS, "-o", "no.png", *where)
            assert code == 2
            assert f"prompt: got __{word}__, allowed lists of words that are there" in err
    assert not (tmp_path / "no.png").exists()


def test_clients(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "wildcards"
    lists(folder)
    long = [f"word {'x' * 150} {number}" for number in range(1000)]
    (folder / "long.txt").write_text("\n".join(long))
    server = serve()
    with Client(server.address) as client:
        assert client.wildcards() == {"colour": 4, "empty": 0, "long": 1000}
        assert client.wildcard("colour") == ("red", "yellow", "teal", "blue")
        assert list(client.wildcard("long")) == long
        assert client.wildcard("empty") == ()
        with pytest.raises(Invalid, match="wildcards: got 'nothing'"):
            client.wildcard("nothing")
        with pytest.raises(Invalid, match="name: got '../colour'"):
            client.wildcard("../colour")
        small: dict[str, Any] = {"images": 1, "steps": 1, "aspect": (1, 1)}
        jobs = [client.imagine("a __colour__ cat", key=key, seed=5, **small) for key in ("a", "b", "a")]
        assert len({job.info.prompt for job in jobs}) == 1
        assert jobs[0].id == jobs[2].id
        count = len(client.jobs().jobs)
        with pytest.raises(Invalid, match="got __empty__, allowed lists of words that are there"):
            client.imagine("a __empty__ cat", **small)
        assert len(client.jobs().jobs) == count

    async def ask() -> tuple[dict[str, int], tuple[str, ...]]:
        async with AsyncClient(server.address) as client:
            return await client.wildcards(), await client.wildcard("colour")

    assert asyncio.run(ask()) == ({"colour": 4, "empty": 0, "long": 1000}, ("red", "yellow", "teal", "blue"))


def test_programs(tiny: Path, tmp_path: Path) -> None:
    lists(tmp_path / "own" / "wildcards")
    with DurableStudio(tmp_path / "own", model=str(tiny), backend=BACKEND, threads=1) as studio:
        assert studio.wildcards() == {"colour": 4, "empty": 0}
        assert studio.wildcard("colour") == ("red", "yellow", "teal", "blue")
        (planned,) = studio.plan("a __colour__ cat", seed=5).jobs
        (job,) = studio.submit("a __colour__ cat", seed=5, images=1, steps=1)
        assert planned.prompt.startswith(f"{job.record().prompt} --")
