"""Keys in what a terminal sends, in whichever parts it comes."""

from __future__ import annotations

import pytest

from salon.frontends.terminal.keys import keys_in


@pytest.mark.parametrize(
    ("data", "keys", "rest"),
    [
        (b"1", ["1"], b""),
        (b"12u", ["1", "2", "u"], b""),
        (b"\x1b[D\x1bOC", ["left", "right"], b""),
        (b"\x1b[1;5D3", ["3"], b""),  # Ctrl with an arrow
        (b"\x1b[", [], b"\x1b["),
        (b"1\x1b", ["1"], b"\x1b"),
        (b"\x1b[?62;4c2", ["2"], b""),  # a late answer
        (b"\x1b_Gi=31;OK\x1b\\q", ["q"], b""),
        (b"\x1b_Gi=31;O", [], b"\x1b_Gi=31;O"),
        (b"\x1b]11;rgb:0/0/0\x07q", ["q"], b""),
        (b"\x1bx1", ["1"], b""),  # Alt with x
        (b"\x1b\x1b[D", ["left"], b""),
        (b"\r\n\x7f\x04", ["enter", "enter", "backspace", "end"], b""),
        ("é1".encode(), ["é", "1"], b""),
        (b"\xff1\x01", ["1"], b""),
    ],
)
def test_keys(data: bytes, keys: list[str], rest: bytes) -> None:
    assert keys_in(data) == (keys, rest)


@pytest.mark.parametrize("data", [b"1\x1b[D\x1b_Gi=31;OK\x1b\\2\x1b[?62;4cq"])
def test_any_parts_are_the_same_keys(data: bytes) -> None:
    for at in range(len(data) + 1):
        first, rest = keys_in(data[:at])
        second, rest = keys_in(rest + data[at:])
        assert (first + second, rest) == (["1", "left", "2", "q"], b""), at
