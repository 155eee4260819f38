"""Scan the headers of a msgpack value before anything is built from it: its depth, its elements, its end."""

from __future__ import annotations

from typing import Final

from ...errors import complaint
from .errors import BadMessage

MAX_DEPTH: Final = 8  # maps and arrays inside each other; a record is the first

# What a first byte says: bytes of a length that follows, bytes of the value behind it, and what that length counts.
SCALAR, TEXT, ARRAY, MAP, BAD = range(5)
KINDS: Final[list[tuple[int, int, int]]] = (  # (kind, bytes of length, fixed length) by first byte
    [(SCALAR, 0, 0)] * 128
    + [(MAP, 0, n) for n in range(16)]
    + [(ARRAY, 0, n) for n in range(16)]
    + [(TEXT, 0, n) for n in range(32)]
    + [(SCALAR, 0, 0), (BAD, 0, 0), (SCALAR, 0, 0), (SCALAR, 0, 0)]  # nil, never used, false, true
    + [(TEXT, 1, 0), (TEXT, 2, 0), (TEXT, 4, 0)]  # bin
    + [(BAD, 0, 0)] * 3  # ext
    + [(SCALAR, 0, n) for n in (4, 8, 1, 2, 4, 8, 1, 2, 4, 8)]  # floats, unsigned, signed
    + [(BAD, 0, 0)] * 5  # fixext
    + [(TEXT, 1, 0), (TEXT, 2, 0), (TEXT, 4, 0)]  # str
    + [(ARRAY, 2, 0), (ARRAY, 4, 0), (MAP, 2, 0), (MAP, 4, 0)]
    + [(SCALAR, 0, 0)] * 32
)


def scan(data: bytes, *, max_elements: int, max_depth: int = MAX_DEPTH) -> int:
    """Return the number of elements of one msgpack value that is all of `data`.

    Elements are items of arrays, and keys and values of maps.

    The scan is iterative, and ends after `max_elements` headers at the latest, however long the lengths that they
    declare.

    Raises:
        BadMessage: the value is too deep, has too many elements or an extension type, is cut short, or has bytes behind
            its end.
    """
    size, at, elements = len(data), 0, 0
    left, open_counts = 1, list[int]()  # values still to come here, and in the containers around
    while True:
        while not left:
            if not open_counts:
                if at != size:
                    raise _bad(f"{size - at} bytes behind its end", "one record")
                return elements
            left = open_counts.pop()
        left -= 1
        if at >= size:
            raise _bad("one that is cut short", "a whole record")
        kind, num_bytes, count = KINDS[data[at]]
        at += 1
        if num_bytes:
            if at + num_bytes > size:
                raise _bad("one that is cut short", "a whole record")
            count = int.from_bytes(data[at : at + num_bytes], "big")
            at += num_bytes
        if kind <= TEXT:
            at += count
            if at > size:
                raise _bad("one that is cut short", "a whole record")
        elif kind == BAD:
            raise _bad("an extension type", "nil, booleans, numbers, texts, bytes, arrays and maps")
        else:
            count <<= kind == MAP
            elements += count
            if elements > max_elements:
                raise _bad(f"{elements:,} elements or more", f"up to {max_elements:,}")
            if len(open_counts) >= max_depth:
                raise _bad("deeper nesting", f"up to {max_depth} levels")
            open_counts.append(left)
            left = count


def _bad(got: str, allowed: str) -> BadMessage:
    return BadMessage(complaint("message", got, allowed, "send a record of docs/wire.md"))
