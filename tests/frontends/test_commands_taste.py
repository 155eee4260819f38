"""The commands about what an account likes, against the fake server with a style space."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from salon.frontends.client.client import Client
from salon.frontends.client.fake import FakeServer
from tests.frontends.terminal.screen import Screen

from .conftest import Main

Start = Callable[..., Screen]
CODE = "[a-z2-7]{16}"


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer(drawn=True, unlock=4) as server:
        yield server


@pytest.fixture
def client(fake: FakeServer) -> Iterator[Client]:
    with Client(fake.address) as client:
        yield client


@pytest.fixture
def ask(main: Main, fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Main:
    monkeypatch.setenv("SALON_SERVER", fake.address)
    return main


@pytest.fixture
def start(tmp_path: Path, fake: FakeServer) -> Iterator[Start]:
    screens: list[Screen] = []

    def begin(*words: str, **options: Any) -> Screen:
        screens.append(Screen(words, tmp_path, {"SALON_SERVER": fake.address}, **options))
        return screens[-1]

    yield begin
    for screen in screens:
        screen.close()


def value(result: tuple[int, str, str]) -> Any:
    """The one JSON value that a command printed."""
    code, out, err = result
    assert (code, err, out.count("\n")) == (0, "", 1)
    return json.loads(out)


def rate(client: Client, count: int, profile: str = "") -> None:
    for pair in itertools.islice(client.rank(profile), count):
        pair.choose("left" if pair.left.info.digest < pair.right.info.digest else "right")


def png(path: Path, colour: str) -> str:
    Image.new("RGB", (16, 16), colour).save(path)
    return str(path)


def test_profiles(ask: Main) -> None:
    assert ask("profile", "list")[1] == "no profiles; `salon rank` begins one\n"
    code, out, _ = ask("profile", "new", "pastel")
    assert code == 0
    assert re.search(r"^kind +profile$", out, re.M)
    assert re.search(r"^taught +0 of 4; 4 to go$", out, re.M)
    assert value(ask("profile", "list", "--json"))[0]["name"] == "pastel"
    assert re.search(r"^public +yes$", ask("profile", "public", "pastel")[1], re.M)
    assert value(ask("profile", "private", "pastel", "--json"))["public"] is False
    code, out, err = ask("profile", "show", "bold")
    assert (code, out) == (2, "")
    assert re.fullmatch("salon: error: .*bold.*\n", err)


def test_events(ask: Main, client: Client) -> None:
    assert ask("profile", "events")[1] == "no events\n"
    rate(client, 3)
    out = ask("profile", "events")[1].splitlines()
    assert [line.split()[:2] for line in out[1:]] == [["3", "pair"], ["2", "pair"], ["1", "pair"]]
    code, out_, err = ask("profile", "events", "--limit", "2")
    assert (code, len(out_.splitlines())) == (0, 3)
    assert "there are more" in err
    assert len(value(ask("profile", "events", "--limit", "2", "--all-pages", "--json"))) == 3
    assert re.fullmatch(r"event 3 is off: pair, (left|right): .*\n", ask("profile", "undo")[1])
    assert re.fullmatch(r"event 3 is on: .*\n", ask("profile", "switch", "3", "on")[1])
    assert value(ask("profile", "switch", "1", "off", "--json"))["on"] is False
    code, _, err = ask("profile", "switch", "9", "off")
    assert code == 2
    assert "9" in err
    code, _, err = ask("profile", "switch", "1", "away")
    assert err == "salon: error: STATE: got 'away', allowed off or on; choose one of these\n"


def test_like_and_pick(ask: Main, client: Client) -> None:
    job = client.imagine("a cat")
    job.wait()
    assert re.match(
        rf"picture 2 of job {job.id} is liked, which teaches nothing \(event 1\)", ask("like", job.id, "2")[1]
    )
    assert f"picture 2 of job {job.id} is no longer liked" in ask("like", job.id, "2", "--off")[1]
    code, out, _ = ask("pick", job.id, "3", "1")
    assert (code, out.partition(" (event")[0]) == (0, f"picked pictures 1, 3 of job {job.id}")
    assert value(ask("pick", job.id, "1", "--json"))["events"] == 1, "of one job the last picks count"
    assert ask("like", job.id, "0")[2].startswith("salon: error: N: got '0', allowed a whole number from 1")
    assert ask("like", "nothing", "1")[0] == 2
    assert ask("pick", job.id, "5")[0] == 2


def test_codes(ask: Main, client: Client) -> None:
    rate(client, 4)
    (code,) = value(ask("profile", "codes", "--json"))
    assert re.fullmatch(CODE, code["code"])
    assert (code["events"], code["last_event"], code["revoked"]) == (4, 4, False)
    line = ask("profile", "codes")[1].splitlines()[1]
    assert line.split()[:2] == [code["code"], "(own)"]
    assert client.imagine(f"a cat --p {code['code']}").wait().state == "done"
    assert ask("profile", "revoke", code["code"])[1] == f"code {code['code']} is revoked\n"
    assert ask("profile", "codes")[1].splitlines()[1].endswith("revoked")
    assert ask("profile", "revoke", "abc")[2].startswith("salon: error: CODE: got 'abc', allowed 16 characters")


def test_delete(ask: Main, client: Client) -> None:
    client.taste.new("bold")
    rate(client, 4, "bold")
    code = client.taste.codes("bold")[0].code
    client.imagine(f"a cat --p {code}").wait()
    code_, out, err = ask("profile", "delete", "bold")
    assert (code_, out) == (2, "")
    assert "got no terminal to ask in" in err
    assert "pass --keep-codes or --revoke-codes" in err
    told = value(ask("profile", "delete", "bold", "--keep-codes", "--json"))
    assert (told["deleted"], told["num_jobs"], [one["code"] for one in told["codes"]]) == (True, 1, [code])
    assert client.imagine(f"a cat --p {code}").wait().state == "done"


@pytest.mark.parametrize(("answer", "ended"), [("k", 0), ("r", 0), ("n", 2), ("", 2)])
def test_delete_asks(client: Client, start: Start, answer: str, ended: int) -> None:
    client.taste.new("bold")
    rate(client, 4, "bold")
    code = client.taste.codes("bold")[0].code
    screen = start("profile", "delete", "bold")
    screen.wait_for("else nothing: ")
    assert f"1 code: {code}" in screen.words
    assert "0 jobs drawn with it" in screen.words
    screen.send(f"{answer}\n")
    assert screen.finish() == ended
    codes = client.taste.codes()
    assert [(one.code, one.revoked) for one in codes] == [(code, answer == "r")]
    assert [one.name for one in client.taste.profiles()] == ([] if ended == 0 else ["bold"])


def test_moodboards(ask: Main, client: Client, tmp_path: Path) -> None:
    files = [png(tmp_path / f"{colour}.png", colour) for colour in ("red", "blue", "gold")]
    (tmp_path / "broken.png").write_text("nothing")
    code, out, err = ask("moodboard", "new", "sky", *files, "broken.png", "missing.png")
    assert code == 0
    assert len(re.findall("^picture ", out, re.M)) == 3
    assert re.search(r"^salon: note: \S*broken.png is left out: ", err, re.M)
    assert re.search(r"^salon: note: \S*missing.png is left out: ", err, re.M)
    assert err.count("\n") == 2
    board = value(ask("moodboard", "show", "sky", "--json"))
    assert board["kind"] == "moodboard"
    assert len(value(ask("moodboard", "add", "sky", png(tmp_path / "tan.png", "tan"), "--json"))["pictures"]) == 4
    gone = board["pictures"][0]
    assert gone not in value(ask("moodboard", "remove", "sky", gone[:8], "--json"))["pictures"]
    code, _, err = ask("moodboard", "remove", "sky", "012345")
    assert (code, "which 0 of its 3 pictures begin with" in err) == (2, True)
    client.taste.new("other")
    assert [one["name"] for one in value(ask("moodboard", "list", "--json"))] == ["sky"]
    code, _, err = ask("moodboard", "show", "other")
    assert (code, "got other, a profile, allowed a moodboard" in err) == (2, True)
    assert ask("moodboard", "new", "none", "broken.png")[0] == 2
    assert ask("moodboard", "delete", "sky", "--revoke-codes")[:2] == (0, f"profile {board['profile']} is deleted\n")


def test_report(ask: Main, client: Client, tmp_path: Path) -> None:
    rate(client, 12)
    out = ask("profile", "report")[1]
    assert re.search(r"^verdict +(strong|weak|does nothing)$", out, re.M)
    assert re.search(rf"^code +{CODE}$", out, re.M)
    assert len(client.jobs().jobs) == 0, "numbers alone draw nothing"
    code, out, err = ask("profile", "report", "-o", "report.html", "--png", "sheet.png", "--prompts", "2")
    assert (code, out.splitlines()[-2:]) == (0, ["report.html", "sheet.png"])
    assert re.match(r"drawing 8 pictures, .*GPU time\n", err)
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/") >= 8
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 100
    jobs = client.jobs().jobs
    assert [info.images for info in jobs] == [1] * 8
    assert len({info.seed for info in jobs}) == 2, "the same seeds in every row"
    assert sum(1 for info in jobs if any(name.startswith("style:taste:") for name in info.styles)) == 6
    code, out, err = ask("profile", "report", "--png", "sheet.png")
    assert (code, out) == (2, "")
    assert "a file that is there" in err
    told = value(ask("profile", "report", "--json"))
    assert told["profile"]["events"] == 12
    assert re.fullmatch(CODE, told["anti_code"])


def test_a_report_whose_jobs_fail(ask: Main, client: Client, fake: FakeServer, tmp_path: Path) -> None:
    rate(client, 4)
    fake.fail = "out of memory"
    code, out, err = ask("profile", "report", "--png", "sheet.png", "--prompts", "16")
    assert (code, out) == (1, "")
    assert re.search("salon: error: job .* failed: .*out of memory", err)
    assert not (tmp_path / "sheet.png").exists()
    jobs = client.jobs(limit=100).jobs
    assert len(jobs) <= 8, "no more than a plan allows at a time"
    assert {info.state for info in jobs} <= {"failed", "cancelled"}


def test_a_report_of_too_little(ask: Main, client: Client) -> None:
    rate(client, 2)
    code, out, _ = ask("profile", "report")
    assert code == 0
    assert not re.search("^code", out, re.M)


def test_tune(start: Start, client: Client, fake: FakeServer) -> None:
    screen = start("tune", "a lighthouse", "--pairs", "3", "--seed", "7", "--json")
    screen.wait_for("1 --sref ")
    screen.press("13", "1 --sref ")
    screen.send("2")
    assert screen.finish() == 0
    told = json.loads(screen.last)
    assert told["name"] == "a-lighthouse"
    (made,) = client.taste.profiles()
    assert (made.kind, [style.number for style in made.styles]) == ("tuner", told["styles"])
    assert len(told["styles"]) == 2
    assert len(told["jobs"]) == len(client.jobs().jobs) == 6
    assert client.imagine(f"a cat --p {told['code']}").wait().state == "done"
    again = start("tune", "a lighthouse", "--pairs", "1", "--json")
    again.wait_for("1 --sref ")
    again.send("1")
    assert again.finish() == 0
    assert json.loads(again.last)["name"] == "a-lighthouse-2"


def test_tune_shows_an_undone_pair_again(start: Start) -> None:
    screen = start("tune", "a lighthouse", "--pairs", "2", "--json")
    screen.wait_for("1 --sref ")
    screen.press("1u", "1 --sref ")
    screen.wait_for("taken back: choose anew")
    screen.press("2", "1 --sref ")
    screen.send("1")
    assert screen.finish() == 0
    shown = re.findall(r"1 --sref (\d+) .*2 --sref (\d+)", screen.words)
    first, second, *again = [pair for number, pair in enumerate(shown) if number == 0 or pair != shown[number - 1]]
    assert again == [first, second]
    assert json.loads(screen.last)["styles"] == [int(first[1]), int(second[0])]


def test_tune_without_a_choice(start: Start, client: Client) -> None:
    screen = start("tune", "a cat", "--pairs", "9")
    screen.wait_for("1 --sref ")
    screen.send("q")
    assert screen.finish() == 2
    assert "tune: got no choice, allowed one at least" in screen.words
    assert client.taste.profiles() == ()
    assert all(info.state in ("done", "cancelled") for info in client.jobs().jobs)


def test_pictures_of_a_job(ask: Main, client: Client, start: Start) -> None:
    job = client.imagine("a cat", images=3)
    job.wait()
    screen = start("show", job.id, "--pictures")
    assert screen.finish() == 0
    assert screen.text.count("▀") > 50
    assert screen.last.split() == ["1", "2", "3"]
    assert screen.settings() == screen.before
    code, out, err = ask("show", job.id, "--pictures")
    assert (code, out) == (2, "")
    assert "that is no terminal" in err
    colours = {Image.open(io.BytesIO(file)).getpixel((0, 0)) for file in job.pictures()}
    assert len(colours) == 1


def test_without_a_server(main: Main) -> None:
    for words in (("profile", "list"), ("moodboard", "list"), ("like", "j", "1"), ("pick", "j", "1")):
        code, out, err = main(*words)
        assert (code, out) == (2, "")
        assert err == "salon: error: no server; set SALON_SERVER, or pass --server tcp://localhost:5599\n"
