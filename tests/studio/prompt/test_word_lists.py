"""Folders of lists of words: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from salon.parameters.errors import ParameterError
from salon.studio.prompt.word_lists import MAX_BYTES, MAX_WORDS, WordLists


def test_a_list_is_a_file(tmp_path: Path) -> None:
    lists = WordLists(tmp_path)
    assert lists.counts() == {}
    (tmp_path / "colour.txt").write_bytes("\ufeff# of paint\nred\n\n  navy   blue \r\nred\n".encode())
    (tmp_path / "old-time_2.txt").write_text("#nothing\n")
    for name in ("Colour.txt", "colour.md", "-x.txt", "a b.txt"):
        (tmp_path / name).write_text("no")
    assert lists.words("colour") == ("red", "navy blue", "red")
    assert lists.counts() == {"colour": 3, "old-time_2": 0}
    assert lists.words("nothing") is None
    for name in ("../colour", "Colour", "a b", "", "x" * 65):
        assert lists.words(name) is None
    with pytest.raises(ParameterError, match="wildcards: got 'nothing', allowed colour, old-time_2; name one"):
        lists.listed("nothing")
    assert WordLists(tmp_path / "missing").counts() == {}
    with pytest.raises(ParameterError, match="allowed none"):
        WordLists(tmp_path / "missing").listed("colour")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xff\xfe", "bytes that are no UTF-8, allowed text; save it as UTF-8"),
        (b"a" * (MAX_BYTES + 1), "more than 1,048,576 bytes"),
        (b"red\n" + b"b" * 201, "line 2 with 201 characters"),
        (b"red\nb\x07lue", "line 2 with 5 characters, or one that is no text"),
        (b"a\n" * (MAX_WORDS + 1), "10,001 words, allowed up to 10,000"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "bad.txt").write_bytes(data)
    for ask in (lambda lists: lists.words("bad"), lambda lists: lists.counts()):
        with pytest.raises(ParameterError, match=f"wildcards bad.txt: got {told}"):
            ask(WordLists(tmp_path))


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").mkdir()
    with pytest.raises(ParameterError, match=r"wildcards bad\.txt: Is a directory"):
        WordLists(tmp_path).words("bad")
