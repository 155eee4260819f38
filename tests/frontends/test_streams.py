"""Standard streams that are closed, full, or of another encoding cost no picture and hide no list (faults 19)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from salon.frontends.client.client import Client
from salon.frontends.client.fake import FakeServer
from salon.frontends.recipe import read_png

from .conftest import COMMAND, Salon

QUICK = ("--n", "1", "--steps", "1", "--seed", "2")


def closing(*files: int) -> Callable[[], None]:
    """What a shell does for `<&-`, `>&-` and `2>&-`."""

    def close() -> None:
        for file in files:
            os.close(file)

    return close


@pytest.mark.parametrize("files", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_picture_with_closed_streams(tmp_path: Path, files: tuple[int, ...]) -> None:
    """With standard error closed, the notes went to standard output and no picture was made; a lock, a PNG or a pipe
    became descriptor 1 or 2, and was written into."""
    command = [*COMMAND, "imagine", "apple", *QUICK]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, preexec_fn=closing(*files), timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (b"" if 1 in files else b"outputs/apple-2.png\n")
    assert (done.stderr == b"") == (2 in files)
    assert os.listdir(tmp_path) == ["outputs"]
    pixels, _ = read_png(tmp_path / "outputs" / "apple-2.png")
    assert pixels.std() > 0


def test_no_file_gets_the_number_of_a_stream() -> None:
    code = (
        "import os, sys\n"
        "from salon.frontends import streams\n"
        "streams.prepare()\n"
        "file = os.open(sys.argv[1], os.O_RDWR)\n"
        "assert [os.readlink(f'/proc/self/fd/{i}') for i in range(3)] == ['/dev/null'] * 3\n"
        "assert [os.get_inheritable(i) for i in range(3)] == [True] * 3\n"
        "print('x')\n"
        "print('x', file=sys.stderr)\n"
        "assert sys.stdin.read() == ''\n"
        "os._exit(40 + file)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, os.devnull], preexec_fn=closing(0, 1, 2), timeout=300)
    assert done.returncode == 43


@pytest.mark.parametrize("words", [("jobs",), ("jobs", "--json"), ("info",), ("--help",), ("keys",)])
def test_commands_without_standard_output(words: tuple[str, ...], salon: Salon, tmp_path: Path) -> None:
    """`salon jobs >&-` was an AttributeError."""
    with FakeServer() as server, Client(server.address) as client:
        client.imagine("a red apple")
        env = {**os.environ, "SALON_SERVER": server.address, "SALON_KEY": str(tmp_path / "key")}
        result = salon(*words, preexec_fn=closing(1), env=env)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def test_an_error_without_standard_error(salon: Salon) -> None:
    result = salon("imagine", "apple", "--steps", "x", preexec_fn=closing(2))
    assert (result.returncode, result.stdout, result.stderr) == (2, "", "")


def test_a_full_standard_error_costs_no_picture(salon: Salon, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        result = salon("imagine", "apple", *QUICK, stderr=full)
    assert (result.returncode, result.stdout) == (0, "outputs/apple-2.png\n")


def test_a_folder_that_is_no_utf8(tmp_path: Path) -> None:
    """Its name comes out byte for byte, for whatever reads it; it was an UnicodeEncodeError after all work was done."""
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    command = [*COMMAND, "imagine", "apple", *QUICK, "-o", os.fsdecode(b"caf\xe9")]
    env = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}  # as in any locale but C and POSIX
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=300, env=env)
    assert (done.returncode, done.stdout) == (0, b"caf\xe9/apple-2.png\n"), done.stderr
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, timeout=300, env=env)
    assert os.fsencode(json.loads(done.stdout)["files"][0]) == b"caf\xe9/apple-2-run2.png"


def test_characters_that_an_encoding_does_not_have(salon: Salon, tmp_path: Path) -> None:
    (tmp_path / "猫").mkdir()
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = salon("imagine", "apple", *QUICK, "-o", "猫", env=env)
    assert (result.returncode, result.stdout) == (0, "\\u732b/apple-2.png\n"), result.stderr
    assert os.listdir(tmp_path / "猫") == ["apple-2.png"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_one_foreign_prompt_does_not_hide_the_list(salon: Salon, encoding: str) -> None:
    with FakeServer() as server, Client(server.address) as client:
        for prompt in ("a red apple", "猫", "ein Käfer"):
            client.imagine(prompt)
        env = {**os.environ, "PYTHONIOENCODING": encoding, "SALON_SERVER": server.address}
        result = salon("jobs", env=env, encoding=encoding)
    assert result.returncode == 0, result.stderr
    shown = [line.split()[-1] for line in result.stdout.splitlines()[1:]]
    cat, beetle = ("猫" if encoding == "utf-8" else "\\u732b"), ("K\\xe4fer" if encoding == "ascii" else "Käfer")
    assert shown == [beetle, cat, "apple"]
