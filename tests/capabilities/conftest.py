"""The command line against a real server with the shipped model, as small jobs as it makes."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.frontends import cli
from salon.frontends.client.client import Client
from salon.frontends.zmq.background import BackgroundServer
from salon.frontends.zmq.options import ServeOptions

SMALL = ("--n", "1", "--steps", "1", "--seed", "7")


@dataclass(frozen=True)
class Said:
    """What a command said: its exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed for `--json`."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def pixels(self) -> list[np.ndarray]:
        """The pictures that it wrote, without the grid."""
        files = self.json["files"]
        return [pixels_of(Path(file).read_bytes()) for file in (files[1:] or files)]


Salon = Callable[..., Said]


def pixels_of(file: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"))


def file_of(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = tmp_path_factory.mktemp("capabilities")
    (data / "wildcards").mkdir()
    (data / "wildcards" / "colour.txt").write_text("red\ngreen\nblue\nyellow\n")
    options = ServeOptions(listen=("tcp://127.0.0.1:0",), data=data, metrics=None, grace_s=0.2, threads=1)
    with BackgroundServer(options) as server:
        yield server.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client
        client.settings.reset()


@pytest.fixture
def salon(address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Salon:
    """Run `salon WORDS` against the server, in an empty folder."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("SALON_SERVER", address)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Said:
        code = cli.main(words)
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def draw(salon: Salon) -> Callable[..., list[np.ndarray]]:
    """Draw one picture of one step with seed 7, unless the words say otherwise, and return the pixels of all."""

    def run(prompt: str, *words: str) -> list[np.ndarray]:
        given = set(words) | set(prompt.split())
        more = [word for k in range(0, len(SMALL), 2) if SMALL[k] not in given for word in SMALL[k : k + 2]]
        return salon("imagine", prompt, *words, *more, "--json").pixels

    return run
