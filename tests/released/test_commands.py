"""The released command line goes on working with the server of today."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from salon.frontends.client.fake import FakeServer
from salon.frontends.wire.keys import make_pair

from .conftest import TIMEOUT, Result, Salon

WORDS = ["a", "red apple", "--n", "2", "--steps", "3", "--seed", "7"]


def said(result: Result) -> str:
    """What a command printed that did what it was told."""
    assert (result.returncode, result.stderr) == (0, ""), result
    return str(result.stdout)


def test_imagine(salon: Salon, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storing = server._server.service.jobs.storing
    make = storing._make_files
    assert make is not None

    def make_files(*parts: Any) -> Any:
        end = time.monotonic() + TIMEOUT / 2
        while not (tmp_path / "unfinished.jpg").exists() and time.monotonic() < end:
            time.sleep(0.01)
        return make(*parts)

    monkeypatch.setattr(storing, "_make_files", make_files)  # so that it is not done before a preview is there
    server.step_s = 0.1
    words = ["a", "red apple", "--n", "2", "--steps", "6", "--seed", "7"]  # and a preview after the fourth
    result = salon("imagine", *words, "--server", server.address, "--preview", "unfinished.jpg")
    assert result.returncode == 0, result.stderr
    files = [f"outputs/a-red-apple-7{end}.png" for end in ("", "-1", "-2")]
    assert result.stdout.splitlines() == files
    assert [(tmp_path / file).read_bytes() for file in files] == [server.pictures[index] for index in (0, 0, 1)]
    assert (tmp_path / "unfinished.jpg").read_bytes()[:3] == b"\xff\xd8\xff"
    lines = result.stderr.splitlines()
    assert re.fullmatch(r"2 pictures, 8 x 8, 6 steps, seed 7, job job-1, lane fast", lines[0])
    assert re.fullmatch(r"made in [0-9.]+ s(, .* of GPU time)?", lines[-1])


def test_imagine_with_every_flag(salon: Salon, server: FakeServer, tmp_path: Path) -> None:
    flags = ["--ar", "1:1", "--guidance", "2.5", "--no", "a worm", "--solver", "heun", "--lane", "relax", "--private"]
    result = salon("imagine", *WORDS, *flags, "-o", "it.png", "--json", "--server", server.address)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["files"] == ["it.png", "it-1.png", "it-2.png"]
    assert sorted(os.listdir(tmp_path)) == sorted(found["files"])
    job = found["job"]
    assert (job["state"], job["lane"], job["private"], job["negative_prompt"]) == ("done", "relax", True, "a worm")
    assert (job["solver"], job["guidance_scale"], job["steps"], job["seed"]) == ("heun", 2.5, 3, 7)


def test_a_job_from_its_start_to_its_end(salon: Salon, server: FakeServer, tmp_path: Path) -> None:
    to = {"SALON_SERVER": server.address}
    job = said(salon("imagine", *WORDS, "--detach", **to)).strip()
    *events, last = map(json.loads, said(salon("show", job, "--follow", "-o", ".", "--json", **to)).splitlines())
    assert {event["type"] for event in events} == {"event"}
    assert events[-1]["kind"] == "done"
    assert (last["type"], last["job"], last["state"]) == ("job", job, "done")
    assert sorted(os.listdir(tmp_path)) == sorted(last["files"]) != []

    shown = said(salon("show", job, **to))
    for pair in ("state +done", "prompt +a red apple", "what +2 pictures, 8 x 8, seed 7", "how +3 steps, euler"):
        assert re.search(rf"^{pair}", shown, re.M), shown
    assert said(salon("jobs", **to)).splitlines()[1].startswith(f"{job}  done ")
    server.hold = True
    waiting = said(salon("imagine", "a", "whale", "--detach", **to)).strip()
    assert [one["job"] for one in json.loads(said(salon("jobs", "--state", "queued", "--json", **to)))] == [waiting]
    assert said(salon("cancel", waiting, **to)) == f"{waiting} cancelled\n"
    assert said(salon("delete", job, waiting, **to)) == f"{job} deleted\n{waiting} deleted\n"
    assert salon("show", job, **to).returncode == 2
    assert "no jobs" in said(salon("jobs", **to))
    assert json.loads(said(salon("info", "--json", **to)))["account"] == "local"


def test_operators(salon: Salon, server: FakeServer) -> None:
    to = {"SALON_SERVER": server.address}
    ada = "0123456789abcdef" * 4
    assert said(salon("ops", "pause", **to)) == "paused\n"
    assert json.loads(said(salon("ops", "status", "--json", **to)))["state"] == "paused"
    assert said(salon("ops", "resume", **to)) == "resumed\n"
    for words in (["status"], ["top", "--once"], ["workers"]):
        assert "worker" in said(salon("ops", *words, **to))
    assert "Ada" in said(salon("ops", "accounts", "set", ada, "--name", "Ada", "--plan", "basic", **to))
    assert json.loads(said(salon("ops", "grant", ada, "7.5", "--json", **to)))["fast_ms"]["bought"] == 450_000
    assert ada in said(salon("ops", "accounts", **to))
    entries = json.loads(said(salon("ops", "ledger", ada, "--json", **to)))["entries"]
    assert 450_000 in [entry["amount_ms"] for entry in entries]
    assert salon("ops", "drain", "--wait", **to).returncode == 0
    refused = salon("imagine", "a", "cat", "--detach", **to)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert said(salon("ops", "resume", **to)) == "resumed\n"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["imagine", "a cat", "--steps", "1000"], "steps"),
        (["imagine", "x" * 6001], "prompt"),
        (["show", "nope"], "job"),
    ],
)
def test_what_is_refused_is_one_line(salon: Salon, server: FakeServer, words: list[str], name: str) -> None:
    result = salon(*words, "--server", server.address)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(rf"salon: error: {name}: got .*\n", result.stderr), result.stderr


def test_a_job_that_fails(salon: Salon) -> None:
    with FakeServer(fail="out of memory") as server:
        result = salon("imagine", "a", "cat", "--quiet", "--server", server.address)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"salon: error: job job-1 failed: .*out of memory\n", result.stderr)


def test_a_key_of_ones_own(salon: Salon) -> None:
    """The key file that it makes is its account with an encrypted server."""
    account = salon("keys").stdout.strip()
    assert said(salon("keys", "--show")) == f"{account}\n"
    with FakeServer(pair=make_pair()) as server:
        assert json.loads(said(salon("info", "--json", "--server", server.address)))["account"] == account
        assert "1 picture" in salon("imagine", "a", "cat", "--n", "1", "--server", server.address).stderr
        assert [job.account for job in server.jobs.values()] == [account]
    with FakeServer(pair=make_pair(), let_in=[]) as server:
        result = salon("info", "--timeout", "30", "--server", server.address)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
