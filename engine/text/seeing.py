"""Read a prompt as a message to Qwen2.5-VL that shows it pictures first, whose last states Qwen-Image-Edit reads.

Source: diffusers' `QwenImageEditPlusPipeline._get_qwen_prompt_embeds`. The pipeline cuts nothing; here a prompt ends at
a bound, and the template's end stays. Nothing is padded: an encoding has as many rows as there are tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from ...kernels.ops import Ops
from ...kernels.segments import Int32
from ..errors import MalformedFile
from ..models import language, qwen_vision
from .kept import KeptEncodings
from .message import AFTER
from .pipeline import Float32, ShownPicture, TextEncoding, read_only
from .plain_reader import PlainReader
from .tokenizer import PromptTokenizer, Tokens

BEFORE: Final = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture, objects, "
    "background), then explain how the user's text instruction should alter or modify the image. Generate a new image "
    "that meets the user's requirements while maintaining consistency with the original input where appropriate."
    "<|im_end|>\n<|im_start|>user\n"
)
PAD: Final = "<|image_pad|>"
PICTURE: Final = f"<|vision_start|>{PAD}<|vision_end|>"
DROPPED: Final = 64  # tokens of the beginning, by the tokenizer of the models
EMPTY: Final = " "  # the message of the unconditional input, as the makers of the model have it
LONGEST: Final = 4096  # tokens of what stands before a prompt, at most
SIGHT_BYTES: Final = 2**26  # of what is kept of pictures; one has some 3 MB


@dataclass(frozen=True)
class SeeingTokenizer:
    """A tokenizer of messages with pictures before the prompt.

    Attributes:
        tokenizer: of the text encoder.
        numbered: whether each picture is announced, as "Picture 1: ".
    """

    tokenizer: PromptTokenizer
    numbered: bool

    def encode(self, text: str, max_length: int, *, pad: bool = False) -> Tokens:
        """Tokenize what follows the pictures: a prompt and the template's end, at most `max_length` tokens together.

        What is cut off is the end of the prompt. `pad` must be False.
        """
        assert not pad, "messages are not padded"
        end = self.tokenizer.encode(AFTER, max_length, special=False).ids
        said = self.tokenizer.encode(text, max_length - len(end), special=False)
        ids = np.concatenate([said.ids, end])
        return Tokens(ids, len(ids), said.cut)

    def before(self, pictures: int) -> Int32:
        """Return the ids of the beginning, int32 [n], with one for each picture.

        The pictures end in a special token, at which every text is cut in any case, so a prompt can be cut apart.
        """
        shown = (f"Picture {number}: {PICTURE}" if self.numbered else PICTURE for number in range(1, pictures + 1))
        return self.tokenizer.encode(BEFORE + "".join(shown), LONGEST, special=False).ids

    @cached_property
    def picture(self) -> int:
        """The id that stands for a picture. Raise MalformedFile if the tokenizer has none."""
        found: int | None = self.tokenizer.files.library.token_to_id(PAD)
        if found is None:
            remedy = "name the folder of Qwen2.5-VL's tokenizer"
            raise MalformedFile("a tokenizer of another model", path=self.tokenizer.folder, expected=PAD, remedy=remedy)
        return found


class SeeingPipeline:
    """A `TextPipeline` that `SeesPictures`. It keeps the encodings of the last prompts, and what it saw of pictures.

    Args:
        ops: the backend.
        weights: the packed language side.
        vision: the packed image encoder.
        reader: reads and cuts prompts; of its one use the tokenizer is a `SeeingTokenizer`.
        cache_size: number of prompts whose encoding is kept.
        pictures: text rows of a picture, about.
    """

    def __init__(
        self, ops: Ops[Any, Any], weights: language.LanguageWeights, vision: qwen_vision.QwenVisionWeights,
        reader: PlainReader, cache_size: int, pictures: int = 256,
    ) -> None:  # fmt: skip
        self.ops, self.weights, self.vision, self.reader = ops, weights, vision, reader
        self.num_rows = reader.uses[0].length
        self.widths = weights.config.hidden_size, 0
        self._encodings = KeptEncodings(cache_size, 4 * (self.num_rows + pictures) * self.widths[0])
        self._sights: OrderedDict[tuple[str, int, int], Float32] = OrderedDict()

    @property
    def parts(self) -> tuple[int, ...]:
        """See `TextPipeline`."""
        return (self.num_rows,)

    @property
    def sizes(self) -> Mapping[str, Mapping[str, Any]]:
        """See `TextPipeline`."""
        seen = {f"vision_{name}": value for name, value in asdict(self.vision.config).items()}
        return {"text_encoder": {**asdict(self.weights.config), **seen}}

    @cached_property
    def unconditional(self) -> TextEncoding:
        """See `TextPipeline`. It is made when first used."""
        return self._encode(EMPTY, (), ())

    def encode(self, prompt: str, field: str = "prompt", *, beside: bool = False) -> TextEncoding:
        """Encode a prompt without pictures. Arguments and errors are those of `PlainReader.read`."""
        return self.encode_shown((), prompt, field, beside=beside)

    def encode_shown(
        self, pictures: Sequence[ShownPicture], prompt: str | None, field: str = "prompt", *, beside: bool = False
    ) -> TextEncoding:
        """See `SeesPictures`. Errors are those of `PlainReader.read`."""
        warnings = () if prompt is None else self.reader.read(prompt, field, beside=beside).warnings
        text = EMPTY if prompt is None else prompt
        keys = tuple(picture.key for picture in pictures)
        return self._encodings.get((keys, text), lambda: self._encode(text, pictures, warnings))

    def _encode(self, prompt: str, pictures: Sequence[ShownPicture], warnings: tuple[str, ...]) -> TextEncoding:
        (use,) = self.reader.uses
        assert isinstance(use.tokenizer, SeeingTokenizer), "the reader of a seeing pipeline"
        before = use.tokenizer.before(len(pictures))
        parts, sights, start, length = [], [], 0, 0
        places = np.flatnonzero(before == use.tokenizer.picture).tolist()
        for place, picture in zip(places, pictures, strict=True):
            rows, unit = self._seen(picture), self.vision.config.unit
            grid = picture.pixels.shape[0] // unit, picture.pixels.shape[1] // unit
            parts += [before[start:place], np.full(len(rows), use.tokenizer.picture, np.int32)]
            length += place - start
            sights.append(language.Sight(length, grid, self.ops.array(rows, "float32")))
            start, length = place + 1, length + len(rows)
        ids = np.concatenate([*parts, before[start:], use.tokenizer.encode(prompt, use.length).ids])
        (states,) = language.encode(
            self.ops, self.weights, [ids], sights=[sights] if sights else None, sections=self.vision.config.sections
        )
        rows = np.ascontiguousarray(self.ops.numpy(states)[DROPPED:])
        return read_only(rows, np.zeros(0, np.float32), None, warnings)

    def _seen(self, picture: ShownPicture) -> Float32:
        """Return the tokens of a picture, float32 [rows * columns, D]."""
        found = self._sights.get(picture.key)
        if found is None:
            made = qwen_vision.encode(self.ops, self.vision, picture.pixels)
            found = self._sights[picture.key] = self.ops.numpy(made)
        self._sights.move_to_end(picture.key)
        while len(self._sights) > 1 and sum(each.nbytes for each in self._sights.values()) > SIGHT_BYTES:
            self._sights.popitem(last=False)
        return found
