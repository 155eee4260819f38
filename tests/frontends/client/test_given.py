"""What a program hands to a client: what an argument does not allow is refused by its name, before anything is sent.

A list that was none was a TypeError, or went out as the letters of a word.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from salon.frontends.client.aio import AsyncClient
from salon.frontends.client.client import Client
from salon.frontends.client.errors import Invalid
from salon.frontends.client.fake import FakeServer
from salon.frontends.client.flavours import operation, stream
from salon.frontends.wire import messages as m

from .helpers import Connect, bare

NOWHERE = "tcp://127.0.0.1:1"  # nobody listens there


class Odd:
    """What raises whatever is done with it."""

    def __iter__(self) -> Iterator[Any]:
        yield "a"
        raise ValueError("out of joint")

    def __fspath__(self) -> str:
        raise ValueError("out of joint")


NO_LIST: tuple[Any, ...] = (5, None, b"ab", True, Odd(), object())
NO_FILE: tuple[Any, ...] = (5, "a\0b", "\ud800", 1.5, [], Odd(), object())
NO_SOURCE: tuple[Any, ...] = (
    (5, 0),
    ("j",),
    ("j", "0"),
    ("j", 0, 1),
    ("\ud800", 0),
    (),
    m.Source(job="j", index=2**70),
)
NO_COUNT: tuple[Any, ...] = ("1", 1.5, True, 2**70, [1])
NO_PROMPT: tuple[Any, ...] = (5, b"x", ["x"], Path("x"))
NO_TEXT: tuple[Any, ...] = (*NO_PROMPT, "\ud800")
ODD: dict[str, tuple[Any, ...]] = {  # by annotation, values that it does not allow
    "str": (*NO_TEXT, None),
    "str | None": NO_TEXT,
    "int": (*NO_COUNT, None),
    "int | None": NO_COUNT,
    "float": ("2", None, True, [2.0]),
    "float | None": ("2", True, -1, float("nan"), [2.0]),
    "bool": ("yes", 1, None),
    "bool | None": ("yes", 1),
    "Iterable[str]": (*NO_LIST, "ab", [5], ["\ud800"]),
    "Sequence[str]": (*NO_LIST, "done", [5]),
    "Iterable[int]": (*NO_LIST, "12", ["1"], [True], [2**70]),
    "Iterable[int] | Mapping[int, float]": (*NO_LIST, "12", ["1"], {"1": 1.0}, {1: "1"}),
    "Iterable[PictureFile]": (*NO_LIST, "a.png", Path("a.png")),
    "Iterable[JobCommands | str]": (*NO_LIST, [5], ["\ud800"], [None]),
    "Sequence[m.Source | tuple[str, int] | str]": (*NO_LIST, "j", [5], *([one] for one in NO_SOURCE)),
    "JobCommands | str": (*NO_TEXT, None),
    "SomePicture": (*NO_FILE, *NO_SOURCE, None),
    "PictureFile": (*NO_FILE, None),
    "PictureFile | None": NO_FILE,
    "str | os.PathLike[str]": (*NO_FILE, None, b"ab"),
    "tuple[float, float] | None": (5, "16:9", (1,), (1, 2, 3), ("1", 2), Odd()),
    "tuple[int, int, int, int] | None": (5, "abcd", (1, 2, 3), (1, 2, 3, "4"), Odd()),
}
FILLED: dict[str, Any] = {"index": 0, "event": 1, "chat": 1, "amount_ms": 1, "picked": [0], "sources": [("j", 0)]}
SIDE = m.PairPicture(job="j", index=0, digest="ab" * 32, size=9, width=8, height=8, prompt="a cat")
PAIR = m.TastePair(pair="p", left=SIDE, right=SIDE)
PARTS: dict[str, Callable[[Any], Any]] = {
    "": lambda client: client,
    "ops": lambda client: client.ops,
    "settings": lambda client: client.settings,
    "chat": lambda client: client.chat,
    "entry": lambda client: client.entry,
    "taste": lambda client: client.taste,
    "organize": lambda client: client.organize,
    "job": lambda client: client._job(m.JobInfo(job="j", state="done", images=1)),
    "picture": lambda client: client._picture(m.Source(job="j")),
    "pair": lambda client: client._pair(PAIR),
}


def methods_of(part: Any) -> dict[str, Mapping[str, inspect.Parameter]]:
    """The methods of a part of a client with their parameters, but for `self`."""
    kind = type(bare(part))
    made = {name: inspect.getattr_static(kind, name) for name in dir(kind) if not name.startswith("_")}
    found = {name: one.__wrapped__ for name, one in made.items() if isinstance(one, operation | stream)}
    return {
        name: {key: one for key, one in inspect.signature(steps).parameters.items() if key != "self"}
        for name, steps in found.items()
    }


@pytest.mark.parametrize("part", PARTS)
def test_every_argument_of_every_method(connect: Connect, part: str, tmp_path: Path) -> None:
    of = PARTS[part](connect(NOWHERE, timeout_s=0.1))
    asked, wrong = 0, []
    for name, parameters in methods_of(of).items():
        named = {key: one for key, one in parameters.items() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
        needed = [key for key, one in named.items() if one.default is one.empty]
        filled = {key: FILLED.get(key, str(tmp_path / "x")) for key in needed}
        for key, one in named.items():
            assert one.annotation in ODD, f"{name}: say what {one.annotation} does not allow"
            for odd in ODD[one.annotation] if key != "prompt" else NO_PROMPT:
                asked += 1
                try:
                    given = {**filled, key: odd}
                    first = [
                        given.pop(each) for each in needed if named[each].kind is inspect.Parameter.POSITIONAL_ONLY
                    ]
                    found = getattr(of, name)(*first, **given)
                    if inspect.isgenerator(found):
                        next(found)
                    wrong.append(f"{name}({key}={odd!r}) = {found!r}")
                except Exception as error:
                    if not (type(error) is Invalid and str(error).startswith(f"{key}: got ")):
                        wrong.append(f"{name}({key}={odd!r}): {error!r}")
    assert not wrong, "\n".join(wrong)
    assert asked > {"settings": 2, "pair": 2}.get(part, 4)


async def later(seconds: float | None) -> None:
    raise AssertionError("never")


class Later:
    async def __call__(self, seconds: float | None) -> None:
        raise AssertionError("never")


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "odd", [5, "print", True, [print], object(), lambda: None, lambda a, b: None, later, Later(), partial(later)]
)
def test_who_is_told_of_silence(kind: Callable[..., Any], odd: Any) -> None:
    """A coroutine function would never be awaited, and one of two arguments end the client once the server is away."""
    with pytest.raises(Invalid, match=r"^on_contact: got .*, allowed a plain function \(not async\) of 1: seconds; "):
        kind(NOWHERE, on_contact=odd)


@pytest.mark.parametrize("told", [None, print, [].append, lambda seconds: None, lambda *all: None, partial(print, 1)])
def test_callables_that_can_be_told_of_silence(told: Any) -> None:
    Client(NOWHERE, on_contact=told).close()


def test_what_is_within_what_is_handed_in(connect: Connect) -> None:
    client = connect(NOWHERE, timeout_s=0.1)
    calls: dict[str, Callable[[], Any]] = {
        "pictures|picture": lambda: client.blend(5, 5),
        "index": lambda: PARTS["job"](client)["0"],
        "after": lambda: list(client.organize.all_names(after="x")),
        "limit": lambda: client.organize.names(limit="x"),
        "kinds": lambda: client.organize.names(kinds=5),
        "style_references": lambda: client.imagine("a cat", style_references=Odd()),
        "aspect": lambda: client.organize.put_preset("p", aspect=object()),
        "stylize": lambda: client.settings.change(stylize=object()),
        "parameters": lambda: client.settings.change(nosuch=1),
    }
    for name, call in calls.items():
        with pytest.raises(Invalid, match=f"^({name}): got "):
            call()


def test_an_iterator_may_ask_the_same_client(server: FakeServer) -> None:
    """The list was read under the client's lock, for ever."""
    with Client(server.address) as client:
        jobs = {client.imagine("a red apple").id for _ in range(2)}
        shown = client.organize.show(job for job, _ in client.organize.all_names())
        assert {info.job for info in shown} == jobs
        assert {info.job for info in client.organize.show(next(iter(jobs)))} < jobs


def test_a_moodboard_leaves_out_what_is_no_picture(server: FakeServer, connect: Connect, tmp_path: Path) -> None:
    """The number of a file was a TypeError where its name was to be told."""
    client = connect(server.address)
    good = tmp_path / "good.png"
    Image.new("RGB", (8, 8)).save(good)
    made = client.taste.new("board", "moodboard", pictures=[good, 5, tmp_path / "none.png"])
    assert [one.digest for one in made.left_out] == ["picture 2", str(tmp_path / "none.png")]
