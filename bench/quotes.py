"""Figures in pages, rendered from the result files they are quoted from: `python -m salon.bench.quotes [--write]`.

A quoted passage stands in a page (README.md, docs/, a card) between two comments, the first of which is its template:

    <!-- quote grid
    A step takes {grid: rows[candidate=Salon cpu].step_ms | .1f} ms ([grid.json](bench/results/grid.json)).
    -->
    A step takes 18.7 ms ([grid.json](bench/results/grid.json)).
    <!-- end of quote -->

`{FILE: EXPRESSION | FORMAT}`: FILE is a result in bench/results; EXPRESSION one value or several joined by `+`, `-`,
`*` or `/` with spaces around them, from left to right. A value is a number or a path of keys, where `rows[key=value]`
chooses the rows of a list by their cells ("~": that begin with it, "!": that are other), and `min`, `max` or `count`
before a path takes that of all that fit. FORMAT is Python's, or `2s` for two significant figures with thousands in
commas. `{FILE}` alone is the file's commit and date.

A test renders every template anew and compares, so a figure cannot stand where its file says another one; and every
file that is quoted must be of the shipped model (its shapes for figures of speed, all of it for figures of quality, see
`report.Report`). A result that cannot be taken again on this machine is quoted with `<!-- quote, kept: FILES`,
which is refused without the commit and date of each of them in the text.
"""

from __future__ import annotations

import argparse
import json
import math
import operator
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PAGES = ("README.md", "docs/*.md", "models/mini/README.md", "bench/README.md")
BLOCK = re.compile(
    r"<!-- quote(?P<kept>, kept:)? (?P<files>[\w, ]+)\n(?P<template>.*?)\n-->\n(?P<text>.*?)\n<!-- end of quote -->",
    re.DOTALL,
)
LINK = re.compile(r"\]\([^)]*results/([\w.]+\.json)\)")
FIELD = re.compile(r"\{([^{}]+)\}")
STEP = re.compile(r"(?:^|\.)([\w-]+)((?:\[[^\]]+\])*)")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip
REDUCE: dict[str, Callable[[list[Any]], Any]] = {"min": min, "max": max, "count": len}


class QuoteError(ValueError):
    """A template that cannot be rendered, with the field and the reason."""


@cache
def result(name: str) -> Mapping[str, Any]:
    """Return the result file `name`. Raise QuoteError if there is none."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        raise QuoteError(f"no result {path.name} in bench/results")
    return dict(json.loads(path.read_text()))


def provenance(name: str) -> str:
    """Return commit and date of a result, as a page shows them."""
    document = result(name)
    return f"{document['commit']}, {document['date'][:10]}"


def values(document: Any, path: str) -> list[Any]:
    """Return all values that a path leads to."""
    found, end = [document], 0
    for step in STEP.finditer(path):
        if step.start() != end:
            break
        end = step.end()
        found = [value[step[1]] for value in _rows(found) if step[1] in value]
        for condition in re.findall(r"\[([^\]]+)\]", step[2]):
            match = re.fullmatch(r"([^=~!]+)([=~!])(.*)", condition)
            if match is None:
                raise QuoteError(f"{path}: got [{condition}], want [key=value], [key~start] or [key!other]")
            key, how, want = match.groups()
            found = [row for row in _rows(found) if _fits(str(row.get(key, "")), how, want)]
    if end != len(path) or not path:
        raise QuoteError(f"{path!r} is no path: want keys with dots between them")
    return [value for value in found if value is not None]


def _rows(found: list[Any]) -> list[Mapping[str, Any]]:
    """Return the objects among these values, and in those that are lists."""
    each = [row for value in found for row in (value if isinstance(value, list) else [value])]
    return [row for row in each if isinstance(row, Mapping)]


def _fits(cell: str, how: str, want: str) -> bool:
    return cell == want if how == "=" else cell != want if how == "!" else cell.startswith(want)


def evaluate(document: Mapping[str, Any], expression: str) -> Any:
    """Return the value of an expression over one result.

    Raise QuoteError unless each path leads to exactly one value.
    """
    parts = re.split(r" ([-+*/]) ", expression.strip())
    total = _value(document, parts[0])
    for sign, part in zip(parts[1::2], parts[2::2], strict=True):
        other = _value(document, part)
        total = OPERATORS[sign](total, other)
    return total


def _value(document: Mapping[str, Any], text: str) -> Any:
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return float(text)
    word, _, rest = text.partition(" ")
    reduce = REDUCE.get(word)
    found = values(document, rest if reduce else text)
    if reduce and found:
        return reduce(found)
    if len(found) != 1:
        raise QuoteError(f"{text}: {len(found)} values, want one")
    return found[0]


def shown(value: Any, how: str) -> str:
    """Return a value in a format."""
    significant = re.fullmatch(r"(\d+)s", how)
    if significant:
        places = int(significant[1]) - 1 - math.floor(math.log10(abs(value))) if value else 0
        return f"{round(value, places):,.{max(0, places)}f}"
    return format(value, how)


def render(template: str) -> str:
    """Return the text of a template. Raise QuoteError for a field that cannot be filled."""

    def fill(field: re.Match[str]) -> str:
        name, colon, rest = field[1].partition(":")
        if not colon:
            return provenance(name.strip())
        expression, _, how = rest.partition(" | ")
        try:
            return shown(evaluate(result(name.strip()), expression), how.strip())
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise QuoteError(f"{{{field[1]}}}: {error}") from error

    return FIELD.sub(fill, template)


def pages() -> list[Path]:
    """Return all pages that may quote."""
    return sorted(path for pattern in PAGES for path in ROOT.glob(pattern))


def stale(name: str, model: Mapping[str, str]) -> bool:
    """Return whether a result is not of this model (see `facts.digests`), or of a run that was too small to be
    quoted."""
    document = result(name)
    tied = document["tied_to"]
    return bool(document["quick"]) or (tied != "nothing" and document["model"].get(tied) != model[tied])


def complaints(page: str, model: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the quotes of a page's text, in words."""
    found = []
    outside = BLOCK.sub("", page)
    found += [f"{name} is linked outside of a quote" for name in LINK.findall(outside)]
    if "<!-- quote" in outside or "<!-- end of quote" in outside:
        found.append("a quote is not closed, or its first line is not `<!-- quote NAME`")
    for block in BLOCK.finditer(page):
        names = [name.strip() for name in block["files"].split(",")]
        try:
            text = render(block["template"])
            used = {field.partition(":")[0].strip() for field in FIELD.findall(block["template"])}
            if used != set(names):
                found.append(f"the quote of {', '.join(names)} has figures of {', '.join(sorted(used))}")
            if text != block["text"]:
                found.append(f"the quote of {', '.join(names)} says otherwise than its results: run quotes --write")
            for name in names:
                if block["kept"] and provenance(name) not in block["text"]:
                    found.append(f"{name} is kept, and its commit and date ({{{name}}}) are not in the text")
                if not block["kept"] and stale(name, model):
                    found.append(f"{name} is of another model, or of a quick run: measure it again")
        except QuoteError as error:
            found.append(str(error))
    return found


def written(page: str) -> str:
    """Return a page's text with every quote rendered anew."""

    def anew(block: re.Match[str]) -> str:
        start, text = block.start("text") - block.start(), block["text"]
        return block[0][:start] + render(block["template"]) + block[0][start + len(text) :]

    return BLOCK.sub(anew, page)


def main(argv: list[str] | None = None) -> int:
    """Check all pages, or with --write render their quotes; 1 where something is wrong."""
    from .facts import SHIPPED, digests

    parser = argparse.ArgumentParser(prog="python -m salon.bench.quotes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="render every quote from its results")
    options = parser.parse_args(argv)
    model, wrong = digests(SHIPPED), 0
    for path in pages():
        text = path.read_text()
        if options.write:
            try:
                path.write_text(text := written(text))
            except QuoteError as error:
                print(f"{path.relative_to(ROOT)} is left as it is: {error}")
        for complaint in complaints(text, model):
            wrong += 1
            print(f"{path.relative_to(ROOT)}: {complaint}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
