"""Encode a prompt as FLUX.1 reads it: token states by T5, and a pooled vector by CLIP.

Source: diffusers' `FluxPipeline.encode_prompt`. Both read the whole prompt, each cut where the pipeline cuts it. T5's
text is padded to its full length, and padding is attended to like words, there and in the transformer: without it
pictures are others than those that the model was trained to make.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any, Final

from ....kernels.ops import Ops
from ...checkpoint import Component
from ...config import Config
from ...limits import Limits
from ...models import clip, t5
from ...pipeline import Classes
from ...weights.clip import load_clip
from ...weights.t5 import load_t5
from ..pipeline import TextEncoding, read_only
from ..plain_reader import PlainReader, Use
from ..tokenizer import PromptTokenizer
from . import settings_of

HELP = "a prompt is read as it is, by T5 for its tokens and by CLIP for a pooled vector, as FLUX.1 does"
_ANY_TOKENIZER: Final = ("PreTrainedTokenizerFast", "TokenizersBackend")
COMPONENTS: Final[Mapping[str, Classes]] = {
    "text_encoder": ("transformers", ("CLIPTextModel",)),
    "text_encoder_2": ("transformers", ("T5EncoderModel",)),
    "tokenizer": ("transformers", ("CLIPTokenizer", "CLIPTokenizerFast", *_ANY_TOKENIZER)),
    "tokenizer_2": ("transformers", ("T5Tokenizer", "T5TokenizerFast", *_ANY_TOKENIZER)),
}
CLIP_TOKENS: Final = 77  # the positions of every CLIP, and where the pipeline cuts
TOKENS: Final = 512  # of T5, unless salon.json or the family says another number
MOST_TOKENS: Final = 4096
KEPT_BYTES: Final = 2**28  # of encodings that are kept; one of 512 tokens of T5-XXL has 8 MiB


class ClipT5Pipeline:
    """A `TextPipeline`. It keeps the encodings of the last prompts.

    Args:
        ops: the backend.
        clip_weights, t5_weights: the packed text encoders.
        reader: reads and cuts prompts.
        tokens: R, the rows of every prompt.
        cache_size: number of prompts whose encoding is kept, within `KEPT_BYTES`.
    """

    def __init__(
        self, ops: Ops[Any, Any], clip_weights: Any, t5_weights: Any, reader: PlainReader, tokens: int, cache_size: int
    ) -> None:
        self.ops = ops
        self.clip, self.t5 = clip_weights, t5_weights
        self.reader = reader
        self.num_rows = tokens
        self.widths = t5_weights.config.d_model, clip_weights.config.hidden_size
        self._kept = min(cache_size, KEPT_BYTES // (4 * tokens * self.widths[0]))
        self._cache: OrderedDict[str, TextEncoding] = OrderedDict()

    @property
    def parts(self) -> tuple[int, ...]:
        """See `TextPipeline`."""
        return (self.num_rows,)

    @property
    def sizes(self) -> Mapping[str, Mapping[str, Any]]:
        """See `TextPipeline`."""
        return {"text_encoder": asdict(self.clip.config), "text_encoder_2": asdict(self.t5.config)}

    @cached_property
    def unconditional(self) -> TextEncoding:
        """See `TextPipeline`. It is the encoding of an empty prompt, made when first used."""
        return self._encode("", ())

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
        pooled_use, token_use = self.reader.uses
        states = t5.encode(self.ops, self.t5, [token_use.ids(prompt)])
        pooled = clip.encode(self.ops, self.clip, [pooled_use.ids(prompt)]).pooled
        tokens = self.ops.numpy(states)
        return read_only(tokens, self.ops.numpy(pooled)[0].copy(), None, warnings)


def files(salon: Config) -> Mapping[str, Any]:
    """See `Reader`. It reads components alone."""
    return {}


def load(ops: Ops[Any, Any], components: Mapping[str, Component], salon: Config, limits: Limits) -> ClipT5Pipeline:
    """See `Reader`."""
    clip_weights = load_clip(ops, components["text_encoder"])
    t5_weights = load_t5(ops, components["text_encoder_2"])
    known = clip_weights.config.vocab_size, t5_weights.config.vocab_size
    read = _reader(components, salon, limits, known)
    return ClipT5Pipeline(ops, clip_weights, t5_weights, read, read.uses[1].length, limits.text_cache)


def reader(components: Mapping[str, Component], salon: Config, limits: Limits) -> PlainReader:
    """See `Reader`."""
    return _reader(components, salon, limits, (None, None))


def _reader(
    components: Mapping[str, Component], salon: Config, limits: Limits, known: tuple[int | None, int | None]
) -> PlainReader:
    """Return what reads prompts. `known`: sizes of the text encoders' vocabularies, if they are to be compared."""
    settings = settings_of(salon)
    tokens = settings.integer("tokens", TOKENS, 8, MOST_TOKENS)
    settings.finish({"pipeline": "text/pipelines/__init__.py", "version": "of another pipeline"})
    first, second = (
        PromptTokenizer(components[name].path, size)
        for name, size in zip(("tokenizer", "tokenizer_2"), known, strict=True)
    )
    uses = Use("CLIP", first, CLIP_TOKENS, whole=False), Use("T5", second, tokens, whole=True)
    return PlainReader(uses, limits.max_prompt_chars)
