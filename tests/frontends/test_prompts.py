"""Prompts of the language on the command line: `imagine`, `plan`, `settings`, here and on a server."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salon.frontends.client.client import Client
from salon.frontends.client.errors import Invalid, NotFound
from salon.frontends.client.fake import FakeServer
from salon.frontends.recipe import read_png
from salon.frontends.wire.messages import Submit
from salon.parameters.known import parameters

from .conftest import Main

SMALL = ("--steps", "2", "--n", "1")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with FakeServer() as server:
        monkeypatch.setenv("SALON_SERVER", server.address)
        yield server


def test_the_prompt_and_the_flags_draw_the_same(main: Main) -> None:
    code, out, err = main("imagine", "a red apple --seed 7 --steps 2 --n 1 --s 250", "-o", "within.png")
    assert (code, out) == (0, "within.png\n"), err
    assert main("imagine", "a red apple", "--seed", "7", *SMALL, "--stylize", "250", "-o", "beside.png")[0] == 0
    (first, recipe), (second, other) = read_png(Path("within.png")), read_png(Path("beside.png"))
    np.testing.assert_array_equal(first, second)
    assert recipe.spec == other.spec
    assert recipe.spec.prompt == "a red apple"


def test_several_jobs_here(main: Main) -> None:
    code, out, err = main("imagine", "a {red, green} apple --seed 7", *SMALL, "--json", "--quiet", "-o", ".")
    assert code == 0, err
    jobs = json.loads(out)["jobs"]
    assert [job["files"] for job in jobs] == [["./a-red-apple-7.png".removeprefix("./")], ["a-green-apple-7.png"]]
    assert [read_png(Path(job["files"][0]))[1].spec.prompt for job in jobs] == ["a red apple", "a green apple"]
    assert [job["recipe"]["spec"]["prompt"] for job in jobs] == ["a red apple", "a green apple"]


def test_a_refusal_shows_the_place(main: Main) -> None:
    code, out, err = main("imagine", "a cat --ar 99:1 --n 1")
    assert (code, out) == (2, "")
    told, line, caret = err.splitlines()
    assert told.startswith("salon: error: --ar: got '99:1', allowed whole numbers W:H from 1:14 to 14:1; write it like")
    assert (line, caret) == ("a cat --ar 99:1 --n 1", " " * 11 + "^")
    code, out, err = main("imagine", "a cat", "--ar", "99:1")
    assert (code, out, err.count("\n")) == (2, "", 1)


def violations() -> list[str]:
    """Every rule of the list broken once: unknown, repeated, out of range, contradictory, not there."""
    found = ["a cat --nothing 1"]
    for parameter in parameters().values():
        if not parameter.flags:
            continue
        flag, kind = parameter.flags[0], parameter.kind
        low, high = getattr(kind, "low", None), getattr(kind, "high", None)
        if low is not None and high is not None:
            found += [f"a cat {flag} {high + 1:.0f}", f"a cat {flag} {low:.0f} {flag} {low:.0f}", f"a cat {flag}"]
        elif not kind.metavar:
            found += [f"a cat {flag} {flag}", f"a cat {flag}=x"]
        if parameter.missing:
            found.append(f"a cat {flag}")
        for other in parameter.conflicts:
            written = {
                name: known.flags[0] + (" 1" if known.kind.metavar else "")
                for name, known in parameters().items()
                if known.flags
            }
            if other in written:
                found.append(f"a cat {written[parameter.name]} {written[other]}")
    return found


def test_every_rule_broken_once_makes_nothing(main: Main, fake: FakeServer) -> None:
    broken = violations()
    assert len(broken) > 30
    for i, prompt in enumerate(broken):
        code, out, err = main("plan" if i % 2 else "imagine", prompt)
        assert (code, out) == (2, ""), prompt
        assert err.startswith("salon: error: "), prompt
        assert err.splitlines()[-1].endswith("^"), prompt
    assert not any(isinstance(request, Submit) for request in fake.requests)


def test_several_jobs_on_a_server(main: Main, fake: FakeServer, tmp_path: Path) -> None:
    code, out, err = main("imagine", "a {red, green} apple --repeat 2 --n 1")
    assert code == 0, err
    files = out.splitlines()
    assert len(set(files)) == 4
    assert all((tmp_path / file).read_bytes() in fake.pictures for file in files)
    assert [file.split("/")[1][:5] for file in files] == ["a-red"] * 2 + ["a-gre"] * 2
    assert sum(isinstance(request, Submit) for request in fake.requests) == 1
    assert err.count("lane fast") == 4
    code, out, _ = main("imagine", "{a, b} --n 1", "--detach")
    assert (code, len(out.splitlines())) == (0, 2)
    code, out, _ = main("imagine", "{a, b} --n 1", "--json", "--quiet")
    assert (code, [job["job"]["prompt"] for job in json.loads(out)["jobs"]]) == (0, ["a", "b"])
    code, _, err = main("imagine", "{a, b}", "-o", "x.png")
    assert (code, "-o: got 'x.png' for 2 jobs, allowed a folder" in err) == (2, True)


def test_a_picture_that_a_prompt_names_is_brought(main: Main, fake: FakeServer) -> None:
    Path("my poster.png").write_bytes(fake.pictures[0])
    code, out, err = main("plan", 'a {cat, dog} --sref "my poster.png"::2 --n 1', "--json")
    assert code == 2, (out, err)  # the fake's model has no styles; the picture is read all the same
    assert "style" in err
    code, _, err = main("plan", "a cat --sref nothing.png")
    assert (code, "nothing.png': No such file" in err) == (2, True)


def test_a_plan_here(main: Main) -> None:
    code, out, err = main("plan", "a {red, green} apple --ar 3:2 --n 1", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [job["prompt"] for job in found["jobs"]] == ["a red apple --ar 3:2 --n 1", "a green apple --ar 3:2 --n 1"]
    first = found["jobs"][0]
    assert (first["lane"], first["parameters"]["images"], first["sources"]["images"]) == ("fast", 1, "typed")
    assert (first["sources"]["steps"], first["sources"]["stylize"]) == ("model", "default")
    assert found["total_cost_ms"] == 2 * first["cost_ms"] > 0
    assert found["queue_position"] == 0
    turbo = json.loads(main("plan", "a red apple --ar 3:2 --n 1 --turbo", "--json")[1])
    assert turbo["total_cost_ms"] == 2 * first["cost_ms"]
    code, out, _ = main("plan", "a cat")
    assert code == 0
    assert "stylize" in out
    assert main("plan", "a cat --foo")[0] == 2


def test_a_plan_and_settings_on_a_server(main: Main, fake: FakeServer) -> None:
    assert main("settings") == (0, "settings none\nsuffix   none\n", "")
    assert main("settings", "--ar", "3:2", "--relax", "--suffix", "--n 1")[:2] == (
        0, "settings --lane relax --ar 3:2\nsuffix   --n 1\n"
    )  # fmt: skip
    found = json.loads(main("plan", "a cat", "--json")[1])
    assert found["jobs"][0]["sources"] | {"steps": "model"} == found["jobs"][0]["sources"]
    assert found["jobs"][0]["sources"]["aspect"] == "settings"
    assert (found["jobs"][0]["lane"], found["jobs"][0]["parameters"]["images"]) == ("relax", 1)
    assert found["jobs"][0]["prompt"] == "a cat --lane relax --ar 3:2 --n 1"
    assert main("settings", "--drop", "ar,relax")[1] == "settings none\nsuffix   --n 1\n"
    code, out, _ = main("settings", "--reset", "--json")
    assert (code, json.loads(out)["suffix"]) == (0, "")
    for words in (["--seed", "7"], ["--suffix", "a cat"], ["--suffix", "--s 9999"], ["--drop", "nothing"]):
        code, out, err = main("settings", *words)
        assert (code, out) == (2, ""), words
        assert err.startswith("salon: error: ")


def test_a_place_that_only_the_server_refuses_is_shown(main: Main, fake: FakeServer) -> None:
    """What is refused there is shown in the prompt as it was typed, by `imagine` and `plan`; clients know the place."""
    prompt = "a cat:: a __nothing__ dog::2 --ar 3:2"
    for command in ("imagine", "plan"):
        code, out, err = main(command, prompt)
        assert (code, out) == (2, "")
        line, shown, caret = err.splitlines()
        assert "prompt: got __nothing__, allowed lists of words that are there" in line
        assert (shown, caret.index("^")) == (prompt, prompt.index("__nothing__"))
    with Client(fake.address) as client:
        with pytest.raises(Invalid) as caught:
            client.imagine(prompt)
        assert caught.value.position == prompt.index("__nothing__")
        assert pickle.loads(pickle.dumps(caught.value)).position == caught.value.position
        with pytest.raises(Invalid) as caught:
            client.imagine("a cat --ar 99:1")
        assert caught.value.position == "a cat --ar 99:1".index("99")
        with pytest.raises(Invalid) as caught:
            client.imagine("a cat", aspect=(0, 1))
        assert caught.value.position == -1
        with pytest.raises(NotFound) as missing:
            client.job("nothing")
        assert missing.value.position == -1
        assert not client.jobs().jobs


def test_a_further_text_that_cannot_be_drawn_is_refused(main: Main) -> None:
    """To be drawn it is refused; to be left out it is told; attributes alone are drawn."""
    for command in ("imagine", "plan"):
        code, out, err = main(command, "a cat:: xyzzy", "--json", *SMALL)
        assert (code, out) == (2, ""), err
        assert "term: got 'xyzzy', allowed a thing that the model was taught" in err
    for words in (("a cat:: xyzzy::-0.5",), ("a cat", "--no", "xyzzy")):
        code, out, err = main("imagine", *words, "--seed", "1", *SMALL, "--json", "-o", "out.png", "--force")
        assert code == 0, err
        assert any("'xyzzy' is left out" in note for note in json.loads(out)["recipe"]["warnings"])
    code, _, err = main("imagine", "a cat:: on a pink background", *SMALL, "-o", "pink.png")
    assert code == 0, err


def test_unknown_words_of_style_get_a_note(main: Main) -> None:
    for prompt in ("a cat, in the style of xyzzy", "a cat in the style of xyzzy", "a cat, xyzzy tones"):
        code, out, err = main("imagine", prompt, *SMALL, "--json", "--seed", "1", "-o", "out.png", "--force")
        assert code == 0, err
        (note,) = json.loads(out)["recipe"]["warnings"]
        assert "xyzzy" in note
        assert "left out" in note
        assert note in err


def test_show_tells_the_knobs_and_the_pictures(main: Main, fake: FakeServer) -> None:
    code, out, err = main("imagine", "a cat --c 20 --exp 5 --stop 50 --tile --q 2", "--detach")
    assert code == 0, err
    shown = main("show", out.strip())[1]
    assert re.search(r"^knobs +chaos 20, exp 5, stop 50, tile 1, quality 2$", shown, re.MULTILINE), shown
    Image.new("RGB", (64, 64), "red").save("red.png")
    Image.new("RGB", (64, 64), "blue").save("blue.png")
    digests = [hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in ("red.png", "blue.png")]
    code, out, err = main("blend", "red.png", "blue.png", "--private", "--detach")
    assert code == 0, err
    shown = main("show", out.strip())[1]
    assert re.search(rf"^from +picture {digests[0][:12]}, picture {digests[1][:12]}$", shown, re.MULTILINE), shown
    assert "somebody else" not in shown
    with Client(fake.address) as client:
        info = client.job(out.strip()).info
        assert (info.starts, info.knobs, info.kind, info.prompt) == (tuple(digests), {}, "blend", "")
