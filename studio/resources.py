"""Keep pictures that jobs refer to, by digest and form, ready for the model; the least recently used go first.

A job holds its pictures from the time it is accepted, so that nothing has to be kept here for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..engine.errors import SpecError
from ..engine.info import ModelInfo
from ..engine.regions import new_pixels
from ..engine.spec import GenerationSpec
from ..engine.start import PictureForm, PictureUse, forms_of
from ..errors import complaint

UInt8 = NDArray[np.uint8]

MAX_BYTES: Final = 256 * 2**20


class References:
    """Pixels by form, and files by digest. It may be used on any thread.

    Args:
        max_bytes: bytes of all pixels and files; beyond, the least recently used are forgotten.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[PictureForm | str, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def put(self, form: PictureForm, pixels: UInt8) -> None:
        """Keep the pixels of a form."""
        own = np.ascontiguousarray(pixels, np.uint8)
        own.setflags(write=False)
        self._put(form, own, own.nbytes)

    def get(self, form: PictureForm) -> UInt8 | None:
        """Return the pixels of a form; None if they are not kept here."""
        found: UInt8 | None = self._get(form)
        return found

    def put_file(self, digest: str, data: bytes) -> None:
        """Keep a picture's file under its digest."""
        self._put(digest, data, len(data))

    def get_file(self, digest: str) -> bytes | None:
        """Return a picture's file; None if it is not kept here."""
        found: bytes | None = self._get(digest)
        return found

    def _put(self, key: PictureForm | str, value: Any, size: int) -> None:
        with self._lock:
            self._bytes += size - self._kept.pop(key, (None, 0))[1]
            self._kept[key] = value, size
            while self._bytes > self.max_bytes and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1][1]

    def _get(self, key: PictureForm | str) -> Any:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]


def digests_of(spec: GenerationSpec) -> list[str]:
    """Return the digests of the pictures that a spec refers to, each once."""
    return list(dict.fromkeys(form.digest for form in forms_of(spec)))


def needed(
    spec: GenerationSpec,
    given: Mapping[PictureForm, UInt8],
    info: ModelInfo,
    *,
    job: str = "",
    remedy: str = "add the picture first, then ask again",
) -> dict[PictureForm, UInt8]:
    """Return the pictures that a spec refers to, of those that are given.

    Args:
        job: whose spec it is, for messages.
        remedy: likewise, what to do where one is not there.

    Raises:
        SpecError: one is not there, or its shape is not the form's, or one that the model cannot read, or a mask leaves
            nothing to draw.
    """
    found, unit = {}, info.architecture.granularity
    side = 0 if info.styles is None else info.styles.side
    for form in forms_of(spec):
        pixels = given.get(form)
        if pixels is None:
            raise not_here(form, job, remedy=remedy)
        if form.use in (PictureUse.TASTE, PictureUse.LORA):
            found[form] = pixels  # the engine knows what these are
            continue
        whole = not any(side % unit or not side for side in pixels.shape[:2])
        fits = pixels.ndim == 3 and pixels.shape[2] == 3 and whole
        if side and form.use is PictureUse.STYLE:  # of an IP-Adapter, whose encoder has a unit of its own
            fits = pixels.shape == (side, side, 3)
        if not (fits if form.shape is None else pixels.shape == form.shape):
            allowed = f"uint8 [height, width, 3] with sides that are multiples of {unit}"
            allowed = allowed if form.shape is None else f"uint8 {list(form.shape)}"
            raise SpecError(complaint(form.label, f"pixels {list(pixels.shape)}", allowed, "resize it"))
        found[form] = pixels
    if spec.start is not None and spec.start.masked:
        masks = [pixels for form, pixels in found.items() if form.use is PictureUse.MASK]
        new_pixels(spec.start, masks[0] if masks else None, (spec.width, spec.height))
    return found


def not_here(form: PictureForm, job: str = "", *, remedy: str) -> SpecError:
    """Return the error of a picture that is not there. `job`: that needs it."""
    of = f" (job {job})" if job else ""
    if form.use is PictureUse.TASTE:
        got = f"{form.digest}, which is not here{of}"
        return SpecError(complaint(form.label, got, "one that is", "ask the server that made the code"))
    what = "file" if form.use is PictureUse.LORA else "picture"
    got = f"{what} {form.digest}, which is not here{of}"
    return SpecError(complaint(form.label, got, "one that was added", remedy))
