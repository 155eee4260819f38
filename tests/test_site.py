"""The documentation's site has every page, and its reference names what exists. CI builds it (`mkdocs build`)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NAV = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_every_page_is_in_the_navigation_once() -> None:
    assert sorted(re.findall(r"(?:- |: )([\w/-]+\.md)$", NAV, re.M)) == PAGES


def defined(path: Path) -> set[str]:
    """Names of the classes and functions of a module."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, kinds)}


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("reference/")])
def test_the_reference_names_what_exists(page: str) -> None:
    for name, members in re.findall(
        r"^::: (\S+)\n(?:    .*\n)*?(?:      members: \[(.*)\]\n)?", (DOCS / page).read_text(), re.M
    ):
        parts = name.split(".")[1:]
        module = ROOT.joinpath(*parts).with_suffix(".py")
        names = set(filter(None, members.split(", ")))
        if not module.is_file():  # a name in a module
            module, names = ROOT.joinpath(*parts[:-1]).with_suffix(".py"), {parts[-1]}
        text = module.read_text()
        assert names <= defined(module) | set(re.findall(r"^from \S+ import (\w+) as \1$", text, re.M)), name
