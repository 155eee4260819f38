"""What the model leaves out or replaces is said everywhere, and what it cannot draw is refused everywhere, alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from salon.errors import SalonError
from salon.frontends.client.client import Client
from salon.frontends.client.errors import Invalid
from salon.frontends.recipe import read_png
from salon.studio.studio import Studio

from ..conftest import Main
from ..wire.plain_client import PlainClient, Refused
from .conftest import Connect, Serve

PROMPT = "an old puppy in the fog, oil painting"
NOTES = [
    "'an old puppy in the fog' is drawn as 'dog', the nearest thing that the model knows; left out: 'old', "
    "'in the fog'",
    "'oil painting' is left out: the model draws one thing, and has no style, palette, background or finish of this "
    "name",
    "'people': 'people' is left out: the model draws no such thing",
]
FLAGS = ["--n", "1", "--steps", "1", "--seed", "1", "--no", "people", "--json"]


def said(err: str) -> list[str]:
    return [line.removeprefix("salon: note: ") for line in err.splitlines() if line.startswith("salon: note: ")]


def test_what_is_left_out_or_replaced_is_said_everywhere(serve: Serve, main: Main, tmp_path: Path) -> None:
    """faults.md 4 and 25: in the note, the recipe, `show`, `--json` and events, here and on a server."""
    server = serve(model=None, backend="cpu")
    code, out, err = main("imagine", PROMPT, *FLAGS, "-o", "here.png")
    assert (code, said(err)) == (0, NOTES)
    here = json.loads(out)
    assert here["recipe"]["warnings"] == NOTES

    code, out, err = main("imagine", PROMPT, *FLAGS, "-o", "there.png", "--server", server.address)
    assert (code, said(err)) == (0, NOTES)
    there = json.loads(out)
    assert there["recipe"]["warnings"] == there["job"]["notes"] == NOTES
    for name in ("here.png", "there.png"):
        _, recipe = read_png(tmp_path / name)
        assert recipe.warnings == tuple(NOTES)
        assert recipe.clauses == {"subject": "dog"}

    job = there["job"]["job"]
    code, out, _ = main("show", job, "--server", server.address)
    assert [line.partition("note")[2].strip() for line in out.splitlines() if line.startswith("note ")] == NOTES
    assert json.loads(main("show", job, "--json", "--server", server.address)[1])["notes"] == NOTES
    code, _, err = main("imagine", "a puppy", "--detach", "--server", server.address)
    assert (code, said(err)) == (0, ["'a puppy' is drawn as 'dog', the nearest thing that the model knows"])
    with Client(server.address) as client:
        events = list(client.job(job).events(timeout_s=120))
        assert [event.reason for event in events if event.kind == "note"] == NOTES
        fresh = client.imagine(PROMPT, images=1, steps=1, no="people")
        assert fresh.info.notes == tuple(NOTES), "known when it is accepted"
        assert fresh.info.reason == ""
        for event in fresh.events(timeout_s=120):
            assert event.kind != "failed"
        assert (fresh.info.notes, fresh.info.reason) == (tuple(NOTES), "")
        fresh.delete()


def test_events_of_a_studio_tell_it(tmp_path: Path) -> None:
    with Studio(threads=1) as studio:
        job = studio.imagine("a puppy", images=1, steps=1)
        events = [(event.kind, event.reason) for event in job.events(timeout_s=120)]
        assert ("note", "'a puppy' is drawn as 'dog', the nearest thing that the model knows") in events
        assert job.reading.clauses == {"subject": "dog"}
        for fields in ({"prompt": "a woman"}, {"prompt": "a puppy", "strict": True}, {"prompt": "a cat", "strict": 7}):
            with pytest.raises(SalonError):
                studio.imagine(**fields)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["🐙"], "prompt: got '🐙', allowed some words"),
        (["a lighthouse on a cliff"], "prompt: got 'lighthouse', allowed a thing that the model was taught"),
        (["猫"], "prompt: got '猫', allowed a thing that the model was taught"),
        (["an old puppy", "--strict"], "--strict: got 'an old puppy' is drawn as 'dog', the nearest thing"),
        (["a cat, oil painting", "--strict", "--no", "people"], "--strict: got 'oil painting' is left out"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_there_is_a_job(
    serve: Serve, main: Main, words: list[str], line: str
) -> None:
    """faults.md 26: "🐙" was refused here, accepted and failed by the server."""
    server = serve(model=None, backend="cpu")
    code, out, here = main("imagine", *words)
    assert (code, out) == (2, "")
    assert here.startswith(f"salon: error: {line}")
    assert main("imagine", *words, "--server", server.address) == (2, "", here)
    assert json.loads(main("jobs", "--json", "--server", server.address)[1]) == []


def test_strict_takes_what_is_drawn_as_it_is_typed(serve: Serve, connect: Connect) -> None:
    server = serve(model=None, backend="cpu")
    plain = connect(server)
    asked: dict[str, Any] = {"images": 1, "steps": 1, "strict": True}
    job = plain.submit("k1", "a red apple, 3d render, on teal", parameters=asked)["job"]
    assert [event["kind"] for event, _ in plain.watch(job)][-1] == "done"
    with pytest.raises(Refused) as refused:
        plain.submit("k2", "a red apple, best quality", parameters=asked)
    assert (refused.value.code, refused.value.kind) == ("invalid", "PromptError")
    with Client(server.address) as client, pytest.raises(Invalid, match="strict: got 'best quality' is left out"):
        client.imagine("a red apple, best quality", strict=True)


def test_words_over_the_wire(serve: Serve, main: Main, connect: Connect) -> None:
    server = serve(model=None, backend="cpu")
    with Client(server.address) as client:
        words = client.words()
        assert list(words.slots) == ["things", "styles", "backgrounds", "palettes", "finishes"]
        assert ("red apple", "apple") in words.slots["things"]
        assert not words.near
        near = client.words(like="puppy")
        assert near.drawn == "dog"
        assert near.near[0].name == "dog"
        with pytest.raises(Invalid, match="like"):
            client.words(like="…")
    assert main("words", "--like", "puppy", "--server", server.address) == main("words", "--like", "puppy")
    plain: PlainClient = connect(server)
    assert plain.ask("words")["type"] == "vocabulary"


def test_a_picture_too_long_to_make_sense_says_so(main: Main) -> None:
    """faults.md 26: `--ar 14:1` drew nothing, without a note."""
    code, _, err = main("imagine", "a cat", "--n", "1", "--steps", "1", "--seed", "1", "--ar", "14:1", "--strict")
    assert code == 0
    (note,) = said(err)
    assert "the model was taught up to 16:9" in note
    assert said(main("imagine", "a cat", "--n", "1", "--steps", "1", "--seed", "1", "--ar", "2:1")[2]) == []


def test_a_model_without_a_list_of_words_says_so(main: Main, tiny: Path) -> None:
    code, out, err = main("words", "--model", str(tiny))
    assert (code, out) == (2, "")
    assert "which has no list, allowed one that lists its words" in err
