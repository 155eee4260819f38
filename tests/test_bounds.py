"""Every limit of a request, at every door: what one of them says is allowed, the next one takes.

faults.md 17: limits were written by hand in several places. Steps "1 to 1000" were 200, a prompt of 6,000 characters
2,000, pictures 8, 64 or 65,536, and seeds that the library had made could not be typed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from salon import bounds
from salon.engine.admission import Admission
from salon.engine.engine import Engine
from salon.engine.info import ModelInfo
from salon.engine.limits import Limits
from salon.engine.spec import GenerationSpec
from salon.errors import SalonError
from salon.frontends.arguments import parse
from salon.frontends.commands.flags_jobs import STATES
from salon.frontends.commands.flags_ops import SOURCES
from salon.frontends.wire import messages as m
from salon.frontends.wire.checks import check
from salon.scheduler.entries import Source
from salon.scheduler.tickets import Lane
from salon.studio.prompt.resolve import Facts, resolve
from salon.studio.store.rows import STATES as STORED
from salon.studio.workers.worker import info_of

from .engine.conftest import write_tiny

Door = Callable[[str, Any], object]  # (field, value); raises what a user would read


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> ModelInfo:
    """Of an engine with the usual limits."""
    return info_of(Engine.load(write_tiny(tmp_path_factory.mktemp("bounds")), backend="reference"))


SOME: dict[str, Any] = {"prompt": "x"}
FLAGS = {  # seeds that are typed are shorter: tests/parameters
    "steps": "--steps", "images": "--n", "guidance_scale": "--guidance", "prompt": "",
}  # fmt: skip


def typed(field: str, value: Any) -> object:
    """On the command line."""
    words = [str(value)] if field == "prompt" else ["x", f"{FLAGS[field]}={value}"]
    (prompt,) = parse(["imagine", *words], "").prompts
    return resolve(prompt, Facts(default_style=True))


def sent(field: str, value: Any) -> None:
    """To a server."""
    check(m.Submit(**({"key": "k", "prompt": "x"} | {field: value})))


def made(info: ModelInfo, field: str, value: Any) -> object:
    """By an engine: the spec, and what is refused before anything is allocated."""
    fields: dict[str, Any] = {"prompt": "x", "width": 4, "height": 4, "guidance_scale": 2.0, "steps": 1}
    spec = info.make_spec(**(fields | {field: value}))
    Admission(info.architecture, info.memory, info.limits).check_spec(spec, 0)
    return spec


LIMITS: dict[str, tuple[Any, Any, str]] = {  # field -> (the last value allowed, the next one, how the limit is written)
    "steps": (200, 201, "200"),
    "seed": (2**64 - 1, 2**64, "18446744073709551615"),
    "guidance_scale": (100, 100.5, "100"),
    "shift": (100, 100.5, "100"),
    "width": (4096, 4100, "4096"),
    "height": (4096, 4100, "4096"),
    "prompt": ("x" * 2_000, "x" * 2_001, "2,000"),
    "negative_prompt": ("x" * 2_000, "x" * 2_001, "2,000"),
    "images": (8, 9, "8"),
}


@pytest.mark.parametrize("field", LIMITS)
def test_every_door_has_the_same_limits(info: ModelInfo, field: str) -> None:
    last, beyond, written = LIMITS[field]
    doors: dict[str, Door] = {"sent": sent, "made": lambda field, value: made(info, field, value)}
    if field in FLAGS:
        doors["typed"] = typed
    if field == "images":
        del doors["made"]  # 8 is a job's; see below
    for name, door in doors.items():
        door(field, last)
        with pytest.raises(SalonError) as caught:
            door(field, beyond)
        text = str(caught.value)
        found = re.fullmatch(r"(?P<name>\S+): got .*, allowed (?P<allowed>.*); [^;]+(; 1 is none)?", text)
        assert found is not None, text
        assert found["name"] in (field, FLAGS.get(field)), (name, text)
        assert written in found["allowed"].replace(",", "") or written in found["allowed"], (name, text)


def test_what_an_engine_of_ones_own_makes_at_a_time(info: ModelInfo) -> None:
    """More pictures than a job has; and a spec alone does not promise what an engine may refuse."""
    made(info, "images", Limits().max_images)
    with pytest.raises(SalonError, match=r"images: got 65 images, allowed 64 \(Limits.max_images\)"):
        made(info, "images", 65)
    for field, limit in (("images", "max_images"), ("steps", "max_steps"), ("width", "max_side")):
        with pytest.raises(SalonError, match=rf"{field}: got .* to \d+, and to the engine's Limits\.{limit}; "):
            GenerationSpec(**{**SOME, field: 10**9})


def test_words_are_the_same_everywhere() -> None:
    assert tuple(Lane) == bounds.LANES
    assert STATES[:3] == ("queued", "running", "paused")
    assert set(STORED) == {*bounds.OPEN, *bounds.FINAL} == {*STATES} - {"paused"}
    assert {*SOURCES} <= {source.value for source in Source}


def test_the_wire_says_the_same() -> None:
    text = (Path(__file__).parents[1] / "docs" / "wire.md").read_text()
    rows = dict(
        re.findall(r"^\| `(\w+)` \| [^|]+\| [^|]+\| ([^|]*) \|$", text.split("### submit")[1].split("### ")[0], re.M)
    )
    for field, words in {
        "steps": f"1 to {bounds.MAX_STEPS}",
        "images": f"1 to {bounds.MAX_IMAGES}",
        "width": f"1 to {bounds.MAX_SIDE}",
        "height": f"1 to {bounds.MAX_SIDE}",
        "prompt": f"up to {bounds.MAX_PROMPT} characters",
        "negative_prompt": f"up to {bounds.MAX_PROMPT} characters",
        "preview_every": f"0 to {bounds.MAX_PREVIEW_EVERY}",
        "seed": "0 to 2^64 - 1; nil: random, below 2^32",
    }.items():
        assert words in rows[field], field
