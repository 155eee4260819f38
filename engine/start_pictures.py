"""The pictures and masks that generations start from or look at: their pixels, their latents, and who uses them.

They are called by digest and size. A bounded number of bytes stays, the least recently used go first; what an open
generation uses stays in any case, and so do the last few that were added.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..bounds import MAX_IMAGE_PROMPTS, MAX_OMNI
from ..errors import complaint
from ..kernels.ops import Ops
from .errors import SpecError
from .generation import Generation
from .regions import Region, cover_of, new_pixels, packed_mask
from .spec import GenerationSpec
from .start import PictureForm, start_forms
from .text.pipeline import ShownPicture

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

MAX_BYTES: Final = 256 * 2**20
# That stay in any case: what a generation needs is added piece by piece before it is opened.
HALF, GREY = 128, np.float32(127.5)  # from where on a pixel of a mask is new; what stands for it, 0 of -1..1
NEWEST: Final = MAX_IMAGE_PROMPTS + 2 * MAX_OMNI


@dataclass(eq=False)
class _Kept:
    """A picture that is kept; `tokens`: its latents float32 [rows, C], once they were needed."""

    pixels: UInt8
    tokens: Float32 | None = None

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes + (0 if self.tokens is None else self.tokens.nbytes)


class StartPictures:
    """What generations of one engine start from, and what they look at.

    Args:
        encode: makes latents float32 [rows, C] of pixels of 0..255 [height, width, 3].
        unit: the model's granularity.
        max_bytes: pixels and latents beyond are forgotten, but for those in use.
    """

    def __init__(self, encode: Callable[[UInt8 | Float32], Float32], unit: int, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._encode, self._unit = encode, unit
        self._kept: OrderedDict[PictureForm, _Kept] = OrderedDict()
        self._pins: Counter[PictureForm] = Counter()

    def __contains__(self, form: PictureForm) -> bool:
        return form in self._kept

    @property
    def pinned(self) -> dict[PictureForm, int]:
        """What open generations use, and how many of them do."""
        return dict(self._pins)

    @property
    def num_bytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(kept.nbytes for kept in self._kept.values())

    def add(self, form: PictureForm, pixels: UInt8) -> None:
        """Keep a picture; one that is there already stays as it is.

        Raises:
            SpecError: pixels of another shape or dtype than the form says, or a size off the model's granularity.
        """
        unit = self._unit if form.through is None else 1  # what the text encoder sees has a unit of its own
        if form.size is None or any(side % unit or side < 1 for side in form.size):
            allowed = f"sides that are multiples of {self._unit}"
            raise SpecError(complaint(form.label, f"size {form.size}", allowed, "ask for another size"))
        if pixels.dtype != np.uint8 or pixels.shape != form.shape:
            got = f"{pixels.dtype} {list(pixels.shape)}"
            raise SpecError(complaint(form.label, got, f"uint8 {list(form.shape or ())}", "make it fit the request"))
        if form in self._kept:
            self._kept.move_to_end(form)
            return
        own = np.array(pixels, order="C")
        own.setflags(write=False)
        self._kept[form] = _Kept(own)
        self._forget_spare()

    def want(self, spec: GenerationSpec) -> None:
        """Raise SpecError unless everything that a spec starts from or looks at is here."""
        for form in _forms(spec):
            if form not in self._kept:
                width, height = form.size or (0, 0)
                got = f"picture {form.digest} at {width} x {height}, which is not here"
                raise SpecError(complaint(form.label, got, "one that was added", "call add_picture first"))

    def pin(self, spec: GenerationSpec) -> None:
        """Keep what a spec starts from and looks at until `unpin`. SpecError: it is not here."""
        self.want(spec)
        for form in _forms(spec):
            self._pins[form] += 1
            self._kept.move_to_end(form)

    def unpin(self, spec: GenerationSpec) -> None:
        """Undo one `pin` of the same spec."""
        for form in _forms(spec):
            self._pins[form] -= 1
        self._pins = +self._pins

    def pixels(self, spec: GenerationSpec) -> UInt8:
        """Return the pixels uint8 [height, width, 3] that a pinned spec starts from."""
        return self._kept[start_forms(spec)[0]].pixels

    def source(self, spec: GenerationSpec) -> UInt8:
        """Return the pixels uint8 [h, w, 3] that a pinned spec's pictures agree with, once they are brought down."""
        return self._kept[start_forms(spec)[-1]].pixels

    def begin(self, generation: Generation, noise: Float32) -> Float32:
        """Return the latents [images * rows, C] that a generation begins with, of its noise [images * rows, C]."""
        start, evaluations = generation.spec.start, generation.evaluations
        if start is None or (evaluations and not start.first_step(generation.spec.steps)):
            return noise if generation.noise_scale == 1 else np.float32(generation.noise_scale) * noise
        clean = np.tile(self._tokens(generation.spec), (generation.spec.images, 1))
        if not evaluations:
            return clean
        sigma = np.float32(evaluations[0].sigma)
        return (np.float32(1) - sigma) * clean + sigma * noise

    def region(self, ops: Ops[Any, Any], generation: Generation, noise: Float32, *, held: bool = True) -> Region | None:
        """Return what holds a generation to its picture; None: all of it is new. `held`: see `Region`."""
        spec = generation.spec
        if spec.start is None or not spec.start.masked or not generation.evaluations:
            return None
        forms = start_forms(spec)
        mask = None if spec.start.mask is None else self._kept[forms[-1]].pixels
        cover = cover_of(spec.start, mask, (spec.width, spec.height))
        return Region.of(ops, self.pixels(spec), cover, self._tokens(spec), noise, generation.grid, held)

    def beside(self, spec: GenerationSpec) -> Float32:
        """Return what a model that fills pictures reads beside the tokens of a pinned spec's masked picture, float32
        [rows, C + unit * unit]: the latents of the picture without its new pixels, and which these are."""
        assert spec.start is not None, "a spec with a masked picture"
        mask = None if spec.start.mask is None else self._kept[start_forms(spec)[-1]].pixels
        fresh = new_pixels(spec.start, mask, (spec.width, spec.height)) >= HALF
        pixels = self.pixels(spec).astype(np.float32)
        pixels[fresh] = GREY
        return np.concatenate([self._encode(pixels), packed_mask(fresh, self._unit)], axis=1)

    def references(self, spec: GenerationSpec) -> Float32 | None:
        """Return the clean latents [rows, C] of what a pinned spec looks at, one after another; None: nothing."""
        tokens = [self._tokens_of(use.form) for use in spec.references]
        return np.concatenate(tokens) if tokens else None

    def shown(self, spec: GenerationSpec) -> tuple[ShownPicture, ...]:
        """Return what the text encoder sees of the references of a spec, which are here, in their order."""
        forms = (use.text_form for use in spec.references)
        return tuple(ShownPicture(form.digest, self._kept[form].pixels) for form in forms if form is not None)

    def _tokens(self, spec: GenerationSpec) -> Float32:
        """Return the clean latents [rows, C] of a pinned spec's picture, of several their mean."""
        assert spec.start is not None, "a spec with pictures"
        forms = start_forms(spec)[: len(spec.start.pictures)]
        first, *others = map(self._tokens_of, forms)
        if not others:
            return first
        total = first.astype(np.float64)
        for tokens in others:
            total += tokens
        mean: Float32 = (total / len(forms)).astype(np.float32)
        return mean

    def _tokens_of(self, form: PictureForm) -> Float32:
        kept = self._kept[form]
        if kept.tokens is None:
            kept.tokens = self._encode(kept.pixels)
            self._forget_spare()
        return kept.tokens

    def _forget_spare(self) -> None:
        """Forget what is beyond the bound, but for the newest and those in use."""
        spare = self.num_bytes - self.max_bytes
        for form in [form for form in list(self._kept)[:-NEWEST] if not self._pins[form]]:
            if spare <= 0:
                break
            spare -= self._kept.pop(form).nbytes


def _forms(spec: GenerationSpec) -> tuple[PictureForm, ...]:
    """Return what a spec starts from, then what it looks at, each once."""
    return tuple(dict.fromkeys((*start_forms(spec), *(form for use in spec.references for form in use.forms))))
