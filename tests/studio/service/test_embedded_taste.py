"""The taste of a durable studio's user, in plain Python; and after a crash in the middle of learning."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salon.studio.service import taste_pool
from salon.studio.service.embedded import DurableStudio

from ..conftest import TIMEOUT

pytestmark = pytest.mark.usefixtures("embedded_once")

CODE = """
import os, signal, sys, threading, time
from salon import DurableStudio
from salon.studio.service import taste_pool
taste_pool.STEPS = 1
studio = DurableStudio(sys.argv[1], threads=1, taste_unlock=2)
for choice in ("left", "right", "skip"):
    studio.taste.rank(studio.taste.next_pair().pair, choice)
print(*(code for code, _ in studio.taste.resolve()), flush=True)
studio.taste.rank(studio.taste.next_pair().pair, "left")
threading.Thread(target=studio.taste.report, daemon=True).start()
time.sleep(float(sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the pictures to rank in one step: what is in them does not matter here."""
    monkeypatch.setattr(taste_pool, "STEPS", 1)


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_crash_in_the_middle_of_learning_loses_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ran = subprocess.run(
        [sys.executable, "-c", CODE, str(data), "0.01"], capture_output=True, text=True, timeout=600, env=os.environ
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    before = ran.stdout.strip()
    with DurableStudio(data, threads=1, taste_unlock=2) as studio:
        events = studio.taste.events()
        assert [each.choice for each in events] == ["left", "skip", "right", "left"]
        (after,) = studio.taste.resolve()
        assert after[0] != before
        assert before in [each.code for each in studio.taste.codes()]
        first = studio.submit("a cat --p --n 1 --steps 2 --seed 3")[0].pictures(TIMEOUT)
        again = studio.submit(f"a cat --p {after[0]} --n 1 --steps 2 --seed 3")[0].pictures(TIMEOUT)
        assert Image.open(io.BytesIO(first[0])).tobytes() == Image.open(io.BytesIO(again[0])).tobytes()
    with DurableStudio(data, threads=1, taste_unlock=2) as studio:
        assert studio.taste.resolve() == (after,), "the same log, the same code"
        report = studio.taste.report()
        assert (report.code, report.profile.events) == (after[0], 3)


def test_all_that_a_program_asks_about_taste(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with DurableStudio(tmp_path / "data", threads=1, taste_unlock=1) as studio:
        taste = studio.taste
        assert taste.profiles() == ()
        files = [png(shade) for shade in range(0, 250, 28)]
        board = taste.new_profile("walls", "moodboard", [*files, broken])
        assert (len(board.pictures), len(board.left_out)) == (len(files), 1)
        assert board.left_out[0].digest == str(broken)
        assert "no picture" in board.left_out[0].reason
        more = taste.change_profile("walls", add=[png(77), broken], remove=board.pictures[:2])
        assert (len(more.pictures), len(more.left_out)) == (len(files) - 1, 1)
        job = studio.submit("a cat --p walls --n 2 --steps 2")[0]
        job.wait(TIMEOUT)
        picked = taste.pick(job.id, [1])
        assert (picked.events, picked.needed) == (1, 1)
        assert taste.profile().events == 1
        assert not taste.like(job.id, 0).teaches
        assert taste.undo().kind == "like"
        assert not taste.like(job.id, 0, on=False).teaches
        assert taste.switch(picked.event, False).on is False
        assert taste.switch(picked.event, True).on is True
        tuned = taste.new_profile("tuned", "tuner", styles=[1, (2, 0.5)])
        assert taste.change_profile(tuned.profile, name="mix", public=True, remove=[1]).public
        assert [each.name for each in taste.profiles()] == ["", "walls", "mix"]
        assert len(taste.codes()) >= 3
        blend = studio.imagine("a cat", profile=["walls", ("mix", 2.0)], images=1, steps=1)
        assert blend.wait(TIMEOUT).state == "done"
        assert len(blend.wait(TIMEOUT).styles) == 2
        assert blend.id in taste.delete_profile("walls").jobs
        assert taste.delete_profile("walls", "revoke").deleted
        assert taste.revoke(taste.codes("mix")[0].code).revoked
        assert [each.name for each in taste.profiles()] == ["", "mix"]
