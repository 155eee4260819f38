"""What commands print: tables and pairs for people, one JSON value for programs.

On a terminal, tables are rich's, cut to its width and coloured (not with NO_COLOR); elsewhere plain columns, whole.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from .words import clean

COLOURS: Final = {
    "done": "green",
    "running": "cyan",
    "queued": "yellow",
    "paused": "yellow",
    "draining": "yellow",
    "failed": "red",
    "blocked": "red",
    "cancelled": "bright_black",
}
RIGHT: Final = ">"  # before a column's name: its cells are numbers


def plain(value: Any) -> Any:
    """A record as dicts and lists, every field included; msgspec itself leaves out defaults, and scripts want them."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    assert value is None or isinstance(value, str | int | float | bool), type(value)
    return value


def print_json(value: Any) -> None:
    """One line of JSON, ASCII only, so that nothing in it can steer a terminal."""
    print(json.dumps(plain(value)), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """Rows under a head; `empty` instead if there are none. The last column may be long, the others are short.

    Args:
        columns: names; one that begins with ">" is aligned right.
        rows: cells, of foreign text, too; cleaned here.
    """
    body = [[clean(cell) for cell in row] for row in rows]
    if not body:
        print(empty)
    elif sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False).print(rich_table(columns, body))
    else:
        print("\n".join(lines(columns, body)))


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Name and value on each line; pairs without a value are left out."""
    shown = [(name, clean(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0) + 2
    if not sys.stdout.isatty():
        print("\n".join(f"{name:<{width}}{value}" for name, value in shown))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for name, value in shown:
        word = value.partition(" ")[0].rstrip(",")
        console.print(Text(f"{name:<{width}}", "bold") + Text(value, COLOURS.get(word, "")), soft_wrap=True)


def lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A plain table: columns two spaces apart."""
    names = [name.lstrip(RIGHT).upper() for name in columns]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    right = [name.startswith(RIGHT) for name in columns]
    return [
        "  ".join(
            cell.rjust(width) if end else cell.ljust(width) for cell, width, end in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in [names, *rows]
    ]


def rich_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Any:
    """The same for a terminal. Cells are `Text`: brackets in a prompt are no markup. Cells must be clean."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    last = len(columns) - 1
    for i, name in enumerate(columns):
        table.add_column(
            name.lstrip(RIGHT).upper(),
            justify="right" if name.startswith(RIGHT) else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if i == last else None,
        )
    for row in rows:
        table.add_row(*(Text(cell, COLOURS.get(cell, "")) for cell in row))
    return table
