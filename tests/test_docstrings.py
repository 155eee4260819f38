"""Docstrings are whole plain sentences, in every package of the wheel."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).parents[1]

# The docstring of a function begins with an imperative verb. None of these words is one.
NO_VERBS = {
    *("A", "All", "An", "Any", "As", "At", "By", "Each", "Every", "For", "From", "How", "If", "In", "It", "Its", "No"),
    *("Nobody", "Nothing", "Of", "Off", "On", "Once", "Only", "Somebody", "Something", "That", "The", "Their", "These"),
    *("This", "Those", "To", "True", "Until", "What", "When", "Where", "Whether", "Which", "Who", "Why", "With"),
}
RIDDLES = ("at hand", "it is told", "nobody", "somebody", "that is none", "twice is", "whoever")  # who, or what?
PROPERTIES = ("property", "cached_property", "setter")  # the docstring of one names what it is

Documented: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module


def wheel_files() -> list[Path]:
    """Return every Python file that the wheel has."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["scikit-build"]["wheel"]["packages"]
    places = [ROOT / place for place in wheel.values()]
    files = {path for place in places for path in ([place] if place.is_file() else place.rglob("*.py"))}
    return sorted(path for path in files if path.suffix == ".py")


def docstrings(text: str) -> Iterator[tuple[Documented, str]]:
    """Yield everything in a file that has a docstring, with that."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Documented) and (docstring := ast.get_docstring(node)):
            yield node, docstring


def faults(node: Documented, docstring: str) -> Iterator[str]:
    """Yield what is wrong with a docstring."""
    start = re.split(r"\n\s*\n|\n(?=(?:Args|Attributes|Raises|Returns):\n)", docstring, maxsplit=1)[0].rstrip()
    if not (start[0].isupper() or start[0] in "`'\""):
        yield "begin with a capital"
    if not start.endswith((".", ":", "with")):  # what follows goes on with it: an example, a list
        yield "end the first sentence with a full stop"
    if found := [word for word in RIDDLES if re.search(rf"\b{word}\b", docstring[0].lower() + docstring[1:])]:
        yield f"say who or what is meant by {', '.join(map(repr, found))}"
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        kinds = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
        word = start.split()[0].rstrip(".,:;")
        if not kinds & {*PROPERTIES} and (
            word in NO_VERBS or word.endswith("Error") or not re.fullmatch(r"[A-Z][a-z-]+", word)
        ):
            yield "begin with a verb"


def identify(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def looked_at(path: Path) -> tuple[int, list[str]]:
    """Return how many docstrings a file has, and what is wrong with them. A file is parsed once."""
    found = list(docstrings(path.read_text()))
    return len(found), [
        f"{identify(path)}:{getattr(node, 'lineno', 1)}: {fault}: {docstring.splitlines()[0]}"
        for node, docstring in found
        for fault in faults(node, docstring)
    ]


@pytest.mark.parametrize("path", wheel_files(), ids=identify)
def test_a_docstring_is_made_of_whole_plain_sentences(path: Path) -> None:
    _, wrong = looked_at(path)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("docstring", "fault"),
    [
        ("Return the tokens of a prompt.", ""),
        ("See `Backend`.", ""),
        ("The tokens of a prompt.", "begin with a verb"),
        ("ValueError unless there are tokens.", "begin with a verb"),
        ("(tokens, states) of a prompt.", "begin with a capital"),
        ("Return the tokens of a prompt", "end the first sentence with a full stop"),
        ("Return the tokens.\n\nThey wake whoever waits.", "say who or what is meant by 'whoever'"),
    ],
)
def test_the_rules_find_what_breaks_them(docstring: str, fault: str) -> None:
    ((node, text),) = docstrings(f'def tokens():\n    """{docstring}"""\n')
    assert next(faults(node, text), "") == fault


def test_a_property_may_name_what_it_is() -> None:
    ((node, text),) = docstrings('@cached_property\ndef tokens(self):\n    """The tokens of a prompt."""\n')
    assert not list(faults(node, text))


def test_the_packages_of_the_wheel_are_looked_at() -> None:
    files = wheel_files()
    found = {path.relative_to(ROOT).parts[0] for path in files}
    assert {"__init__.py", "bench", "engine", "frontends", "kernels", "models", "studio"} <= found
    assert sum(looked_at(path)[0] for path in files) > 2_000
