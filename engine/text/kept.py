"""Keep the encodings of the last prompts, which many pictures read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from .pipeline import TextEncoding

KEPT_BYTES: Final = 2**28  # of encodings that are kept; one of 512 rows of 15,360 columns has 30 MiB


class KeptEncodings:
    """A bounded number of encodings; the least recently used is dropped first.

    Args:
        most: of prompts.
        prompt_bytes: of one encoding, so that all stay within `KEPT_BYTES`.
    """

    def __init__(self, most: int, prompt_bytes: int) -> None:
        self.most = min(most, KEPT_BYTES // max(1, prompt_bytes))
        self._kept: OrderedDict[Hashable, TextEncoding] = OrderedDict()

    def get(self, prompt: Hashable, make: Callable[[], TextEncoding]) -> TextEncoding:
        """Return the encoding of a prompt, or of what tells one from others; `make` computes one that is not kept."""
        found = self._kept.get(prompt)
        if found is None:
            found = self._kept[prompt] = make()
        self._kept.move_to_end(prompt)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
        return found
