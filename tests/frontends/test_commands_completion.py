"""The completion scripts, run by the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from salon.frontends.arguments import LANES, parser
from salon.frontends.commands.completion import script, walk
from salon.frontends.commands.flags_jobs import STATES

from .conftest import Salon

COMMANDS = {command.path: command for command in walk(parser("1.2.3"))}
ASK = """
source <({salon})
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_salon 2>/dev/null
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def complete(*words: str, folder: Path | None = None) -> list[str]:
    """What bash offers after `salon WORDS`, with the cursor behind the last one."""
    text = ASK.format(salon=f"cat <<'END'\n{script('bash')}END\n")
    done = subprocess.run(
        ["bash", "--norc", "-c", text, "bash", "salon", *words], capture_output=True, text=True, timeout=300, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


def test_commands() -> None:
    assert complete("") == list(COMMANDS[""].below)
    assert complete("ops", "") == list(COMMANDS["ops"].below)
    assert complete("c") == ["cancel", "chat", "completion"]
    assert complete("ops", "accounts", "s") == ["set"]
    assert complete("ops", "st") == ["status"]


@pytest.mark.parametrize("path", COMMANDS)
def test_flags(path: str) -> None:
    """All flags of every command, and none of another's."""
    flags = [name for flag in COMMANDS[path].flags for name in flag.names if name.startswith("--")]
    assert complete(*path.split(), "--") == flags
    assert "--help" in flags


def test_values() -> None:
    assert complete("imagine", "a cat", "--lane", "") == list(LANES)
    assert complete("imagine", "--private", "--lane", "=", "t") == ["turbo"]
    assert complete("imagine", "--lane", "=") == list(LANES)
    assert complete("jobs", "--state", "") == list(STATES)
    assert complete("completion", "") == ["bash", "zsh", "fish"]
    assert complete("ops", "grant", "--source", "b") == ["bought", "bonus"]
    assert complete("jobs", "--limit", "") == []  # any number: nothing to offer
    assert complete("imagine", "jobs", "--sol") == ["--solver"]  # a prompt's word is no command


def test_files(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.png").touch()
    assert complete("serve", "--data", "f", folder=tmp_path) == ["folder"]
    assert sorted(complete("imagine", "x", "-o", "f", folder=tmp_path)) == ["file.png", "folder"]


def test_the_command_prints_it(salon: Salon) -> None:
    result = salon("completion", "bash")
    assert (result.returncode, result.stdout, result.stderr) == (0, script("bash"), "")


def test_bash_registers_it() -> None:
    done = subprocess.run(
        ["bash", "--norc", "-c", "source /dev/stdin && complete -p salon"],
        input=script("bash"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "complete -F _salon salon\n", "")


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_syntax(shell: str, check: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script(shell))
    done = subprocess.run([shell, check, str(path)], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_others_know_every_command_and_flag(shell: str) -> None:
    text = script(shell)
    for command in COMMANDS.values():
        for name in command.below:
            assert f"{command.path}:{name}" in text
        for flag in command.flags:
            for name in flag.names:
                assert name in text or f"-l {name[2:]}" in text or f"-s {name[1:]}" in text


def test_zsh_offers_the_same(tmp_path: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    path = tmp_path / "_salon"
    path.write_text(script("zsh"))
    stubs = "compdef() { :; }; compadd() { print -l -- $@[2,-1] }; _files() { print files }; "
    stubs += "_describe() { print -l -- ${${(P)2}%%:*} }; "
    ask = stubs + 'source "$1"; shift; words=("$@"); CURRENT=$#; _salon'

    def offered(*words: str) -> list[str]:
        done = subprocess.run(
            ["zsh", "-f", "-c", ask, "zsh", str(path), "salon", *words], capture_output=True, text=True, timeout=300
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    assert offered("") == list(COMMANDS[""].below)
    assert offered("ops", "") == list(COMMANDS["ops"].below)
    assert offered("imagine", "x", "--lane", "") == list(LANES)
    assert offered("ops", "accounts", "set", "--")[2:4] == ["--name", "--plan"]


def test_fish_offers_the_same(tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    path = tmp_path / "salon.fish"
    path.write_text(script("fish"))

    def offered(line: str) -> set[str]:
        done = subprocess.run(
            ["fish", "-N", "-c", f"source {path}; complete -C '{line}'"],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        return {found.partition("\t")[0] for found in done.stdout.splitlines()}

    assert offered("salon ") == set(COMMANDS[""].below)
    assert offered("salon ops ") == set(COMMANDS["ops"].below)
    assert offered("salon imagine x --lane ") == set(LANES)
    assert offered("salon imagine x --so") == {"--solver"}
