"""The commands against a real server, which is a process of its own.

The first command is one too, and so are those that are interrupted; the others are run in this process.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salon.errors import SalonError
from salon.frontends.client.client import Client
from salon.frontends.recipe import plain, read_png

from .conftest import Made, Main, Result, Salon, finish, start

Run = Callable[..., Result]
Serving = tuple[subprocess.Popen[str], dict[str, str]]
WORDS = ["imagine", "a red apple,", "on teal", "--n", "2", "--steps", "2", "--seed", "7", "--ar", "2:1"]  # as in `made`


def listening(process: subprocess.Popen[str]) -> str:
    """The address that a starting server prints."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 180)[0], "it says nothing"
    for line in process.stdout:
        if match := re.search(r"SALON_SERVER='([^']+)'", line):
            return match[1]
        assert line.startswith("Salon's page: http"), line
    raise AssertionError("it says nothing")


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server, and the environment in which clients find it. Encrypted: the first user is its operator."""
    folder = tmp_path_factory.mktemp("serving")
    env = {**os.environ, "SALON_KEY": str(folder / "key"), "TZ": "UTC"}
    env.pop("SALON_SERVER", None)
    words = ["serve", "--listen", "tcp://127.0.0.1:0", "--data", "data", "--metrics", "off", "--curve"]
    with open(folder / "log", "w") as log:
        process = start(words, folder, env=env, stderr=log)
        try:
            yield process, {**env, "SALON_SERVER": listening(process)}
        finally:
            process.terminate()
            process.communicate(timeout=180)


@pytest.fixture
def salon(serving: Serving, main: Main, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `salon WORDS` in an empty folder, as a client of the server, in this process."""

    def run(*words: str, **more: str) -> Result:
        with monkeypatch.context() as patch:
            for name in ("SALON_SERVER", "SALON_KEY", "TZ"):
                patch.setenv(name, more.get(name, serving[1][name]))
            return subprocess.CompletedProcess(words, *main(*words))

    return run


def test_the_same_pictures_as_here(serving: Serving, made: Made, tmp_path: Path) -> None:
    """The same words make the same files with the same pixels, on a server or in one's own process."""
    result = finish(start([*WORDS, "--preview", "unfinished.jpg"], tmp_path, env=serving[1]))
    assert result.returncode == 0, result.stderr
    folder, here = made
    assert result.stdout == here.stdout
    for name in result.stdout.split():
        (pixels, recipe), (expected, original) = read_png(tmp_path / name), read_png(folder / name)
        assert np.array_equal(pixels, expected)
        assert recipe.spec == original.spec
    lines = result.stderr.splitlines()
    assert re.fullmatch(r"2 pictures, 192 x 96, 2 steps, seed 7, job \S+, lane fast", lines[0])
    assert lines[-1].startswith("made in ")


def test_a_picture_is_made_again_there(serving: Serving, salon: Run, here: Salon, made: Made, tmp_path: Path) -> None:
    """By the command and by the client: the same pixels. What it starts from is brought along, or has to be there."""
    apple = made[0] / next(name for name in made[1].stdout.split() if name.endswith("-2.png"))
    result = salon("reproduce", str(apple), "-o", "again.png")
    assert (result.returncode, result.stdout) == (0, "the same pixels\nagain.png\n"), result.stderr
    assert (tmp_path / "again.png").read_bytes() == apple.read_bytes()
    Image.fromarray(read_png(apple)[0]).save(tmp_path / "plain.png")
    words = ["vary", "plain.png", "an apple", "--n", "1", "--steps", "2", "--quiet", "-o", "near.png"]
    alone = here(*words)
    assert alone.returncode == 0, alone.stderr
    refused = salon("reproduce", "near.png")
    assert refused.returncode == 2
    assert "start picture: got picture " in refused.stderr
    told = salon("reproduce", "near.png", "--reference", "plain.png", "--json")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert (found["same"], found["job"]["kind"]) == (True, "reproduce")
    with Client(serving[1]["SALON_SERVER"], key=serving[1]["SALON_KEY"]) as client:
        again = client.reproduce(tmp_path / "near.png", timeout_s=180)
        assert again.same
        assert again.expected == again.made == found["made"]
        assert again.file == client.job(again.job.id).picture(0)


def test_the_same_styles_as_here(salon: Run, here: Salon, tmp_path: Path) -> None:
    """`--sref FILE` brings the picture along; a number and strengths go as they are."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (90, 60, 3)).astype(np.uint8)).save(tmp_path / "poster.jpg")
    words = ["imagine", "a red apple", "--n", "1", "--steps", "1", "--seed", "7", "--sref", "poster.jpg", "4093::2"]
    words += ["--sw", "150", "--s", "50", "--json"]
    there = json.loads(salon(*words, "-o", "there.png").stdout)
    alone = json.loads(here(*words, "-o", "here.png").stdout)
    (pixels, recipe), (expected, original) = read_png(tmp_path / "there.png"), read_png(tmp_path / "here.png")
    assert np.array_equal(pixels, expected)
    assert recipe.spec == original.spec
    assert len(recipe.spec.adapters) == 3
    assert there["recipe"]["spec"] == alone["recipe"]["spec"]
    shown = salon("show", there["job"]["job"]).stdout
    assert re.search(r"style +default 0.2, picture [0-9a-f]{12} \S+, number 4093 ", shown), shown
    refused = salon("imagine", "cat", "--sref", "ab" * 32)
    assert refused.returncode == 2
    assert "bring the picture again (salon imagine does, given its file" in refused.stderr


def test_the_same_start_as_here(salon: Run, here: Salon, tmp_path: Path) -> None:
    """`--image` and `--mask` bring their files along; a picture that the server made needs none."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (60, 90, 3)).astype(np.uint8)).save(tmp_path / "photo.jpg")
    mask = Image.new("L", (90, 60))
    mask.paste(255, (0, 0, 40, 60))
    mask.save(tmp_path / "mask.png")
    words = ["imagine", "a red apple", "--n", "1", "--steps", "2", "--seed", "7", "--image", "photo.jpg"]
    words += ["--mask", "mask.png", "--strength", "0.9", "--feather", "3", "--json"]
    made = salon(*words, "-o", "there.png")
    assert made.returncode == 0, made.stderr
    there = json.loads(made.stdout)
    alone = json.loads(here(*words, "-o", "here.png").stdout)
    (pixels, recipe), (expected, original) = read_png(tmp_path / "there.png"), read_png(tmp_path / "here.png")
    assert pixels.shape == (112, 160, 3)
    assert np.array_equal(pixels, expected)
    assert recipe.spec == original.spec
    assert there["recipe"]["spec"] == alone["recipe"]["spec"]
    assert there["job"]["steps"] == 1
    digest = hashlib.sha256((tmp_path / "there.png").read_bytes()).hexdigest()
    again = ["imagine", "a cat", "--n", "1", "--seed", "8", "--image", digest, "--strength", "0", "-o", "again.png"]
    assert salon(*again).returncode == 0
    assert np.array_equal(read_png(tmp_path / "again.png")[0], pixels)


def test_the_same_image_prompts_as_here(salon: Run, here: Salon, tmp_path: Path) -> None:
    """Pictures before the words are brought along, a job's by its number; a blend has no words."""
    rng = np.random.default_rng(0)
    for name in ("one.jpg", "two.png"):
        Image.fromarray(rng.integers(0, 255, (60, 90, 3)).astype(np.uint8)).save(tmp_path / name)
    more = ["--n", "1", "--steps", "2", "--seed", "7", "--json"]
    jobs = []
    for prompt in ("one.jpg two.png a red apple --iw 2", "one.jpg two.png --blend", "one.jpg a red apple --iw 0"):
        made = salon("imagine", prompt, *more, "-o", "there.png", "--force")
        assert made.returncode == 0, made.stderr
        there = json.loads(made.stdout)
        alone = json.loads(here("imagine", prompt, *more, "-o", "here.png", "--force").stdout)
        assert np.array_equal(read_png(tmp_path / "there.png")[0], read_png(tmp_path / "here.png")[0])
        assert there["recipe"]["spec"] == alone["recipe"]["spec"]
        jobs.append(there["job"]["job"])
    blended = salon("blend", "one.jpg", "two.png", *more, "-o", "kind.png")
    assert blended.returncode == 0, blended.stderr
    whole = salon("imagine", "one.jpg two.png --blend", *more, "-o", "blend.png")
    assert np.array_equal(read_png(tmp_path / "kind.png")[0], read_png(tmp_path / "blend.png")[0]), whole.stderr
    of_jobs = salon("blend", jobs[0], "1", jobs[1], "1", *more, "-o", "jobs.png")
    assert of_jobs.returncode == 0, of_jobs.stderr
    told = json.loads(of_jobs.stdout)["job"]
    assert [source["job"] for source in told["sources"]] == jobs[:2]
    named = salon("imagine", f"{jobs[0]}:1 {jobs[1]}:1", *more, "-o", "named.png")
    assert named.returncode == 0, named.stderr
    assert np.array_equal(read_png(tmp_path / "named.png")[0], read_png(tmp_path / "jobs.png")[0])
    planned = json.loads(salon("plan", "one.jpg two.png a red apple", "--json").stdout)["jobs"][0]
    assert len(planned["parameters"]["image_prompts"]) == 2
    refused = salon("imagine", f"{jobs[0]}:2 a cat")
    assert refused.returncode == 2
    assert f"image prompt: got picture 2 of job {jobs[0]}, allowed 1 to 1" in refused.stderr


def test_the_same_guidance_as_here(salon: Run, here: Salon, serving: Serving, tmp_path: Path) -> None:
    """`--no` on a server and here; texts with weights from a program on a server."""
    words = [
        "imagine",
        "a cat",
        "--n",
        "1",
        "--steps",
        "1",
        "--seed",
        "7",
        "--ar",
        "2:1",
        "--no",
        "red, a hat",
        "--json",
    ]
    there = json.loads(salon(*words, "-o", "there.png").stdout)
    alone = json.loads(here(*words, "-o", "here.png").stdout)
    assert np.array_equal(read_png(tmp_path / "there.png")[0], read_png(tmp_path / "here.png")[0])
    assert there["recipe"]["spec"] == alone["recipe"]["spec"]
    assert there["recipe"]["spec"]["terms"] == [{"text": "red", "weight": -0.5}, {"text": "a hat", "weight": -0.5}]
    shown = salon("show", there["job"]["job"]).stdout
    assert re.search(r"weights +prompt 1, red -0.5, a hat -0.5", shown), shown
    env = serving[1]
    with Client(env["SALON_SERVER"], key=env["SALON_KEY"]) as client:
        job = client.imagine("a cat", images=1, steps=1, terms=[("a dog", 3)], no="red", width=64, height=64)
        assert job.wait(timeout_s=180).state == "done"
        assert (job.info.prompt_weight, job.info.terms) == (0.25, {"a dog": 0.75, "red": -0.5})
        with pytest.raises(SalonError, match=r"^weights: got 1 - 1, allowed a sum above 0"):
            client.imagine("a cat", terms=[("a dog", -1)])


def test_a_job_from_its_start_to_its_end(salon: Run, tmp_path: Path) -> None:
    detached = salon("imagine", "a whale", "--n", "1", "--steps", "2", "--detach")
    assert (detached.returncode, detached.stderr) == (0, "")
    job = detached.stdout.strip()
    followed = salon("show", job, "--follow", "-o", ".", "--json")
    assert followed.returncode == 0, followed.stderr
    *events, last = map(json.loads, followed.stdout.splitlines())
    assert [event["type"] for event in events] == ["event"] * len(events)
    assert events[-1]["kind"] == "done"
    assert (last["type"], last["job"], last["state"]) == ("job", job, "done")
    (file,) = last["files"]
    assert re.fullmatch(r"a-whale-\d+\.png", file)
    assert read_png(tmp_path / file)[1].spec.prompt == "a whale"

    listed = salon("jobs", "--limit", "1")
    assert listed.stdout.splitlines()[1].startswith(f"{job}  done ")
    assert salon("delete", job).stdout == f"{job} deleted\n"
    assert salon("show", job, "-o", "again.png").returncode == 2
    assert not (tmp_path / "again.png").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_is_cancelled(
    serving: tuple[subprocess.Popen[str], dict[str, str]], salon: Run, tmp_path: Path, number: int, code: int
) -> None:
    process = start(["imagine", "a cat", "--steps", "200", "--n", "8"], tmp_path, env=serving[1])
    assert process.stderr is not None
    assert select.select([process.stderr], [], [], 180)[0]
    match = re.search(r"job (\S+),", process.stderr.readline())
    assert match is not None
    process.send_signal(number)
    result = finish(process)
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.splitlines()[-1] == f"salon: error: interrupted; job {match[1]} is cancelled"
    assert json.loads(salon("show", match[1], "--json").stdout)["state"] == "cancelled"
    assert os.listdir(tmp_path) == []


def test_json_has_the_recipe(salon: Run, tmp_path: Path) -> None:
    found = json.loads(salon("imagine", "a cat, ä", "--n", "1", "--steps", "1", "--json").stdout)
    assert found["recipe"] == json.loads(json.dumps(plain(read_png(tmp_path / found["files"][0])[1])))
    assert found["recipe"]["spec"]["prompt"] == "a cat, ä"


def test_running_jobs_can_be_listed(salon: Run) -> None:
    job = salon("imagine", "a cat", "--steps", "200", "--n", "8", "--detach").stdout.strip()
    try:
        end = time.monotonic() + 60
        while json.loads(salon("show", job, "--json").stdout)["state"] == "queued":
            assert time.monotonic() < end
            time.sleep(0.05)
        listed = json.loads(salon("jobs", "--state", "running", "--json").stdout)
        waiting = json.loads(salon("jobs", "--state", "queued", "--json").stdout)
        on_top = json.loads(salon("ops", "top", "--json").stdout)["jobs"]
    finally:
        salon("cancel", job)
    assert [[found["job"] for found in jobs] for jobs in (listed, waiting, on_top)] == [[job], [], [job]]


def test_what_the_server_refuses_is_one_line(salon: Run, tmp_path: Path) -> None:
    """faults.md 17: `--private` was refused as `--stealth`, `jobs --account` as `list:`."""
    other = str(tmp_path / "plain")
    account = salon("keys", SALON_KEY=other).stdout.strip()
    assert salon("ops", "accounts", "set", account, "--plan", "basic").returncode == 0
    for words, refusal in (
        (("imagine", "a cat", "--private"), "--private: got a private job on the basic plan, allowed public images; "),
        (("imagine", "a cat", "--lane", "relax"), "--lane: got relax on the basic plan, allowed "),
        (("jobs", "--account", "*"), "--account: for operators only; "),
        (("info", "--account", "local"), "--account: for operators only; "),
    ):
        result = salon(*words, SALON_KEY=other)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith(f"salon: error: {refusal}"), result.stderr
        assert result.stderr.count("\n") == 1
    assert salon("show", "nope").returncode == 2


def test_strangers_are_turned_away(salon: Run, tmp_path: Path) -> None:
    result = salon("info", "--timeout", "30", SALON_KEY=str(tmp_path / "another"))
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    assert result.stderr.count("\n") == 1


def test_a_new_account(salon: Run, tmp_path: Path) -> None:
    other = str(tmp_path / "another")
    account = salon("keys", SALON_KEY=other).stdout.strip()
    opened = salon("ops", "accounts", "set", account, "--name", "Ada", "--plan", "basic")
    assert opened.returncode == 0, opened.stderr
    assert "name       Ada\n" in opened.stdout
    granted = salon("ops", "grant", account, "7.5", "--json", "--key", "first")
    assert json.loads(granted.stdout)["fast_ms"]["bought"] == 450_000
    granted = salon("ops", "grant", account, "7.5", "--json", "--key", "first")
    assert json.loads(granted.stdout)["fast_ms"]["bought"] == 450_000  # the same grant
    assert json.loads(salon("info", "--json", SALON_KEY=other).stdout)["name"] == "Ada"
    assert salon("ops", "status", SALON_KEY=other).returncode == 2  # no operator
    found = json.loads(salon("ops", "ledger", account, "--json").stdout)
    assert 450_000 in [entry["amount_ms"] for entry in found["entries"]]
    assert account in salon("ops", "accounts").stdout


def test_a_look_at_it(salon: Run) -> None:
    status = json.loads(salon("ops", "status", "--json").stdout)
    assert (status["state"], len(status["workers"])) == ("running", 1)
    for words in (["status"], ["top"], ["workers"]):
        assert "worker-0" in salon("ops", *words).stdout


def test_paused_jobs_wait(salon: Run) -> None:
    assert salon("ops", "pause").stdout == "paused\n"
    assert salon("ops", "pause").stdout == "was paused before\n"
    job = salon("imagine", "a cat", "--n", "1", "--steps", "1", "--detach").stdout.strip()
    assert json.loads(salon("show", job, "--json").stdout)["state"] == "queued"
    assert salon("cancel", job).stdout == f"{job} cancelled\n"
    assert salon("ops", "resume").stdout == "resumed\n"


def test_the_end(serving: tuple[subprocess.Popen[str], dict[str, str]], salon: Run) -> None:
    """Runs last: it drains and stops the server."""
    job = salon("imagine", "a cat", "--n", "1", "--steps", "30", "--detach").stdout.strip()
    result = salon("ops", "drain", "--stop", "--wait")
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "all jobs have ended, the server stops"), job
    end = time.monotonic() + 180
    while serving[0].poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert serving[0].returncode == 0
    assert salon("jobs", "--timeout", "0.5").returncode == 3
