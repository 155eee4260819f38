"""What a program hands to a durable studio: an id that is no text, or a number that no database holds, is refused by a
typed error before anything is done."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from salon.engine.errors import CheckpointError, SpecError
from salon.errors import OutputError, SalonError
from salon.frontends.client.errors import Invalid
from salon.frontends.client.uploads import LoraFile, read_bytes
from salon.frontends.fake.worker import Behaviour, FakeWorker
from salon.studio.errors import ReferenceRefused
from salon.studio.job import seconds_of
from salon.studio.loras import file_of
from salon.studio.references import read_file
from salon.studio.service.durable_job import DurableJob
from salon.studio.service.embedded import DurableStudio
from salon.studio.service.errors import WrongValue
from salon.studio.studio import Studio
from salon.zips import ZipFileWriter

ODD: dict[str, tuple[Any, ...]] = {
    "str": (5, b"x", "\ud800", object()),
    "str | None": (5, b"x", "\ud800"),
    "int": (2**70, -(2**70), "x", None),
    "int | None": (2**70, "x"),
    "Sequence[str]": (5, "job", [5], ["\ud800"]),
    "Iterable[str]": (5, "job", [5]),
    "Iterable[int]": (5, [2**70], ["x"]),
    "Iterable[Source]": (5, [5]),
    "Iterable[Any]": (5,),
    "Iterable[Picture]": (5, [5]),
    "Mapping[str, Any] | None": (5, "x"),
    "str | os.PathLike[str]": (5, "\ud800", "a\0b"),
    "str | os.PathLike[str] | bytes": (5, "\ud800", "a\0b"),
}
FILLED = {"jobs": ["j"], "picked": [0], "index": 0, "event": 1, "on": True, "chat": 1, "timeout_s": 5.0}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DurableStudio]:
    def open_studio(_: Any, billing: Any) -> Studio:
        return Studio.over([FakeWorker(Behaviour(drawn=True))], accounts=billing)

    with DurableStudio(tmp_path_factory.mktemp("given") / "data", studio=open_studio) as studio:
        yield studio


@pytest.mark.parametrize("part", ["", "organize", "taste", "chat", "job"])
def test_every_argument_of_every_method(studio: DurableStudio, part: str, tmp_path: Path) -> None:
    of: Any = DurableJob(studio, "j") if part == "job" else getattr(studio, part) if part else studio
    asked, untyped = 0, []
    for name, method in inspect.getmembers(of, inspect.ismethod):
        arguments = inspect.signature(method).parameters.values()
        if name.startswith("_") or name == "close":
            continue
        needed = {one.name: one for one in arguments if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
        filled = {one: FILLED.get(one, str(tmp_path / "x")) for one in needed}
        for one in arguments:
            for odd in ODD.get(one.annotation, ()):
                if name == "new_profile" and odd == [5]:
                    continue  # a picture that is none is left out, and said
                asked += 1
                try:
                    found = method(**{**filled, one.name: odd})
                    untyped.append(f"{name}({one.name}={odd!r}) = {found!r}")
                except SalonError:
                    pass
                except Exception as error:
                    untyped.append(f"{name}({one.name}={odd!r}): {error!r}")
    assert untyped == []
    assert asked > {"": 80, "job": 1}.get(part, 20)


def test_what_is_within_what_is_handed_in(studio: DurableStudio) -> None:
    sources: list[Any] = [(5, 0), ("j", 2**70), ("j",)]
    for source in sources:
        with pytest.raises(SpecError, match="^(sources|picture): got"):
            studio.describe(source)
    for wanted in ({"from_ms": 2**70}, {"kinds": 5}, {"limit": "x"}, {"model": "\ud800"}):
        with pytest.raises(WrongValue, match=f"^{next(iter(wanted))}: got"):
            studio.organize.names(**wanted)
    plain = studio._context.studio
    methods: list[Callable[[Any], Any]] = [plain.imagine, plain.shorten]
    for method in methods:
        with pytest.raises(SpecError, match="^prompt: got 5"):
            method(5)
    assert studio.jobs() == ()
    assert seconds_of(2**70) > 0


def test_a_number_is_no_file(studio: DurableStudio, tmp_path: Path) -> None:
    """`open(5)` reads descriptor 5, such as the database's, and closes it."""
    calls: list[tuple[Callable[[Any], Any], type[SalonError]]] = [
        (studio.add_reference, ReferenceRefused), (read_file, ReferenceRefused), (read_bytes, Invalid),
        (LoraFile, Invalid), (file_of, CheckpointError), (studio.add_lora, CheckpointError),
        (ZipFileWriter, OutputError),
    ]  # fmt: skip
    with open(tmp_path / "file", "w+b") as file:
        for call, error in calls:
            for wrong in (file.fileno(), "a\0b", "\ud800", None):
                with pytest.raises(error, match="name of a file"):
                    call(wrong)
        os.fstat(file.fileno())
