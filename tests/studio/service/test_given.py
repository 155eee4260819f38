"""What a program hands to a durable studio: an id that is no text, or a number that no database holds, is refused by a
typed error before anything is done."""

from __future__ import annotations

import inspect
import os
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.bounds import MAX_LORA_BYTES, MAX_REFERENCE_BYTES
from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, SpecError, UnknownBackend
from salon.engine.spec import GenerationSpec
from salon.errors import OutputError, SalonError
from salon.frontends.client.errors import Invalid
from salon.frontends.client.uploads import LoraFile, read_bytes
from salon.frontends.fake.worker import Behaviour, FakeWorker
from salon.studio.errors import ReferenceRefused, TasteRefused
from salon.studio.job import seconds_of
from salon.studio.loras import file_of
from salon.studio.references import read_file
from salon.studio.service import loras
from salon.studio.service.durable_job import DurableJob
from salon.studio.service.embedded import DurableStudio
from salon.studio.service.errors import WrongValue
from salon.studio.studio import Studio
from salon.zips import ZipFileWriter


class Broken:
    """What raises whatever is done with it."""

    def __iter__(self) -> Iterator[Any]:
        yield "a"
        raise ValueError("out of joint")

    def __fspath__(self) -> str:
        raise ValueError("out of joint")


NO_TEXT: tuple[Any, ...] = (5, b"x", "\ud800", ["x"], object())
NO_COUNT: tuple[Any, ...] = (2**70, -(2**70), "x", 1.5, True)
NO_LIST: tuple[Any, ...] = (5, None, "job", b"job", True, Broken())
NO_FILE: tuple[Any, ...] = (5, "\ud800", "a\0b", Broken(), [])
ODD: dict[str, tuple[Any, ...]] = {
    "str": (*NO_TEXT, None),
    "str | None": NO_TEXT,
    "Lane | str": (*NO_TEXT, None),
    "Lane | str | None": NO_TEXT,
    "int": (*NO_COUNT, None),
    "int | None": NO_COUNT,
    "float": ("1", None, True, float("nan"), -1),
    "float | None": ("1", True, float("nan"), -1),
    "bool": ("yes", 1, None),
    "bool | None": ("yes", 1),
    "Sequence[str]": (*NO_LIST, [5], ["\ud800"]),
    "Iterable[str]": (*NO_LIST, [5]),
    "Iterable[int]": (*NO_LIST, [2**70], ["x"]),
    "Iterable[Source]": (*NO_LIST, [5]),
    "Iterable[Any]": NO_LIST,
    "Iterable[Picture]": (*NO_LIST, [5]),
    "Mapping[str, Any] | None": (5, "x", ["x"], {5: 5}),
    "Mapping[str, NDArray[Any]]": (5, None, "x", ["x"], {5: 5}),
    "NDArray[Any]": (5, None, "x", ["x"], Broken()),
    "tuple[float, float] | None": (5, "16:9", (1,), ("1", 2), Broken()),
    "str | os.PathLike[str]": (*NO_FILE, None, b"x"),
    "str | os.PathLike[str] | bytes": (*NO_FILE, None),
    "str | os.PathLike[str] | bytes | tuple[str, int]": (*NO_FILE, None, (5, 0), ("j",), ("j", "0"), ("j", 2**70)),
    "GenerationSpec": (5, None, "x"),
}
OTHERWISE = {"id": "profile", "path": "LoRA|zip|no name of a file", "tokens": "adapter"}  # by another name
SPEC = GenerationSpec(prompt="a cat", width=8, height=8, steps=1, seed=1)
FREE = ("OnProgress | None", "OnPreview | None", "OnEnd | None", "Work | None", "Any")  # functions, and prices
FILLED: dict[str, Any] = {
    "jobs": ["j"], "picked": [0], "index": 0, "event": 1, "on": True, "chat": 1, "timeout_s": 5.0, "spec": SPEC,
    "weights": {}, "tokens": np.zeros((1, 4), np.float32),
}  # fmt: skip


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DurableStudio]:
    def open_studio(_: Any, billing: Any) -> Studio:
        return Studio.over([FakeWorker(Behaviour(drawn=True))], accounts=billing)

    with DurableStudio(tmp_path_factory.mktemp("given") / "data", studio=open_studio) as studio:
        yield studio


@pytest.mark.parametrize("part", ["", "organize", "taste", "chat", "job", "plain"])
def test_every_argument_of_every_method(studio: DurableStudio, part: str, tmp_path: Path) -> None:
    parts = {"": studio, "job": DurableJob(studio, "j"), "plain": studio._context.studio}
    of: Any = parts.get(part) or getattr(studio, part)
    asked, untyped = 0, []
    for name, method in inspect.getmembers(of, inspect.ismethod):
        arguments = inspect.signature(method).parameters.values()
        if name.startswith("_") or name in ("close", "over"):
            continue
        needed = {one.name: one for one in arguments if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
        filled = {one: FILLED.get(one, str(tmp_path / "x")) for one in needed} | (
            {"text": "a cat"} if name == "say" else {"name": "x"} if name == "put_preset" else {}
        )
        if "picture" in needed:
            Image.new("RGB", (8, 8)).save(tmp_path / "x", "PNG")
        for one in arguments:
            assert one.annotation in (*ODD, *FREE), f"{name}: say what {one.annotation} does not allow"
            for odd in ODD.get(one.annotation, ()):
                if name == "new_profile" and odd == [5]:
                    continue  # a picture that is none is left out, and said
                asked += 1
                try:
                    found = method(**{**filled, one.name: odd})
                    if inspect.isgenerator(found):
                        next(found)
                    untyped.append(f"{name}({one.name}={odd!r}) = {found!r}")
                except SalonError as error:
                    if not re.search(f"(^| ){one.name}\\b.*: got |{OTHERWISE.get(one.name, '^$')}", str(error)):
                        untyped.append(f"{name}({one.name}={odd!r}): {error!r}")
                except Exception as error:
                    untyped.append(f"{name}({one.name}={odd!r}): {error!r}")
    assert not untyped, "\n".join(untyped)
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
    for call, name in (
        (lambda: studio.imagine("a cat", parameters=5), "parameters"),
        (lambda: studio.organize.put_preset("x", values={"aspect": Broken()}), "aspect"),
        (lambda: plain.add_branch({"x": Broken()}), "weight 'x'"),  # type: ignore[dict-item]
    ):
        with pytest.raises(SalonError, match=f"^{name}: got"):
            call()
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


WRONG: dict[str, tuple[Any, ...]] = {  # of what is opened
    "model": (5, b"x", Broken()), "text_encoder": (5, [5], Broken()), "vae": (5, Broken()), "ip_adapter": (5,),
    "image_encoder": (5,), "device": (5, [5], Broken()), "workers": ("x", 1.5), "threads": ("x",), "backend": (5,),
    "isa": (5,), "dtype": (5,), "unload_after": ("x",), "process": ("yes", 1),
}  # fmt: skip
OF_STUDIO: dict[str, tuple[Any, ...]] = {"limits": (5,), "policy": (5,), "deadlines": (5,)}
OF_SERVICE: dict[str, tuple[Any, ...]] = {
    "data": NO_FILE, "loras": (5, Broken()), "plans": (5,), "keep_days": ("x",), "quota_bytes": ("x", 1.5),
    "operators": ("ab", 5, [5]), "image_links": ("yes",), "taste_unlock": ("x", None), "policy": (5, [5]),
    "policy_stages": ("upload", 5), "chat_model": (5, None), "chat_timeout_s": ("x",),
}  # fmt: skip


@pytest.mark.parametrize("name", [*WRONG, *OF_STUDIO])
def test_what_a_studio_is_opened_with(name: str) -> None:
    for odd in {**WRONG, **OF_STUDIO}[name]:
        options: dict[str, Any] = {name: odd}
        with pytest.raises(SalonError, match=f"(^| ){name}: got .*, (allowed|want) "):
            Studio(**options)


@pytest.mark.parametrize("name", [*WRONG, *OF_SERVICE])
def test_what_a_durable_studio_is_opened_with(name: str, tmp_path: Path) -> None:
    for odd in {**WRONG, **OF_SERVICE}[name]:
        options: dict[str, Any] = {"data": tmp_path / "data", name: odd}
        with pytest.raises(SalonError, match=f"(^| ){name}: got .*, (allowed|want) "):
            DurableStudio(**options)


@pytest.mark.parametrize("clients", [5, [5], "ab", Broken(), [threading.Thread()], [FakeWorker]])
def test_workers_that_are_none(clients: Any) -> None:
    with pytest.raises(SpecError, match="^clients: got .*, allowed a list of workers, each with `name`, `start`, "):
        Studio.over(clients)


@pytest.mark.parametrize("name", ["policy", "accounts", "reader", "vocabulary", "loras"])
def test_what_a_studio_over_workers_is_opened_with(name: str) -> None:
    for odd in (5, "fast", object(), lambda: None, Broken()):
        given: dict[str, Any] = {name: odd}
        with pytest.raises(SpecError, match=f"^{name}: got .*, allowed "):
            Studio.over([FakeWorker(Behaviour())], **given)


async def later(*_: Any) -> None:
    raise AssertionError("never")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("on_progress", "3: job, step, steps"), ("on_preview", "3: job, step, pictures"), ("on_end", "1: job")],
)
def test_who_is_told_of_a_job(name: str, arguments: str) -> None:
    """Else the job would be made, and what is wrong would stand in the log alone."""
    with Studio.over([FakeWorker(Behaviour())]) as studio:
        for odd in (5, "print", [print], object(), lambda: None, later, partial(later)):
            given: dict[str, Any] = {name: odd}
            allowed = rf"^{name}: got .*, allowed a plain function \(not async\) of {arguments}; correct it$"
            with pytest.raises(SpecError, match=allowed):
                studio.imagine("a cat", **given)
        for odd in (5, "work", object()):
            with pytest.raises(SpecError, match="^work: got .*, allowed a Work of the price list"):
                studio.imagine("a cat", work=odd)  # type: ignore[arg-type]
        assert not any(studio.loop.snapshot().queued.values())
        told = threading.Event()
        given = {name: lambda *_: told.set(), "preview_every": 1}
        studio.imagine("a cat", **given).result(20)
        assert told.wait(20)


@pytest.mark.parametrize("odd", [5, None, "open", object(), lambda: None, later])
def test_who_opens_a_durable_studio(odd: Any, tmp_path: Path) -> None:
    with pytest.raises(WrongValue, match="^studio: got .*, allowed a plain function .* of 2: options, accounts; "):
        DurableStudio(tmp_path / "data", studio=odd)
    assert not (tmp_path / "data").exists()


def test_what_an_engine_is_loaded_with() -> None:
    for odd in (5, "many", object(), {}):
        with pytest.raises(SpecError, match="^limits: got .*, allowed Limits; make them of "):
            Engine.load(limits=odd)  # type: ignore[arg-type]
    for odd in (5, "CPUExecutionProvider", object()):
        with pytest.raises(UnknownBackend, match="^providers: got .*, allowed a list of names, or "):
            Engine.load(backend="onnx", providers=odd)  # type: ignore[arg-type]


def test_what_is_larger_than_may_be_brought(studio: DurableStudio, tmp_path: Path) -> None:
    """The bounds are those of uploads, for bytes and for files; nothing of what is refused is kept."""
    large = b"\x89PNG" + bytes(MAX_REFERENCE_BYTES)
    for call in (studio.add_reference, studio._context.studio.add_reference, studio._context.studio.describe):
        for given in (large, tmp_path / "large.png"):
            (tmp_path / "large.png").write_bytes(large)
            with pytest.raises(
                ReferenceRefused, match=r"^picture.*: got more than 16,777,216 bytes, allowed up to 16,7"
            ):
                call(given)
    with pytest.raises(TasteRefused, match="^pictures: got 101, allowed up to 100; leave some out"):
        studio.taste.new_profile("board", "moodboard", [large] * 101)
    assert studio.taste.profiles() == ()


def test_a_lora_that_is_larger_than_may_be_brought(
    studio: DurableStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.safetensors"
    with open(path, "wb") as file:
        file.truncate(MAX_LORA_BYTES + 1)  # of holes, which are not read
    folder = Path(studio._context.options.data) / "loras"
    with pytest.raises(
        CheckpointError, match="too large a LoRA, expected up to 1,073,741,824 bytes, found 1,073,741,825"
    ):
        studio.add_lora(path)
    assert [each for each in folder.rglob("*") if each.is_file()] == []
    path.write_bytes(bytes(40))
    monkeypatch.setattr(loras, "MAX_LORA_BYTES", 39)
    with pytest.raises(CheckpointError, match="found 40 bytes; take one of lower rank"):
        studio.add_lora(path)
    with pytest.raises(CheckpointError, match="found more than 39 bytes"):  # one that has grown since
        list(loras._pieces(path))
