"""Keep pictures that jobs refer to, by digest, ready for the model: a bounded number, the least recently used go first.

A job holds its pictures from the time it is accepted, so that nothing has to be kept here for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..engine.errors import SpecError
from ..engine.info import ModelInfo
from ..engine.spec import GenerationSpec
from ..engine.styles.names import picture_of
from ..errors import complaint

UInt8 = NDArray[np.uint8]

MAX_BYTES: Final = 256 * 2**20


class References:
    """Pixels by digest. It may be used on any thread.

    Args:
        max_bytes: bytes of all pictures; beyond, the least recently used are forgotten.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._pixels: OrderedDict[str, UInt8] = OrderedDict()
        self._bytes = 0

    def put(self, digest: str, pixels: UInt8) -> None:
        """Keep a picture uint8 [height, width, 3] under the digest of its file."""
        own = np.ascontiguousarray(pixels, np.uint8)
        own.setflags(write=False)
        with self._lock:
            before = self._pixels.pop(digest, None)
            self._bytes += own.nbytes - (0 if before is None else before.nbytes)
            self._pixels[digest] = own
            while self._bytes > self.max_bytes and len(self._pixels) > 1:
                self._bytes -= self._pixels.popitem(last=False)[1].nbytes

    def get(self, digest: str) -> UInt8 | None:
        """Return a picture; None if it is not kept here."""
        with self._lock:
            pixels = self._pixels.get(digest)
            if pixels is not None:
                self._pixels.move_to_end(digest)
            return pixels


def digests_of(spec: GenerationSpec) -> list[str]:
    """Return the digests of the pictures that a spec refers to, each once."""
    found = (picture_of(use.adapter) for use in spec.adapters if use.weight)
    return list(dict.fromkeys(digest for digest in found if digest is not None))


def needed(spec: GenerationSpec, given: Mapping[str, UInt8], info: ModelInfo) -> dict[str, UInt8]:
    """Return the pictures that a spec refers to, of those that are given.

    Raises:
        SpecError: one is not there, or its sides are no multiples of the model's granularity.
    """
    found, unit = {}, info.architecture.granularity
    for digest in digests_of(spec):
        pixels = given.get(digest)
        if pixels is None:
            got, remedy = f"picture {digest}, which is not here", "add the picture first, then ask again"
            raise SpecError(complaint("style reference", got, "one that was added", remedy))
        if pixels.ndim != 3 or pixels.shape[2] != 3 or any(side % unit or not side for side in pixels.shape[:2]):
            allowed = f"uint8 [height, width, 3] with sides that are multiples of {unit}"
            raise SpecError(complaint("style reference", f"pixels {list(pixels.shape)}", allowed, "resize it"))
        found[digest] = pixels
    return found
