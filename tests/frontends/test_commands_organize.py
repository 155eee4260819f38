"""`salon find`, `publish`, `hide`, `folder`, `preset` and `download`, against the fake server."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from salon.frontends.client.client import Client
from salon.frontends.client.fake import FakeServer

from .conftest import Main


@pytest.fixture(scope="module")
def jobs() -> Iterator[tuple[str, list[str]]]:
    """A server's address, and its jobs: a red apple, a blue whale, and a private secret."""
    with FakeServer() as server, Client(server.address, timeout_s=60) as client:
        made = []
        for prompt in ("a red apple", "a blue whale", "a secret"):
            job = client.imagine(prompt, images=1, steps=1, private=prompt == "a secret")
            job.wait(timeout_s=60)
            made.append(job.id)
        yield server.address, made


@pytest.fixture
def ask(main: Main, jobs: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> Main:
    monkeypatch.setenv("SALON_SERVER", jobs[0])
    return main


def day_of(jobs: tuple[str, list[str]]) -> date:
    """The day on which they were made, which may have ended since."""
    with Client(jobs[0]) as client:
        return date.fromtimestamp(client.job(jobs[1][0]).info.made_ms / 1000)


def test_find(ask: Main, jobs: tuple[str, list[str]]) -> None:
    apple, whale, secret = jobs[1]
    today = day_of(jobs)
    tomorrow = today + timedelta(days=1)
    assert ask("find", "--ids")[1].split() == [secret, whale, apple]
    assert ask("find", "red", "apple", "--ids")[1].split() == [apple]
    assert ask("find", "--day", str(today), "--ids", "--oldest")[1].split() == [apple, whale, secret]
    assert ask("find", "--from", str(tomorrow))[1] == "no jobs\n"
    assert ask("find", "--public", "--ids")[1].split() == [whale, apple]
    code, out, err = ask("find", "--limit", "2", "--private")
    assert (code, out.splitlines()[1].split()[0], err) == (0, secret, "salon: note: 1 job, 1 picture\n")
    assert "these are 1 of 3" in ask("find", "--limit", "1")[2]
    assert [info["prompt"] for info in json.loads(ask("find", "--json", "--all-pages", "blue")[1])] == ["a blue whale"]
    for words, told in (
        (("--day", "2026-13-01"), "a day, like"), (("--from", "2026-02-02", "--to", "2026-01-01"), "or later"),
        (("--kind", "A"), "names of kinds"), (("--folder", "none"), "one of yours"),
        (("--day", "0001-01-01"), "between 1970"),
    ):  # fmt: skip
        code, out, err = ask("find", *words)
        assert told in err + out
        assert (code == 2) == bool(err)


def test_many(ask: Main, jobs: tuple[str, list[str]]) -> None:
    apple, whale, secret = jobs[1]
    assert ask("hide", apple, whale) == (0, "2 jobs hidden\n", "")
    assert ask("find", "--ids")[1].split() == [secret]
    assert ask("hide", "--off", apple, whale, secret)[1] == "2 jobs no longer hidden, 1 was so before\n"
    assert ask("publish", secret)[1] == "1 job published\n"
    code, out, err = ask("publish", "--off", secret, "never", "--json")
    assert (code, json.loads(out)["changed"], json.loads(out)["refused"][0]["job"]) == (2, 1, "never")
    assert err.startswith("salon: error: job never: job: got 'never'")
    ask("folder", "new", "Best of")
    assert ask("folder", "add", "Best of", apple, secret)[1] == "2 jobs added\n"
    assert ask("find", "--folder", "Best of", "--ids")[1].split() == [secret, apple]
    assert ask("folder", "remove", "Best of", apple)[1] == "1 job removed\n"
    assert json.loads(ask("folder", "rename", "Best of", "Worst", "--json")[1])["jobs"] == 1
    assert ask("folder", "delete", "Worst")[1] == "folder Worst deleted\n"
    assert ask("folder", "delete", "Worst")[0] == 2


def test_presets(ask: Main) -> None:
    assert ask("preset", "put", "wide", "--ar", "2:1", "--n", "1")[1].splitlines()[1] == "parameters  --ar 2:1 --n 1"
    assert ask("preset", "list")[1].splitlines()[1].split() == ["wide", "--ar", "2:1", "--n", "1"]
    planned = json.loads(ask("plan", "a cat --preset wide", "--json")[1])["jobs"][0]
    assert (planned["parameters"]["images"], planned["sources"]["images"]) == (1, "preset")
    code, out, err = ask("imagine", "a cat", "--preset", "wide", "--detach", "--json")
    assert (code, json.loads(out)["images"]) == (0, 1), err
    assert ask("preset", "put", "wide")[0] == 2
    assert ask("preset", "delete", "wide")[1] == "preset wide deleted\n"
    assert "see `salon preset list`" in ask("imagine", "a cat --preset wide")[2]


def test_a_preset_without_a_server(main: Main) -> None:
    code, _, err = main("imagine", "a cat --preset wide")
    assert (code, err.partition(";")[0]) == (2, "salon: error: --preset: got it without a server, allowed with one")


def test_download(ask: Main, jobs: tuple[str, list[str]], tmp_path: Path) -> None:
    code, out, err = ask("download", "apple", "--day", str(day_of(jobs)), "-o", "day.zip")
    assert (code, out.partition(",")[0]) == (0, "day.zip: 1 picture"), err
    with zipfile.ZipFile(tmp_path / "day.zip") as packed:
        assert [name.partition("/")[2] for name in packed.namelist()] == [f"a-red-apple-{jobs[1][0]}-1.png", ""]
    assert "exists" in ask("download", "--job", jobs[1][1], "-o", "day.zip")[2]
    assert json.loads(ask("download", "--job", jobs[1][1], "-o", "day.zip", "--force", "--json")[1])["pictures"] == 1
    assert "no jobs with pictures" in ask("download", "nothing such", "-o", "x.zip")[2]
    assert "one or the other" in ask("download", "apple", "--job", jobs[1][0], "-o", "x.zip")[2]
