"""Encode a prompt as FLUX.1 reads it: token states by T5, and a pooled vector by CLIP.

Source: diffusers' `FluxPipeline.encode_prompt`. Both read the whole prompt, each cut where the pipeline cuts it. T5's
text is padded to its full length, and padding is attended to like words, there and in the transformer: without it
pictures are others than those that the model was trained to make.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, Final

from ....kernels.ops import LowRankTerm, Ops
from ...checkpoint import Component
from ...config import Config
from ...limits import Limits
from ...lora_uses import LoraUse
from ...models import clip, t5
from ...models.low_rank import BatchLoras, low_rank
from ...pipeline import Classes
from ...weights import clip_lora, t5_lora
from ...weights.clip import ClipConfig, load_clip
from ...weights.lora_map import LoraMap
from ...weights.t5 import T5Config, load_t5
from ..pipeline import TextEncoding, TextLoras, read_only
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
POOLING, READING = "text_encoder", "text_encoder_2"  # the components: CLIP and T5
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
        self._cache: OrderedDict[tuple[str, tuple[LoraUse, ...]], TextEncoding] = OrderedDict()

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
        return self._known(prompt, reading.warnings, None)

    def lora_map(self) -> LoraMap:
        """See `TakesTextLoras`."""
        return _lora_map(self.clip.config, self.t5.config)

    def encode_with(
        self, loras: TextLoras, prompt: str | None, field: str = "prompt", *, beside: bool = False
    ) -> TextEncoding:
        """See `TakesTextLoras`."""
        warnings = () if prompt is None else self.reader.read(prompt, field, beside=beside).warnings
        return self._known(prompt or "", warnings, loras)

    def _known(self, prompt: str, warnings: tuple[str, ...], loras: TextLoras | None) -> TextEncoding:
        """Return the encoding of a prompt that can be read, which is kept."""
        key = prompt, () if loras is None else loras.uses
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        encoding = self._cache[key] = self._encode(prompt, warnings, loras)
        while len(self._cache) > self._kept:
            self._cache.popitem(last=False)
        return encoding

    def _encode(self, prompt: str, warnings: tuple[str, ...], loras: TextLoras | None = None) -> TextEncoding:
        acting, (pooled_use, token_use) = None, self.reader.uses
        if loras is not None:
            rows = {"text": CLIP_TOKENS, "pooled": 1, "tokens": self.num_rows}
            acting = BatchLoras([loras.acting], {place: [[(0, count)]] for place, count in rows.items()})

        def of_clip(target: str, place: str) -> Sequence[LowRankTerm]:
            return low_rank(acting, clip_lora.target_of(POOLING, target), place)

        def of_t5(target: str) -> Sequence[LowRankTerm]:
            return low_rank(acting, clip_lora.target_of(READING, target), "tokens")

        states = t5.encode(self.ops, self.t5, [token_use.ids(prompt)], of_t5)
        pooled = clip.encode(self.ops, self.clip, [pooled_use.ids(prompt)], low_rank=of_clip).pooled
        tokens = self.ops.numpy(states)
        return read_only(tokens, self.ops.numpy(pooled)[0].copy(), None, warnings)


def files(salon: Config) -> Mapping[str, Any]:
    """See `Reader`. It reads components alone."""
    return {}


def widths(components: Mapping[str, Component], salon: Config) -> tuple[int, int]:
    """See `Reader`."""
    return T5Config.read(components[READING].config).d_model, ClipConfig.read(components[POOLING].config).hidden_size


def load(ops: Ops[Any, Any], components: Mapping[str, Component], salon: Config, limits: Limits) -> ClipT5Pipeline:
    """See `Reader`."""
    clip_weights = load_clip(ops, components["text_encoder"])
    t5_weights = load_t5(ops, components["text_encoder_2"])
    known = clip_weights.config.vocab_size, t5_weights.config.vocab_size
    read = _reader(components, salon, limits, known)
    return ClipT5Pipeline(ops, clip_weights, t5_weights, read, read.uses[1].length, limits.text_cache)


def lora_map(components: Mapping[str, Component]) -> LoraMap:
    """See `LoraRules`."""
    return _lora_map(ClipConfig.read(components[POOLING].config), T5Config.read(components[READING].config))


def _lora_map(of_clip: ClipConfig, of_t5: T5Config) -> LoraMap:
    return clip_lora.lora_map({POOLING: of_clip}).beside(t5_lora.lora_map(READING, of_t5))


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
