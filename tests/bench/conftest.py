"""Candidates that are numpy arithmetic alone, importable as `rivals.fake` here and in processes that tests start."""

import os
from pathlib import Path

import numpy as np
import pytest

from salon.bench.peers.base import Job

FAKE = """
import os, time
import numpy as np
from salon.bench.peers.base import Peer


class Fake(Peer):
    name, precision, setup = "fake", "fp32", "arithmetic"
    slope = 0.25

    def load(self):
        print("a library that prints to stdout")
        os.write(1, b"and one that writes to the descriptor\\n")

    def condition(self, tokens, pooled):
        self.tokens = tokens

    def velocity(self, x, sigma):
        v = np.zeros_like(x)
        v[: len(x) // 2] = self.slope  # conditional
        return v

    def decode_latents(self, z):
        return np.repeat(np.repeat(z[:, :3], 8, axis=2), 8, axis=3)


class Off(Fake):
    name = "a little off"
    slope = 0.26


class Built(Fake):
    name = "with something to build"

    def prepare(self):
        self.setting.cache.joinpath("built").write_text("")

    def load(self):
        if not self.setting.cache.joinpath("built").exists():
            raise RuntimeError("not built")


class Fresh(Built):
    name = "never built"


class Broken(Fake):
    name = "broken"

    def load(self):
        raise RuntimeError("no such kernel\\nsecond line")


class Dying(Fake):
    name = "dying"

    def load(self):
        os.write(2, b"out of luck\\n")
        os._exit(7)


class Stuck(Fake):
    def load(self):
        time.sleep(60)
"""


def make_rivals(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the candidates above importable, here and in processes that are started."""
    (folder / "rivals").mkdir()
    (folder / "rivals" / "fake.py").write_text(FAKE)
    patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
    patch.syspath_prepend(str(folder))


@pytest.fixture
def rivals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_rivals(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def job() -> Job:
    """A small job: 32 x 64 pixels, five steps, up to 16 images."""
    random = np.random.default_rng(1)
    return Job(
        tokens=random.standard_normal((3, 8), np.float32),
        pooled=random.standard_normal(8, np.float32),
        noise=random.standard_normal((16, 8, 12), np.float32),
        sigmas=np.linspace(1, 0, 6).astype(np.float32),
        guidance=3.0,
        latent_scale=0.5,
        latent_shift=0.25,
        height=32,
        width=64,
        prompt="a prompt",
    )
