"""The pictures that a job starts from, as they are typed: JOB N, JOB, or a file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...bounds import GRID, ID
from ...errors import complaint
from ...system import expand_home
from .parsing import UsageError, shown

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")


@dataclass(frozen=True)
class TypedSource:
    """A picture as it was typed: of a job (`index` from 0, or -1 for the whole of it), or the path of a file."""

    job: str = ""
    index: int = GRID
    path: str = ""


def sources_in(words: Sequence[str], most: int, command: str, whole: bool) -> tuple[list[TypedSource], list[str]]:
    """Return the pictures that words begin with, and the words behind them, which are a prompt.

    Args:
        words: as they were typed.
        most: pictures that the command takes.
        command: for messages.
        whole: whether it takes a job as a whole.

    Raises:
        UsageError: the first word names no picture, or a job as a whole where the command takes none.
    """
    left, found = list(words), list[TypedSource]()
    while left and len(found) < most:
        word = left[0]
        if word.lower().endswith(SUFFIXES) or os.path.isfile(word):
            found.append(TypedSource(path=os.path.abspath(expand_home(word, command))))
            del left[0]
        elif re.fullmatch(ID, word) and len(left) > 1 and re.fullmatch("[0-9]{1,3}", left[1]):
            if left[1] == "0":
                raise UsageError(complaint(command, f"picture {left[1]}", "1, 2, and so on", "count from 1"))
            found.append(TypedSource(word, int(left[1]) - 1))
            del left[:2]
        elif re.fullmatch(ID, word) and not found and whole:
            found.append(TypedSource(word))
            del left[0]
        else:
            break
    if not found:
        got = shown(" ".join(words)) if words else "nothing"
        allowed, remedy = "a job and its picture, like `JOB 2`, or a picture's file", "`salon jobs` lists jobs"
        if not whole and len(words) and re.fullmatch(ID, words[0]):
            remedy = f"if that is a job, say which picture, like `{command} {words[0]} 1`; {remedy}"
        raise UsageError(complaint(command, got, allowed, remedy))
    return found, left
