"""Errors of the system below a command, as file systems and limits cause them: told as they are, or none (faults 16).

Each of them was once blamed on something else: on standard output, on a lack of space, on rights, on the installation.
"""

from __future__ import annotations

import os
import resource
import select
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Main, Salon, finish, start

Faulty = Callable[[str], dict[str, str]]
QUICK = ("--n", "1", "--steps", "1", "--seed", "2")


def limited(count: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def test_a_folder_that_cannot_be_flushed_keeps_pictures(salon: Salon, faulty_calls: Faulty, tmp_path: Path) -> None:
    """SMB and WSL answer EINVAL: the picture was there, and the command exited with 2. Nor can every file system
    reserve space, which was told as a full disk."""
    result = salon("imagine", "apple", *QUICK, env=faulty_calls("fsync:folder:22 posix_fallocate:*:95"))
    assert (result.returncode, result.stdout) == (0, "outputs/apple-2.png\n"), result.stderr
    assert os.listdir(tmp_path / "outputs") == ["apple-2.png"]


def test_a_folder_whose_disk_fails_keeps_nothing(salon: Salon, faulty_calls: Faulty, tmp_path: Path) -> None:
    result = salon("imagine", "apple", *QUICK, env=faulty_calls("fsync:folder:5"))
    assert result.returncode == 2
    error = result.stderr.splitlines()[-1]
    assert error == (
        "salon: error: output 'outputs': cannot be written (fsync: Input/output error (EIO)); look at the system's log "
        "(dmesg), or choose another folder (-o says where)"
    )
    assert os.listdir(tmp_path) == []


def test_keys_where_folders_cannot_be_flushed_or_files_linked(
    salon: Salon, faulty_calls: Faulty, tmp_path: Path
) -> None:
    """`salon keys` exited with 2 though the key was made."""
    env = faulty_calls("fsync:folder:22 link:*:1") | {"SALON_KEY": str(tmp_path / "here" / "key")}
    made = salon("keys", env=env)
    assert made.returncode == 0, made.stderr
    assert salon("keys", "--show", env=env).stdout == made.stdout
    assert os.listdir(tmp_path / "here") == ["key"]


def test_a_key_that_cannot_be_written_leaves_nothing(salon: Salon, faulty_calls: Faulty, tmp_path: Path) -> None:
    """A failed start left its folders behind (faults 27)."""
    path = tmp_path / "a" / "b" / "key"
    env = faulty_calls("fsync:file:28") | {"SALON_KEY": str(path)}
    result = salon("keys", env=env)
    assert result.returncode == 2
    assert result.stderr == (
        f"salon: error: key file {path}: got fsync: No space left on device (ENOSPC), allowed space on that disk; make "
        "room there, or choose another folder\n"
    )
    assert os.listdir(tmp_path) == []


def test_a_server_starts_where_folders_cannot_be_flushed(faulty_calls: Faulty, tmp_path: Path) -> None:
    words = [
        "serve",
        "--data",
        "data",
        "--metrics",
        "off",
        "--listen",
        "tcp://127.0.0.1:0",
        "--in-process",
        "--http",
        "off",
    ]
    process = start(words, tmp_path, env=faulty_calls("fsync:folder:22"))
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 180)[0]
    assert process.stdout.readline().startswith("Salon listens.")
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (
            "flock:*:37",
            "/lock: got flock: No locks available (ENOLCK), allowed a file system that keeps locks; choose a",
        ),
        ("open:/lock:12", "/lock: got Cannot allocate memory (ENOMEM), allowed enough memory; free some memory"),
        ("open:/lock:24", "/lock: got Too many open files (EMFILE), allowed a free file descriptor; raise the limit"),
        ("open:/plans.toml:5", "plans.toml: got Input/output error (EIO), allowed a disk that works; look at"),
    ],
)
def test_a_server_says_why_it_cannot_start(salon: Salon, faulty_calls: Faulty, fault: str, text: str) -> None:
    result = salon("serve", "--data", "data", "--metrics", "off", "--in-process", env=faulty_calls(fault))
    assert result.returncode == 2
    assert text in result.stderr
    assert result.stderr.count("\n") == 1
    assert "standard output" not in result.stderr


@pytest.mark.parametrize(("number", "text"), [(12, "(ENOMEM)); free some memory"), (24, "(EMFILE)); raise the limit")])
@pytest.mark.parametrize("file", ["transformer/config.json", "text_encoder/model.safetensors"])
def test_a_model_that_cannot_be_read(salon: Salon, faulty_calls: Faulty, file: str, number: int, text: str) -> None:
    """Whatever it was, it was "check its rights"."""
    result = salon("imagine", "apple", *QUICK, env=faulty_calls(f"open:{file}:{number}"))
    assert result.returncode == 2
    assert f"{file}: cannot be read (" in result.stderr
    assert text in result.stderr


@pytest.mark.parametrize("count", [7, 16])  # as few as Python starts with, and almost enough
def test_too_few_descriptors_for_a_client(salon: Salon, count: int) -> None:
    """libzmq aborted the process (134)."""
    result = salon("jobs", "--server", "tcp://127.0.0.1:1", preexec_fn=limited(count))
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith(f"salon: error: client: got at most {count} file descriptors, ")
    assert result.stderr.endswith("; raise the limit: ulimit -n 1024\n")


@pytest.mark.parametrize("count", [14, 60])  # likewise
def test_too_few_descriptors_for_a_server(salon: Salon, tmp_path: Path, count: int) -> None:
    result = salon("serve", "--data", "data", preexec_fn=limited(count))
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith(f"salon: error: server: got at most {count} file descriptors, ")
    assert os.listdir(tmp_path) == []


def test_the_least_descriptors_are_enough(salon: Salon) -> None:
    """A client that was let through gets as far as with a thousand."""
    refused = salon("jobs", "--server", "tcp://127.0.0.1:1", preexec_fn=limited(7)).stderr
    least = int(refused.split("allowed at least ")[1].split(";")[0])
    result = salon("jobs", "--server", "tcp://127.0.0.1:1", "--timeout", "5", preexec_fn=limited(least))
    assert (result.returncode, "nobody listens there" in result.stderr) == (3, True), result.stderr


def test_what_cannot_be_written_is_standard_output_only_where_it_is(salon: Salon) -> None:
    with open("/dev/full", "w") as full:
        result = salon("--version", stdout=full, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        again = salon("--version", stdout=full)
    assert result.returncode == again.returncode == 2
    assert result.stderr == again.stderr
    assert result.stderr.startswith(
        "salon: error: standard output: No space left on device (ENOSPC); send it somewhere"
    )


def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave this process no home."""
    for name in ("HOME", "SALON_KEY", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("keys",), "home folder: WHO set SALON_KEY to the name of the key's file"),
        (("serve",), "home folder: WHO name a folder with --data"),
        (("imagine", "x", "-o", "~/x.png"), "-o: got '~/x.png' (no home for ~), allowed ~ for your home, ~NAME for a"),
        (("imagine", "x", "--model", "~/m"), "--model: got '~/m' (no home for ~), allowed ~ for your home"),
        (("imagine", "a __colour__ x"), "home folder: WHO set SALON_WILDCARDS to the folder of the lists"),
        (("serve", "--data", "~nosuch/x"), "--data: got '~nosuch/x' (no home for ~nosuch), allowed ~ for your home"),
        (("serve", "--plans", "~nosuch/x"), "--plans: got '~nosuch/x' (no home for ~nosuch), allowed ~ for your home"),
    ],
)
def test_no_home(main: Main, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str) -> None:
    """HOME unset and a user without an entry: a traceback (faults 20)."""
    nobody(monkeypatch)
    who = "got no HOME, and no user 54321 in the system's list, allowed one that is set; set HOME, or"
    code, _, err = main(*words)
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith(f"salon: error: {told.replace('WHO', who)}")


def test_no_home_where_none_is_needed(salon: Salon, faulty_calls: Faulty) -> None:
    """It was a traceback there, too. In a process of its own, whose system knows no such user."""
    env = faulty_calls("getuid:*:54321")
    for name in ("HOME", "SALON_KEY", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        env.pop(name, None)
    refused = salon("keys", env=env)
    assert (refused.returncode, "no user 54321 in the system's list" in refused.stderr) == (2, True), refused.stderr
    assert salon("completion", "bash", env=env).returncode == 0
    assert salon("imagine", "apple", *QUICK, env=env).stdout == "outputs/apple-2.png\n"


def test_a_tilde_means_home_for_every_path(salon: Salon, tmp_path: Path) -> None:
    """A shell leaves it to us in `--output=~/x.png`; some flags took it as the name of a folder."""
    env = {**os.environ, "HOME": str(tmp_path)}
    result = salon("imagine", "apple", *QUICK, "--output=~/x.png", env=env)
    assert (result.returncode, result.stdout) == (0, f"{tmp_path}/x.png\n"), result.stderr
    for words in (["--model=~/none"], ["--preview=~/none/x", "--server", "tcp://127.0.0.1:1"]):
        result = salon("imagine", "x", *words, env=env)
        assert result.returncode == 2
        assert f"{tmp_path}/none" in result.stderr
