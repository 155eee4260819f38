"""Carry out an inquiry on a loaded model: its probes in ragged batches, and their numbers.

With a picture a probe's number is the mean squared error of the predicted velocity, as its training loss had it: the
less, the better the text describes the picture (a diffusion classifier: Li et al., "Your diffusion model is secretly a
zero-shot classifier", 2303.16203). Without one it is the mean squared difference from what the model predicts for the
spec's own prompt, of latents that it makes of noise by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import complaint
from ..kernels.ops import Ops
from . import noise
from .denoiser import Denoiser, Sample
from .errors import NumericalError, PromptError, StateError
from .inquiries import PLUGINS, Course, Probe, Question, Text
from .text.pipeline import TextEncoding

if TYPE_CHECKING:
    from .spec import GenerationSpec

Float32 = NDArray[np.float32]

NUMBER: Final = "<f8"  # of a probe, when it is parked


class Probing:
    """The state of one inquiry.

    Args:
        ops, denoiser: the backend and the model.
        encode: returns the encodings of several prompts; "" is the unconditional input.
        spec: what is asked, about which prompt, at which size.
        question: what the inquiry knows.
        course: how it is cut up.
        grid: (height, width) of the picture in tokens.
        guidance: the input of the model's guidance embedding, or None.
        clean: tokens float32 [rows, C] of the picture that it is about; None: it is about the prompt alone.
        channels: C.

    Attributes:
        answer: the texts, once all probes are taken; None before.
    """

    def __init__(
        self,
        ops: Ops[Any, Any],
        denoiser: Denoiser,
        encode: Callable[[Sequence[str]], list[TextEncoding]],
        spec: GenerationSpec,
        question: Question,
        course: Course,
        *,
        grid: tuple[int, int],
        guidance: float | None,
        clean: Float32 | None,
        channels: int,
    ) -> None:
        self.course = course
        self.answer: tuple[Text, ...] | None = None
        self._ops, self._denoiser, self._encode, self._spec = ops, denoiser, encode, spec
        self._grid, self._guidance, self._clean, self._channels = grid, guidance, clean, channels
        self._numbers: list[float] = []
        self._compared: dict[tuple[int, float], tuple[Float32, Float32]] = {}
        self._asking = PLUGINS.get(spec.inquiry).ask(question)
        self._round: Sequence[Probe] = next(self._asking)
        self._taken = 0  # of this round

    @property
    def position(self) -> int:
        """Pieces that are done."""
        return self.course.pieces if self.answer is not None else len(self._numbers) // self.course.piece

    def advance(self) -> None:
        """Take the probes of the next piece. NumericalError: the model made NaN or infinity."""
        assert self.answer is None, "a piece too many"
        left = self.course.piece
        while left and self.answer is None:
            probes = self._round[self._taken : self._taken + left]
            self._take(self._measure(probes))
            left -= len(probes)

    def to_data(self) -> bytes:
        """Return the numbers so far, from which `resume` goes on."""
        return np.array(self._numbers, NUMBER).tobytes()

    def resume(self, data: bytes) -> None:
        """Go on from the numbers of `to_data`. StateError: they are not those of this inquiry."""
        size = np.dtype(NUMBER).itemsize
        if len(data) % size or len(data) // size > self.course.probes:
            got, allowed = f"{len(data):,} bytes of numbers", f"up to {self.course.probes * size:,}, whole numbers"
            raise StateError(complaint("parked generation", got, allowed, "open it anew"))
        numbers = np.frombuffer(data, NUMBER).tolist()
        while numbers and self.answer is None:
            some = numbers[: len(self._round) - self._taken]
            self._take(some)
            del numbers[: len(some)]

    def _take(self, numbers: Sequence[float]) -> None:
        """Keep the numbers of the next probes; at the end of a round the inquiry says what comes next."""
        self._numbers += numbers
        self._taken += len(numbers)
        if self._taken == len(self._round):
            round_ = self._numbers[len(self._numbers) - self._taken :]
            self._taken = 0
            try:
                self._round = self._asking.send(round_)
            except StopIteration as done:
                self.answer = done.value
                assert len(self._numbers) == self.course.probes, "not as many probes as were announced"

    def _measure(self, probes: Sequence[Probe]) -> list[float]:
        """Return the numbers of probes, taken in one ragged batch. None depends on the others."""
        if not probes:
            return []
        looks = [self._look(probe.noise, probe.sigma) for probe in probes]
        texts = list(dict.fromkeys(probe.text for probe in probes))
        encodings = dict(zip(texts, self._encode(texts), strict=True))
        velocities = self._velocities(
            [encodings[probe.text] for probe in probes],
            [noisy for noisy, _ in looks],
            [probe.sigma for probe in probes],
        )
        numbers = []
        for velocity, (_, compared) in zip(velocities, looks, strict=True):
            off = (velocity - compared).astype(np.float64).reshape(-1)
            numbers.append(float((off * off).sum() / len(off)))
        if not np.isfinite(numbers).all():
            raise NumericalError(f"{self._spec.inquiry}: NaN or infinity in a velocity; check the model's weights")
        return numbers

    def _velocities(
        self, texts: Sequence[TextEncoding], latents: Sequence[Float32], sigmas: Sequence[float]
    ) -> list[Float32]:
        """Return the model's velocity [rows, C] of each sample."""
        ops, denoiser = self._ops, self._denoiser
        layout = denoiser.layout(ops, [Sample(self._grid, text, self._guidance) for text in texts])
        (times,) = ops.vectors(denoiser.times(np.array(sigmas, np.float32)))
        whole = denoiser.velocity(ops, layout, ops.array(np.concatenate(latents), "float32"), times)
        return list(ops.numpy(whole).reshape(len(texts), -1, self._channels))

    def _look(self, number: int, sigma: float) -> tuple[Float32, Float32]:
        """Return (noisy latents, the velocity that is compared with them), both [rows, C], of a noise sample."""
        if (number, sigma) in self._compared:
            return self._compared[number, sigma]
        rows = self._grid[0] * self._grid[1]
        drawn = noise.normal(self._spec.seed, number, 0, rows, self._channels)
        share = np.float32(sigma)
        if self._clean is not None:
            found = (np.float32(1) - share) * self._clean + share * drawn, drawn - self._clean
        else:
            (own,) = self._encode([self._spec.prompt])
            (first,) = self._velocities([own], [drawn], [1.0])
            noisy = (np.float32(1) - share) * (drawn - first) + share * drawn
            found = noisy, self._velocities([own], [noisy], [sigma])[0]
        self._compared[number, sigma] = found
        return found


def encoder_of(text: Any, unconditional: TextEncoding) -> Callable[[Sequence[str]], list[TextEncoding]]:
    """Return what encodes the texts of probes with a text pipeline that reads clauses.

    Words that name no thing count as words beside a prompt; where nothing is left of a text, it is the unconditional
    input.
    """

    def encode(prompts: Sequence[str]) -> list[TextEncoding]:
        readings: dict[str, Any] = {}
        for prompt in prompts:
            for beside in (False, True):
                try:
                    readings[prompt] = text.reader.read(prompt, beside=beside)
                    break
                except PromptError:
                    continue
        read = [prompt for prompt in prompts if prompt in readings]
        made: Mapping[str, TextEncoding] = dict(
            zip(read, text.encode_read([readings[prompt] for prompt in read]), strict=True)
        )
        return [made.get(prompt, unconditional) for prompt in prompts]

    return encode
