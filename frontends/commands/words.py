"""Numbers, times and foreign text as people read them on a terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from ..wire.messages import JobInfo


class Scored(Protocol):
    """A text that a job made: of the engine, or of the wire."""

    @property
    def text(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def role(self) -> str: ...
    @property
    def note(self) -> str: ...


_JOINERS: Final = "\u200c\u200d"  # inside words of some scripts, and of some emoji
_FLAGS: Final = {
    "no": "--no",
    "guidance_scale": "--guidance",
    "guidance_interval": "--guidance-interval",
    "preview_every": "--preview",
    "private": "--private",
    "images": "--n",
    "aspect": "--ar",
    "image_weight": "--iw",
    "steps": "--steps",
    "seed": "--seed",
    "solver": "--solver",
    "strict": "--strict",
    "like": "--like",
    "lane": "--lane",
    "account": "--account",
    "quota_bytes": "--quota",
    "expires_ms": "--expires",
}
_FIELDS: Final = re.compile(r"\b(guidance_scale|guidance_interval|preview_every)\b")
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def clean(text: str) -> str:
    """Make text from elsewhere harmless, on one line.

    It loses control characters, escape sequences and changes of direction.
    """
    line = " ".join(text.split())
    return "".join(char if char.isprintable() or char in _JOINERS else "\N{REPLACEMENT CHARACTER}" for char in line)


def typed(text: str) -> str:
    """Write a refusal of the engine or a server with the names of fields as they are typed here."""
    name, colon, rest = text.partition(":")
    text = f"{_FLAGS.get(name, name)}{colon}{rest}"
    return _FIELDS.sub(lambda match: _FLAGS[match[0]], text)


def weights(prompt: float, terms: Iterable[tuple[str, float]]) -> str:
    """Write what guidance follows beside the prompt, and what it leads away from; "" if there is nothing."""
    found = [f"{text} {weight:.3g}" for text, weight in terms]
    return ", ".join([f"prompt {prompt:.3g}", *found]) if found else ""


def texts(found: Iterable[Scored]) -> list[str]:
    """Write the texts that a job made, a line each: its score, the text, and what is to be said of it.

    Words of a prompt come in its order, then whole prompts, the best first.
    """
    lines, before = [], ""
    for one in found:
        if before and one.role != before:
            lines.append("")
        before = one.role
        lines.append(f"{one.score:6.3f}  {clean(one.text)}" + (f"  ({clean(one.note)})" if one.note else ""))
    return lines


def shorten(text: str, most: int) -> str:
    """Cut a text to at most so many characters, with an ellipsis where there were more."""
    return text if len(text) <= most else text[: most - 1] + "…"


def span(ms: float) -> str:
    """Write a span of time: "850 ms", "12.3 s", "4 min 5 s", "3 h 20 min", "2 d 4 h"; "-" for less than nothing."""
    if ms < 0:
        return "-"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 59_950:
        return f"{ms / 1000:.1f} s"
    rest = round(ms / 1000)
    for i, (size, unit) in enumerate(_UNITS[:3]):
        if rest >= size:
            smaller, word = _UNITS[i + 1]
            below = rest % size // smaller
            return f"{rest // size} {unit} {below} {word}" if below else f"{rest // size} {unit}"
    raise AssertionError("unreachable")


def age(then_ms: int, now_ms: int | None = None) -> str:
    """Write how long ago a time (UTC ms) was: "now", "12 s ago", ...; "" for 0, which is no time."""
    if not then_ms:
        return ""
    ms = (time.time_ns() // 1_000_000 if now_ms is None else now_ms) - then_ms
    if ms < 1000:  # also clocks that do not agree
        return "now"
    seconds = ms // 1000
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    raise AssertionError("unreachable")


def moment(ms: int) -> str:
    """Write a time (UTC ms) on the clock and calendar of this machine: "2026-11-25 15:20:07"; "" for 0."""
    if not ms:
        return ""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"  # beyond what this machine's calendar knows


def size(count: float) -> str:
    """Write a number of bytes: "512 B", "1.5 MB", ..."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def share(part: float) -> str:
    """Write a share of one, in percent."""
    return f"{100 * part:.0f} %"


def counts(values: Mapping[str, int], nothing: str = "none") -> str:
    """Write {"fast": 2, "relax": 0} as "2 fast"."""
    return ", ".join(f"{count:,} {clean(name)}" for name, count in values.items() if count) or nothing


def plural(count: int, noun: str) -> str:
    """Write "1 picture", "4 pictures"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def short_account(account: str) -> str:
    """Return the first of an account's 64 digits, enough to tell a few hundred apart."""
    return account if len(account) <= 16 else f"{account[:12]}…"


def is_hidden(info: JobInfo) -> bool:
    """Return whether a job is another account's private one.

    An operator is told that such a job is there and how it goes; its prompt, seed and pictures are left out, not empty.
    """
    return info.private and not info.prompt and not info.starts and not info.sources  # a blend has no words
