"""What needs no server: keys, refusals of flags that belong to the other way of computing, nobody there."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from salon.frontends.commands.remote import _put_preview
from salon.frontends.wire.keys import load_pair

from .conftest import Main, Salon

SERVER = "tcp://127.0.0.1:9"


def test_keys_are_made_once_and_the_secret_stays_where_it_is(main: Main, tmp_path: Path) -> None:
    code, account, note = main("keys")
    pair = load_pair(tmp_path / "home" / "key")
    assert (code, account) == (0, pair.public + "\n")
    assert "made a key pair in" in note
    assert stat.S_IMODE((tmp_path / "home" / "key").stat().st_mode) == 0o600
    assert main("keys") == (0, account, "")
    assert main("keys", "--show") == (0, account, "")
    code, out, err = main("keys", "--json")
    assert json.loads(out) == {"account": pair.public, "file": str(tmp_path / "home" / "key"), "made": False}
    assert pair.secret not in account + note + out + err


def test_no_keys_to_show(main: Main, tmp_path: Path) -> None:
    code, out, err = main("keys", "--show")
    assert (code, out) == (2, "")
    assert err.startswith(f"salon: error: key file {tmp_path}/home/key: got no file")
    assert not (tmp_path / "home").exists()


def test_a_key_that_others_can_read(main: Main, tmp_path: Path) -> None:
    main("keys")
    (tmp_path / "home" / "key").chmod(0o644)
    code, out, err = main("keys")
    assert (code, out) == (2, "")
    assert "got mode 0644" in err


@pytest.mark.parametrize(
    "words",
    [["jobs"], ["show", "j"], ["cancel", "j"], ["delete", "j"], ["info"], ["ops", "status"], ["ops", "top"]]
    + [["ops", "workers"], ["ops", "pause"], ["ops", "resume"], ["ops", "drain"], ["ops", "retry", "j"]]
    + [["ops", "accounts"], ["ops", "accounts", "set", "local"], ["ops", "grant", "local", "1"], ["ops", "ledger"]],
    ids=" ".join,
)
def test_no_server_is_named(main: Main, words: list[str]) -> None:
    line = "salon: error: no server; set SALON_SERVER, or pass --server tcp://localhost:5599\n"
    assert main(*words) == (2, "", line)


def test_an_empty_server_is_none(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALON_SERVER", "")
    assert main("jobs")[2].startswith("salon: error: no server; ")
    assert main("jobs", "--server", " ")[2].startswith("salon: error: --server: got ''")


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--lane", "fast"], "lane"),  # also where it is the default: it was typed
        (["--private"], "private"),
        (["--p"], "p"),
        (["--p", "ink::2", "@ann"], "p"),
        (["--detach"], "detach"),
        (["--preview", "x.jpg"], "preview"),
        (["--timeout", "5"], "timeout"),
    ],
)
def test_flags_that_need_a_server(main: Main, flags: list[str], name: str) -> None:
    remedy = "start one with salon serve and set SALON_SERVER, pass --server tcp://localhost:5599, or drop it"
    line = f"salon: error: --{name}: got it without a server, allowed with one; {remedy}\n"
    assert main("imagine", "a cat", *flags) == (2, "", line)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--model", "x"], "model"),
        (["--backend", "cpu"], "backend"),
        (["--device", "cuda:0"], "device"),
        (["--isa", "avx2"], "isa"),
        (["--dtype", "float32"], "dtype"),
        (["--threads", "1"], "threads"),
    ],
)
def test_flags_that_a_server_decides(main: Main, monkeypatch: pytest.MonkeyPatch, flags: list[str], name: str) -> None:
    line = f"salon: error: --{name}: got it with a server, allowed without one; drop it, or compute here: "
    assert main("imagine", "x", "--server", SERVER, *flags) == (2, "", f"{line}drop --server\n")
    monkeypatch.setenv("SALON_SERVER", SERVER)
    assert main("imagine", "x", *flags) == (2, "", f"{line}unset SALON_SERVER\n")


def test_what_can_be_refused_is_refused_before_anything_is_sent(main: Main, tmp_path: Path) -> None:
    """These servers do not exist; a connection would take the whole timeout, and exit with 3."""
    there = ["imagine", "x", "--server", SERVER, "--timeout", "30"]
    assert "output 'nowhere/deep': got" not in main(*there, "-o", "nowhere/deep/")[2]
    assert main(*there, "-o", "nowhere/deep/")[0] == 2
    (tmp_path / "x.png").touch()
    assert "a file that exists" in main(*there, "-o", "x.png")[2]
    assert "in a folder that does not exist" in main(*there, "--preview", "nowhere/x.jpg")[2]
    assert "a folder" in main(*there, "--preview", ".")[2]
    assert "File name too long (ENAMETOOLONG); choose a shorter one" in main(*there, "--preview", "x" * 300)[2]
    assert main("imagine", " ", "--server", SERVER)[2].startswith("salon: error: prompt: got no words")


def test_addresses_are_read_before_they_are_used(main: Main) -> None:
    code, out, err = main("jobs", "--server", "localhost:5599")
    assert (code, out) == (2, "")
    assert err.startswith("salon: error: address: got 'localhost:5599'")


def test_nobody_is_there(salon: Salon, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        place = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        env = {**os.environ, "SALON_SERVER": place, "SALON_KEY": str(tmp_path / "key")}
        result = salon("jobs", "--timeout", "0.5", env=env)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.startswith(f"salon: error: server {place}: got ")
    assert result.stderr.count("\n") == 1


def test_a_preview_whose_spare_name_is_too_long_costs_no_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _put_preview(tmp_path / ("x" * 250), b"a JPEG")
    assert (
        capsys.readouterr().err
        == f"salon: note: preview '{tmp_path}/{'x' * 250}': File name too long (ENAMETOOLONG); choose a shorter one\n"
    )
