"""How long a picture a model was taught, beyond which nothing sensible is to be expected of it."""

from __future__ import annotations

import msgspec

from .config import Config

KEY = "taught"  # in salon.json


class Taught(msgspec.Struct, frozen=True, kw_only=True):
    """What pictures a model was taught.

    Attributes:
        aspect: the longer side to the shorter one, up to which a picture makes sense.
        words: what is known of long ones, for the user to see.
    """

    aspect: float
    words: str

    def notes(self, width: int, height: int) -> tuple[str, ...]:
        """Return what is to be said of a size in pixels, one sentence each; nothing of one that makes sense."""
        if max(width, height) <= self.aspect * min(width, height):
            return ()
        return (f"{width} x {height}: {self.words}",)


def read_taught(salon: Config) -> Taught | None:
    """Return what `salon.json` says of the pictures that its model was taught; None: nothing.

    Raises:
        WrongConfig: what it says makes no sense.
    """
    values = salon.mapping(KEY)
    if not values:
        return None
    taught = Config(salon.path, values)
    aspect, words = taught.number("aspect", low=1, high=1000), taught.raw("words")
    if not isinstance(words, str) or not words:
        taught.refuse("words", "a sentence", words)
    taught.finish({})
    return Taught(aspect=aspect, words=words)
