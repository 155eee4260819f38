"""What the README says can be done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from salon.frontends.arguments import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return found


def test_there_are_two_commands() -> None:
    """.ci/run runs these two as they are written."""
    first, second = blocks("sh")
    assert re.search(r'pip install \. && salon imagine "[^"]+"\n$', first)
    assert second == "pip install '.[dev]' && python -m pytest\n"


@pytest.mark.parametrize(("number", "images"), [(0, 2), (1, 4)])
def test_the_programs_run(number: int, images: int) -> None:
    programs = blocks("python")
    assert len(programs) == 2
    names: dict[str, object] = {}
    exec(compile(programs[number], "README.md", "exec"), names)
    assert getattr(names["pictures"], "shape", None) == (images, 128, 128, 3)


def test_the_flags_exist() -> None:
    table = re.findall(r"^\| `(-.*?) *\|[^|]*\|$", README.replace(r"\|", "/"), re.MULTILINE)
    flags = re.findall(r"--?[a-z]+", " ".join(table))
    assert {"--ar", "--seed", "--json", "--threads", "-o"} <= set(flags)
    for flag in flags:
        if flag in ("--quiet", "--json"):
            parse(["imagine", "x", flag], "")
            continue
        values = {"--ar": "1:1", "--solver": "heun", "--backend": "cpu", "--dtype": "float32"}
        parse(["imagine", "x", flag, values.get(flag, "7")], "")


@pytest.mark.parametrize("page", ["README.md", "docs/map.md"])
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
