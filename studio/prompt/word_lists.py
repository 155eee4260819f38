"""Lists of words for `__name__` in prompts: a folder of text files, each named after its list, `colour.txt`.

A file has a word or several on each line. Empty lines and those that begin with `#` say nothing. A server has the
folder `wildcards` in its data, for all its accounts; the command line without a server has one of the user's own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from ...bounds import LIST
from ...errors import complaint
from ...parameters.errors import ParameterError
from ...system import explain

FOLDER: Final = "wildcards"
MAX_BYTES: Final = 2**20  # of a file
MAX_WORDS: Final = 10_000  # of a list
MAX_CHARS: Final = 200  # of a word
MAX_LISTS: Final = 500


class WordLists:
    """The lists of a folder, which are read anew at each use. Safe to use from any thread.

    Args:
        folder: it may be missing, and then there are none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def counts(self) -> dict[str, int]:
        """Return the number of words of every list, by name.

        Raises:
            ParameterError: the folder or a file cannot be read, or is beyond the bounds.
        """
        try:
            names = sorted(path.stem for path in self.folder.iterdir() if path.suffix == ".txt")
        except FileNotFoundError:
            return {}
        except OSError as error:
            told = explain(error)
            raise ParameterError(f"wildcards {str(self.folder)!r}: {told.got}; {told.remedy}") from error
        found = [name for name in names if is_name(name)]
        if len(found) > MAX_LISTS:
            got = f"{len(found)} lists"
            raise ParameterError(complaint("wildcards", got, f"up to {MAX_LISTS}", "remove some"))
        return {name: len(self.words(name) or ()) for name in found}

    def words(self, name: str) -> tuple[str, ...] | None:
        """Return the words of a list, in the order of its file; None: there is no such list.

        Raises:
            ParameterError: the file cannot be read, is no text, or is beyond the bounds.
        """
        if not is_name(name):
            return None
        what = f"wildcards {name}.txt"
        try:
            with open(self.folder / f"{name}.txt", "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            told = explain(error)
            raise ParameterError(f"{what}: {told.got}; {told.remedy}") from error
        if len(data) > MAX_BYTES:
            got, allowed = f"more than {MAX_BYTES:,} bytes", f"up to {MAX_BYTES:,}"
            raise ParameterError(complaint(what, got, allowed, "make several lists of it"))
        try:
            lines = data.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ParameterError(complaint(what, "bytes that are no UTF-8", "text", "save it as UTF-8")) from error
        found = []
        for number, line in enumerate(lines, 1):
            word = line.strip()
            if not word or word.startswith("#"):
                continue
            if len(word) > MAX_CHARS or not all(char.isprintable() or char == "\t" for char in word):
                got = f"line {number} with {len(word)} characters, or one that is no text"
                raise ParameterError(complaint(what, got, f"text of up to {MAX_CHARS}", "correct the line"))
            found.append(" ".join(word.split()))
        if len(found) > MAX_WORDS:
            got, allowed = f"{len(found):,} words", f"up to {MAX_WORDS:,}"
            raise ParameterError(complaint(what, got, allowed, "make several lists of it"))
        return tuple(found)

    def listed(self, name: str) -> tuple[str, ...]:
        """Return the words of a list, to be shown. ParameterError: as `words`, or there is no such list."""
        found = self.words(name)
        if found is None:
            there = ", ".join(self.counts()) or "none (there are no lists)"
            raise ParameterError(complaint("wildcards", repr(name)[:80], there, "name one of these, or add its file"))
        return found


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a list."""
    return re.fullmatch(LIST, text) is not None
