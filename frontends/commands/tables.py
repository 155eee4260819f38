"""The output of commands: tables and pairs for people, one JSON value for programs.

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
GAP: Final = 2  # between columns
MIN_LAST: Final = 8  # characters that the last column always gets
ENOUGH_LAST: Final = 24  # before others are left out for it
RIGHT: Final = ">"  # before a column's name: its cells are numbers
SPARE: Final = "?"  # before that: the column is left out where a terminal has no room, the last such one first


def plain(value: Any) -> Any:
    """Return a record as dicts and lists with every field, since scripts need those that msgspec leaves out."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    assert value is None or isinstance(value, str | int | float | bool), type(value)
    return value


def print_json(value: Any) -> None:
    """Print one line of JSON, ASCII only, so that nothing in it can steer a terminal."""
    print(json.dumps(plain(value)), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """Print rows under a head, or `empty` if there are none. The last column may be long, the others are short.

    Args:
        columns: names; with `RIGHT` and `SPARE` before them.
        rows: cells, of foreign text, too; cleaned here.
    """
    body = [[clean(cell) for cell in row] for row in rows]
    if not body:
        print(empty)
    elif sys.stdout.isatty():
        from rich.console import Console

        console = Console(highlight=False)
        console.print(rich_table(columns, body, console.width))
    else:
        print("\n".join(lines(columns, body)))


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print name and value on each line; pairs without a value are left out."""
    shown = [(name, clean(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0) + 2
    if not sys.stdout.isatty():
        print("\n".join(f"{name:<{width}}{value}" for name, value in shown))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for name, value in shown:
        colour = COLOURS.get(value.partition(" ")[0].rstrip(","), "") if name == "state" else ""
        console.print(Text.assemble((f"{name:<{width}}", "bold"), (value, colour)), soft_wrap=True)


def lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a plain table: columns two spaces apart."""
    names = [name.strip(RIGHT + SPARE).upper() for name in columns]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    right = [RIGHT in name for name in columns]
    return [
        "  ".join(
            cell.rjust(width) if end else cell.ljust(width) for cell, width, end in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in [names, *rows]
    ]


def rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Any:
    """Return the same table for a terminal of `width` columns.

    Its last column is cut to what the others leave; rich alone would cut all of them alike. Cells must be clean; they
    are `Text`, so that brackets in a prompt are no markup.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    names = [name.strip(RIGHT + SPARE).upper() for name in columns]
    widths = [max(map(cell_len, column)) + GAP for column in zip(names, *rows, strict=True)]
    shown = list(range(len(columns)))
    room = min(ENOUGH_LAST, widths[-1])
    for i in reversed(shown[:-1]):
        if SPARE in columns[i] and sum(widths[j] for j in shown[:-1]) + room > width:
            shown.remove(i)
    left = width - sum(widths[i] for i in shown[:-1])
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for i in shown:
        table.add_column(names[i], justify="right" if RIGHT in columns[i] else "left", no_wrap=True)
    for row in rows:
        cells = [Text(row[i], COLOURS.get(row[i], "")) for i in shown]
        cells[-1].truncate(max(MIN_LAST, left), overflow="ellipsis")
        table.add_row(*cells)
    return table
