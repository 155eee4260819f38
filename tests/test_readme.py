"""What the README says can be done."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from salon.frontends.arguments import parse
from salon.frontends.zmq.background import BackgroundServer
from salon.frontends.zmq.options import ServeOptions

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
USING = (ROOT / "docs" / "using.md").read_text()


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return found


def test_there_are_two_commands() -> None:
    """.ci/run runs these two as they are written."""
    first, second, *_ = blocks("sh")
    assert re.search(r'pip install \. && salon imagine "[^"]+"\n$', first)
    assert second == "pip install '.[dev]' && python -m pytest\n"


@pytest.mark.parametrize(("number", "images"), [(0, 2), (1, 4)])
def test_the_programs_run(number: int, images: int) -> None:
    programs = blocks("python")
    assert len(programs) == 3
    names: dict[str, object] = {}
    exec(compile(programs[number], "README.md", "exec"), names)
    assert getattr(names["pictures"], "shape", None) == (images, 128, 128, 3)


def test_the_client_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, address = blocks("python")[2], "tcp://127.0.0.1:5599"
    assert address in program
    monkeypatch.chdir(tmp_path)
    options = ServeOptions(listen=("tcp://127.0.0.1:0",), data=tmp_path / "data", metrics=None, grace_s=0.2)
    options.data.mkdir()
    names: dict[str, object] = {}
    with BackgroundServer(options) as server:
        exec(compile(program.replace(address, server.address), "README.md", "exec"), names)
    pictures = names["pictures"]
    assert isinstance(pictures, list)
    assert [picture.size for picture in pictures] == [(128, 128)] * 4
    assert len(list((tmp_path / "outputs").glob("*.png"))) == 5


def test_the_commands_of_the_server_exist() -> None:
    (commands,) = [block for block in blocks("sh") if "SALON_SERVER" in block]
    lines = [shlex.split(line) for line in commands.splitlines()]
    assert [parse(words[1:], "").command for words in lines if words[0] == "salon"] == ["imagine", "jobs", "ops top"]


def test_the_flags_exist() -> None:
    """`docs/parameters.md` is made from the list of parameters; this page is written by hand."""
    table = re.findall(r"^\| `(-.*?) *\|[^|]*\|$", USING, re.MULTILINE)
    flags = re.findall(r"--?[a-z]+", " ".join(table))
    assert {"--json", "--threads", "-o"} <= set(flags)
    for flag in flags:
        if flag in ("--quiet", "--json"):
            parse(["imagine", "x", flag], "")
            continue
        values = {"--ar": "1:1", "--solver": "heun", "--backend": "cpu", "--dtype": "float32"}
        parse(["imagine", "x", flag, values.get(flag, "7")], "")


@pytest.mark.parametrize(
    "page", ["README.md", "docs/map.md", "docs/using.md", "docs/measured.md", "docs/parameters.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in link or ((ROOT / page).parent / link).exists(), link


def test_the_map_is_true() -> None:
    text = (ROOT / "docs" / "map.md").read_text()
    paths = re.findall(r"`((?:\w+/)+(?:\w+\.\w+)?)`", text)
    modules = re.findall(r"^ {6}(\w+/\w+(?:/\w+)?) {2,}", text, re.MULTILINE)
    assert len(paths) > 20
    assert len(modules) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [path for path in modules if not (ROOT / f"{path}.py").exists()] == []
