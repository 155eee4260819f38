"""Log lines: as text, as JSON, and never with a prompt in them."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from salon.frontends.zmq import records
from salon.frontends.zmq.records import JsonLines, Lines, TextLines, set_up_logging

from .conftest import TINY, Connect, Serve, until

MARKER = "zebra-9f3c1e"
WHEN = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def record(message: str = "accepted", level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("salon.server", level, "here.py", 1, message, (), None)
    made.created, made.msecs = 1767323045.678, 678.0
    vars(made).update(fields)
    return made


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What went to standard error since; the loggers are as before afterwards."""
    root = logging.getLogger("salon")
    before = root.handlers[:], root.level, root.propagate
    yield lambda: capsys.readouterr().err
    root.handlers[:], root.level, root.propagate = before


def test_text_has_time_level_logger_message_and_fields() -> None:
    line = TextLines().format(record(job="j1", n=4, note='it "waits"', empty="", sum="a=b"))
    assert line == (
        '2026-01-02T03:04:05.678Z info salon.server accepted job=j1 n=4 note="it \\"waits\\"" empty="" sum="a=b"'
    )


@pytest.mark.parametrize("odd", ["two\nlines", "tab\there", "\r\nsecond", "a\u2028b"])
def test_a_field_never_breaks_the_line(odd: str) -> None:
    text = TextLines().format(record(name_of="x", value=odd))
    assert len(text.splitlines()) == 1
    line = JsonLines().format(record(value=odd))
    assert len(line.splitlines()) == 1
    assert json.loads(line)["value"] == odd


def test_json_has_the_same_and_errors_whole() -> None:
    try:
        raise ValueError("no such thing")
    except ValueError:
        made = record("it failed", logging.ERROR, job="j1", path=object)
        made.exc_info = sys.exc_info()
    line = json.loads(JsonLines().format(made))
    assert line["at"] == "2026-01-02T03:04:05.678Z"
    assert (line["level"], line["logger"], line["event"], line["job"]) == ("error", "salon.server", "it failed", "j1")
    assert line["error"].endswith("ValueError: no such thing")
    assert "object" in line["path"]  # what JSON cannot say is told by name
    text = TextLines().format(made)
    assert text.splitlines()[-1] == "ValueError: no such thing"


def test_set_up_twice_writes_once_and_only_salon(lines: Callable[[], str]) -> None:
    set_up_logging(json=True)
    set_up_logging(json=False)
    logging.getLogger("salon.server").info("hello", extra={"job": "j"})
    logging.getLogger("salon.server").debug("not at this level")
    logging.getLogger("another").warning("not ours")
    assert re.fullmatch(rf"{WHEN} info salon\.server hello job=j\n", lines())


@pytest.mark.parametrize("json_lines", [False, True])
def test_no_prompt_is_ever_logged(lines: Callable[[], str], serve: Serve, connect: Connect, json_lines: bool) -> None:
    set_up_logging(json=json_lines, level=logging.DEBUG)
    server = serve()
    client = connect(server)
    prompt, without = f"a red apple, {MARKER}", f"a {MARKER} without"
    job = client.submit("one", prompt, private=True, negative_prompt=without, **TINY)["job"]
    for _ in client.watch(job):
        pass
    for fields in ({"images": 0}, {"width": 60_000}, {"lane": "slow"}, {"steps": 10_000}):
        with pytest.raises(Exception, match="got"):
            client.submit("bad", prompt, **(TINY | fields))
    with pytest.raises(Exception, match="key"):
        client.submit("one", f"another {MARKER}", **TINY)
    waiting = client.submit("two", prompt, **(TINY | {"steps": 200}))["job"]
    client.cancel(waiting)
    client.delete(job)
    server.stop()
    said = lines()
    assert MARKER not in said
    assert "apple" not in said
    told = [json.loads(line)["event"] for line in said.splitlines()] if json_lines else said.split()
    assert "accepted" in told
    assert "ended" in told
    assert job in said


def test_an_internal_error_is_logged_and_told_without_its_words(
    lines: Callable[[], str], serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up_logging(json=True)
    server = serve()
    client = connect(server)
    assert server.server is not None

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(server.server.service, "page", broken)
    with pytest.raises(Exception, match="internal error") as info:
        client.ask("list")
    assert "bug of ours" not in str(info.value)
    said = [json.loads(line) for line in lines().splitlines()]
    (line,) = [line for line in said if line["event"] == "internal error"]  # the server may have said more meanwhile
    assert line["level"] == "error"
    assert line["error"].endswith("ZeroDivisionError: a bug of ours")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that takes 4096 bytes."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    for end in (reader, writer):
        with suppress(OSError):
            os.close(end)


def read(reader: int) -> bytes:
    """Read what a pipe holds, within a deadline."""
    assert select.select([reader], [], [], 60)[0], "nothing was written for a minute"
    return os.read(reader, 65536)


def test_who_logs_never_waits_and_what_is_dropped_is_counted(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """faults.md 22: with a full pipe, the line that found no room stopped the whole server."""
    monkeypatch.setattr(records, "MANY", 10)
    reader, writer = pipe
    handler = Lines(writer)
    handler.setFormatter(TextLines())
    for i in range(200):
        handler.handle(record("x" * 500, number=i))
        if i < 8:  # these have room, but for the last: when it is being written, nothing is taken any more
            assert until(lambda: not handler._waiting)
    dropped = handler.dropped
    assert 200 - 10 - 9 <= dropped < 200 - 8  # 8 lines are in the pipe; then one is being written, and 10 wait

    def told() -> int:  # in one line, or in two: some may have been dropped before the pipe was full
        return sum(int(number) for number in re.findall(rb" lines=(\d+)\n", said))

    said = b""
    while told() < dropped:
        said += read(reader)
    numbers = [int(number) for number in re.findall(rb"number=(\d+)", said)]
    assert numbers == list(range(len(numbers)))
    handler.handle(record("last"))
    while b"last" not in said:
        said += read(reader)
    assert told() == handler.dropped == dropped


def test_a_reader_that_is_gone_and_a_line_that_cannot_be_made(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    handler = Lines(writer)
    handler.setFormatter(TextLines())
    handler.handle(logging.LogRecord("salon", logging.INFO, "here.py", 1, "%d", ("no number",), None))
    assert handler.dropped == 1
    os.close(reader)
    handler.handle(record("nobody reads it"))
    assert until(lambda: handler.dropped == 2)


def test_the_end_of_a_process_waits_for_its_lines_but_not_long(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "FLUSH_S", 0.05)
    reader, writer = pipe
    handler = Lines(writer)
    handler.setFormatter(TextLines())
    handler.handle(record("first"))
    handler.flush()
    assert b"first" in os.read(reader, 4096)
    for _ in range(20):
        handler.handle(record("x" * 500))
    handler.flush()  # returns, though nobody reads
