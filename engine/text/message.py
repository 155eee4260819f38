"""Read a prompt as a message to a chat model, whose states of chosen layers the image model reads.

The message stands between texts of the template. The states of the template's beginning, which are the same for every
prompt, are dropped. Prompts are not padded: each encoding has as many rows as the prompt has tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from ...kernels.ops import Ops
from ..models import language
from .pipeline import TextEncoding, read_only
from .plain_reader import PlainReader
from .tokenizer import PromptTokenizer, Tokens

KEPT_BYTES: Final = 2**28  # of encodings that are kept
BEFORE: Final = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
)
AFTER: Final = "<|im_end|>\n<|im_start|>assistant\n"
DROPPED: Final = 34  # tokens of the beginning, by the tokenizer of the models


@dataclass(frozen=True)
class MessageTokenizer:
    """A tokenizer of whole messages.

    Attributes:
        tokenizer: of the text encoder.
        end: tokens that are kept for the template's end, which a prompt that is too long does not cut off then; None:
            a text that is too long is cut where it ends, and the template's end goes first.
    """

    tokenizer: PromptTokenizer
    end: int | None = None

    def encode(self, text: str, max_length: int, *, pad: bool = False) -> Tokens:
        """Tokenize a message, with the template.

        Args:
            max_length: tokens at most, without those of the beginning that are dropped.
            pad: must be False.

        Returns:
            All tokens; `cut` is the end of the prompt that they do not have.
        """
        assert not pad, "messages are not padded"
        if self.end is None:
            whole = self.tokenizer.encode(BEFORE + text + AFTER, max_length + DROPPED)
            ending = AFTER.strip()
            left = "" if ending.endswith(whole.cut) else whole.cut.removesuffix(ending).strip()
            return Tokens(whole.ids, whole.count, left)
        first = self.tokenizer.encode(BEFORE + text, max_length + DROPPED - self.end)
        ids = np.concatenate([first.ids, self.tokenizer.encode(AFTER, max_length).ids])
        return Tokens(ids, len(ids), first.cut)


class MessagePipeline:
    """A `TextPipeline`. It keeps the encodings of the last prompts.

    Args:
        ops: the backend.
        weights: the packed text encoder.
        layers: whose states stand side by side in a row, as `language.encode` numbers them.
        reader: reads and cuts prompts; of its one use the tokenizer is a `MessageTokenizer`.
        empty: the message of the unconditional input.
        cache_size: number of prompts whose encoding is kept, within `KEPT_BYTES`.
    """

    def __init__(
        self, ops: Ops[Any, Any], weights: language.LanguageWeights, layers: Sequence[int], reader: PlainReader,
        empty: str, cache_size: int,
    ) -> None:  # fmt: skip
        self.ops, self.weights, self.layers, self.reader, self.empty = ops, weights, tuple(layers), reader, empty
        self.num_rows = reader.uses[0].length
        self.widths = len(self.layers) * weights.config.hidden_size, 0
        self._kept = min(cache_size, max(1, KEPT_BYTES // (4 * self.num_rows * self.widths[0])))
        self._cache: OrderedDict[str, TextEncoding] = OrderedDict()

    @property
    def parts(self) -> tuple[int, ...]:
        """See `TextPipeline`."""
        return (self.num_rows,)

    @property
    def sizes(self) -> Mapping[str, Mapping[str, Any]]:
        """See `TextPipeline`."""
        return {"text_encoder": asdict(self.weights.config)}

    @cached_property
    def unconditional(self) -> TextEncoding:
        """See `TextPipeline`. It is made when first used."""
        return self._encode(self.empty, ())

    def encode(self, prompt: str, field: str = "prompt", *, beside: bool = False) -> TextEncoding:
        """Encode a prompt. Arguments and errors are those of `PlainReader.read`."""
        reading = self.reader.read(prompt, field, beside=beside)
        if prompt in self._cache:
            self._cache.move_to_end(prompt)
            return self._cache[prompt]
        encoding = self._encode(prompt, reading.warnings)
        self._cache[prompt] = encoding
        while len(self._cache) > self._kept:
            self._cache.popitem(last=False)
        return encoding

    def _encode(self, prompt: str, warnings: tuple[str, ...]) -> TextEncoding:
        (use,) = self.reader.uses
        ids = use.tokenizer.encode(prompt, use.length).ids
        states = language.encode(self.ops, self.weights, [ids], self.layers)
        rows = np.concatenate([self.ops.numpy(each)[DROPPED:] for each in states], axis=1)
        return read_only(np.ascontiguousarray(rows), np.zeros(0, np.float32), None, warnings)
