"""docs/wire.md says exactly what messages.py says, and its example is what the code sends."""

from __future__ import annotations

import json
import re
import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from salon.frontends.wire import checks, codec, frames, scan
from salon.frontends.wire import messages as m
from salon.frontends.wire.version import OLDEST

from . import example

DOCUMENT = Path(__file__).parents[3] / "docs" / "wire.md"
TEXT = DOCUMENT.read_text()
PARTS = (
    *(m.Limits, m.JobText, m.Picture, m.Source, m.WorkerInfo, m.Near, m.PlannedJob, m.ParameterInfo, m.LedgerEntry),
    m.EntryInfo,
    m.Block,
    m.Chat,
    m.Turn,
    *(m.PairPicture, m.EventPicture, m.StyleWeight, m.LeftOut, m.TasteCode, m.Share, m.Liked, m.NotChanged),
)
KINDS: dict[str, type[msgspec.Struct]] = {
    str(kind.__struct_config__.tag): kind for kind in (*get_args(m.Request), *get_args(m.Reply))
} | {part.__name__: part for part in PARTS}
Row = tuple[str, str, str]


def describe(kind: Any) -> str:
    """A type in the document's words."""
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(sorted((describe(one) for one in get_args(kind)), key=lambda word: word == "nil"))
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if inner[-1] is Ellipsis:
            return f"array of {describe(inner[0])}"
        return f"array of {len(inner)} {describe(inner[0])}"
    if get_origin(kind) is dict:
        key, value = get_args(kind)
        return f"map of {describe(key)} to {describe(value)}"
    if kind is Any:
        return "value"
    if kind is type(None):
        return "nil"
    if kind in KINDS.values():
        name = next(name for name, known in KINDS.items() if known is kind)
        return f"[{name}](#{name.lower()})"
    assert kind in (int, float, bool, str, bytes)
    return str(kind.__name__)


def default_of(field: msgspec.structs.FieldInfo) -> str:
    """A default as the document writes it."""
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None:
        return "nil"
    if isinstance(value, msgspec.Struct):
        return "all defaults"
    return f"`{json.dumps(value.decode() if isinstance(value, bytes) else value)}`"


def sections(text: str = TEXT) -> dict[str, list[Row]]:
    """(field, type, default) of every table under a heading of third level that is a message or a part."""
    found: dict[str, list[Row]] = {}
    messages = text[text.index("## Messages of the client") : text.index("## An example")]
    for section in re.split(r"^### ", messages, flags=re.M)[1:]:
        name, _, rest = section.partition("\n")
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in rest.splitlines() if line[:1] == "|"]
        assert name not in found, "each once"
        if rows:
            assert rows[0] == ["field", "type", "default", "meaning"]
        found[name] = [(row[0].strip("`"), row[1], row[2]) for row in rows[2:]]
    return found


def test_every_record_is_there_and_no_other() -> None:
    assert set(sections()) == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_every_field_is_there_with_its_type_and_default(name: str) -> None:
    hints = get_type_hints(KINDS[name])
    expected = [(f.name, describe(hints[f.name]), default_of(f)) for f in msgspec.structs.fields(KINDS[name])]
    assert sections()[name] == expected


def test_every_answer_is_named() -> None:
    """Each request says how it is answered, in types that exist."""
    names = {str(kind.__struct_config__.tag) for kind in get_args(m.Reply)}
    body = TEXT[TEXT.index("## Messages of the client") : TEXT.index("## Messages of the server")]
    for section in re.split(r"^### ", body, flags=re.M)[1:]:
        name, _, rest = section.partition("\n")
        answers = re.findall(r"Answers?: `([a-z.]+)`", rest)
        assert set(answers) <= names
        assert bool(answers) != ("A notice" in rest), name


def test_codes_and_kinds() -> None:
    """Those that messages.py names, in their tables, in the same order."""
    codes = re.search(r"`code`: (.*?)\. `kind`", " ".join(str(m.Failure.__doc__).split()))
    assert codes is not None
    named = re.findall(r"([a-z_]+)(?: and ([a-z_]+))? \(|(?<=, )([a-z_]+)(?=,)", codes[1])
    assert [word for words in named for word in words if word] == table("## Failures")
    kinds = re.search(r"`kind`: (.*?)\. Skip", " ".join(str(m.Event.__doc__).split()))
    assert kinds is not None
    plain = re.sub(r"\([^)]*\)|or a final one:", "", kinds[1]).replace(":", ",")
    assert [word.strip() for word in plain.split(",") if word.strip()] == table("## Watching")


def table(heading: str, text: str = TEXT) -> list[str]:
    """First cells of the table of a section."""
    section = text[text.index(f"{heading}\n") :].partition("\n## ")[0]
    return [row[3:].partition("`")[0] for row in section.splitlines() if row.startswith("| `")]


@pytest.mark.parametrize(
    ("sentence", "values"),
    [
        ("This is version {} of the protocol", (m.VERSION,)),
        ("An id has 0 to {} bytes", (checks.MAX_ID,)),
        ("A record of the client has up to {} bytes", (codec.MAX_MESSAGE,)),
        ("A record of the server has up to {} bytes", (codec.MAX_REPLY,)),
        ("A third frame has up to {} bytes", (frames.MAX_PAYLOAD,)),
        ("up to {} levels deep", (scan.MAX_DEPTH,)),
        ("and up to {} elements", (codec.MAX_ELEMENTS,)),
        ("{} in those of the server", (codec.MAX_REPLY_ELEMENTS,)),
    ],
)
def test_numbers(sentence: str, values: tuple[int, ...]) -> None:
    assert sentence.format(*values) in " ".join(TEXT.split())
    assert OLDEST == m.VERSION == 1, "say in the document what changed"


def test_features() -> None:
    assert table("## Versions and features") == list(m.FEATURES)


def test_the_example_is_what_the_code_sends() -> None:
    shown = re.search(r"## An example\n.*?```text\n(.*?)```", TEXT, re.S)
    assert shown is not None
    assert shown[1] == example.session(), "python -m tests.frontends.wire.example prints it"


def test_no_line_is_too_long() -> None:
    assert [line for line in TEXT.splitlines() if len(line) > 120 and line[:1] not in "|"] == []
