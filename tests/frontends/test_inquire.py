"""`salon describe` and `salon shorten`, here and on a server: texts with scores, and one line for what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.frontends.zmq.background import BackgroundServer
from salon.frontends.zmq.options import ServeOptions

from ..engine.conftest import THINGS, write_asked, write_tiny
from ..studio.conftest import BACKEND
from .conftest import Main


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_asked(tmp_path_factory.mktemp("asked"))


@pytest.fixture(scope="module")
def server(asked: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundServer]:
    options: dict[str, Any] = {"model": str(asked), "backend": BACKEND, "threads": 1, "process": False, "metrics": None}
    data = tmp_path_factory.mktemp("data")
    with BackgroundServer(ServeOptions(listen=("tcp://127.0.0.1:0",), data=data, **options)) as server:
        yield server


def photo(name: str = "photo.png", width: int = 20, height: int = 12) -> str:
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3)).astype(np.uint8)).save(name)
    return name


def told(result: tuple[int, str, str]) -> Any:
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def test_the_same_texts_here_and_there(main: Main, asked: Path, server: BackgroundServer) -> None:
    here = ("--model", str(asked), "--backend", BACKEND, "--json", "--quiet")
    there = ("--server", server.address, "--json", "--quiet")
    for words in (("describe", photo()), ("shorten", "a", "red apple, on teal", "--ar", "2:1")):
        found = told(main(*words, *here))
        assert found["texts"] == (beyond := told(main(*words, *there)))["texts"]
        assert set(found["seconds"]) == {"load", "make"}
        assert beyond["job"]["kind"] == words[0]
        roles = {text["role"] for text in found["texts"]}
        assert roles == ({"prompt"} if words[0] == "describe" else {"prompt", "word"})
        assert all(0 <= text["score"] <= 1 for text in found["texts"])
    shown = told(main("show", beyond["job"]["job"], "--server", server.address, "--json"))
    assert [(one["text"], one["score"]) for one in shown["texts"]] == [
        (text["text"], text["score"]) for text in beyond["texts"]
    ]


def test_for_people(main: Main, asked: Path, server: BackgroundServer) -> None:
    code, out, err = main("describe", photo(), "--model", str(asked), "--backend", BACKEND)
    assert code == 0, err
    lines = out.splitlines()
    assert len(lines) == 4
    assert all(line.split()[1].rstrip(",") in " ".join(THINGS).split() for line in lines)
    assert "made in " in err
    code, out, err = main("shorten", "a red apple", "--server", server.address)
    assert code == 0, err
    assert [line.split(None, 1)[1] for line in out.splitlines()[:2]] == ["a red", "apple"]
    job = err.split("job ")[1].split(",")[0]
    code, out, _ = main("show", job, "--server", server.address)
    assert code == 0
    assert "a red" in out
    assert "steps" not in out
    code, out, _ = main("describe", photo(), "--server", server.address, "--detach")
    assert (code, len(out.split())) == (0, 1)


def test_a_picture_of_a_job(main: Main, server: BackgroundServer) -> None:
    there = ("--server", server.address, "--json", "--quiet")
    drawn = told(main("imagine", "cat", "--steps", "2", "--n", "2", "-o", "cat.png", *there))
    found = told(main("describe", drawn["job"]["job"], "2", *there))
    assert len(found["texts"]) == 4
    (source,) = found["job"]["sources"]
    assert (source["job"], source["index"]) == (drawn["job"]["job"], 1)


def test_one_line_for_what_is_wrong(main: Main, asked: Path, tmp_path: Path, server: BackgroundServer) -> None:
    (tmp_path / "words.png").write_text("plain words")
    bomb = Image.new("1", (30_000, 30_000))
    bomb.save("bomb.png")
    here = ("--model", str(asked), "--backend", BACKEND)
    there = ("--server", server.address)
    plain = ("--model", str(write_tiny(tmp_path / "plain")), "--backend", BACKEND)
    for words, message in (
        (("describe",), "the following arguments are required: PICTURE"),
        (("describe", "nosuch.png", *here), "describe 'nosuch.png'|describe '.*nosuch.png': No such file"),
        (("describe", "words.png", *here), "got no picture, allowed a picture"),
        (("describe", "words.png", *there), "got no picture, allowed a picture"),
        (("describe", "bomb.png", *here), "decompression bomb"),
        (("describe", photo(), "a cat", *here), "prompt: got 'a cat', allowed a picture alone"),
        (("describe", "JOB", "2", *here), "job 'JOB' without a server"),
        (("describe", "nosuch", "1", *there), "job: got 'nosuch'"),
        (
            ("describe", photo("long.png", 1000, 20), *here),
            "picture: got 1000 x 20 pixels, allowed up to 14:1; crop it",
        ),
        (("describe", photo(), *plain), "describe: got a model without a list of its words"),
        (("shorten",), "the following arguments are required: PROMPT"),
        (("shorten", "", *here), "prompt: got ''|no words"),
        (("shorten", "a {red, blue} cat", *here), "shorten: got 2 prompts, allowed one"),
        (("shorten", "cat --s 3", *here), "--s: got one for 'shorten', allowed --ar"),
        (("shorten", "cat", "--s", "3", *here), "--s.*unknown flag"),
        (("shorten", "cat", *plain), "shorten: got a model without a list of its words"),
        (("shorten", "cat", "--lane", "relax", *here), "--lane: got it without a server"),
        (("shorten", "cat", "--threads", "1", *there), "--threads: got it with a server"),
    ):
        code, out, err = main(*words)
        assert (code, out) == (2, ""), (words, out, err)
        assert err.startswith("salon: error: "), err
        assert re.search(message, err), (words, err)
        assert len([line for line in err.splitlines() if line.startswith("salon")]) == 1
