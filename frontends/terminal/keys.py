"""Read keys of what a terminal sends; its answers to questions, which may come late, are skipped."""

from __future__ import annotations

import re
from typing import Final

_PART: Final = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]"  # a control sequence: arrows, answers
    rb"|\x1bO[@-~]"  # arrows in application mode
    rb"|\x1b[_\]P^X](?:[^\x07\x1b]|\x1b(?!\\))*(?:\x07|\x1b\\)"  # strings: answers
    rb"|\x1b[^\[O_\]P^X\x1b]"  # Alt with a key
    rb"|[\xc2-\xf4][\x80-\xbf]+"  # a character of several bytes
    rb"|[^\x1b]",
    re.DOTALL,
)
_UNFINISHED: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|O|[_\]P^X](?:[^\x07\x1b]|\x1b(?!\\))*\x1b?)?\Z", re.DOTALL)
_NAMED: Final = {
    b"\x1b[D": "left",
    b"\x1bOD": "left",
    b"\x1b[C": "right",
    b"\x1bOC": "right",
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\x08": "backspace",
    b"\x04": "end",
}


def keys_in(data: bytes) -> tuple[list[str], bytes]:
    """Return the keys in what a terminal sent, and the beginning of a sequence whose end has not come.

    A key is its character, or a name: left, right, up, down, enter, backspace, end (Ctrl-D). Others are left out.
    """
    found, at = list[str](), 0
    while at < len(data):
        if _UNFINISHED.match(data, at):
            return found, data[at:]
        part = _PART.match(data, at)
        if part is None:  # an escape that nothing follows
            at += 1
            continue
        at = part.end()
        if part[0] in _NAMED:
            found.append(_NAMED[part[0]])
        elif part[0][0] != 0x1B:
            key = part[0].decode(errors="ignore")
            if key.isprintable():
                found.append(key)
    return [key for key in found if key], b""
