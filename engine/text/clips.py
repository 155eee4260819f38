"""Encode prompts by one or several CLIPs, whose token states stand side by side, as Stable Diffusion and SDXL do."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, Final

import numpy as np

from ...kernels.ops import LowRankTerm, Ops
from ..checkpoint import Component
from ..config import Config
from ..limits import Limits
from ..lora_uses import LoraUse
from ..models import clip
from ..models.low_rank import BatchLoras
from ..weights import clip_lora
from ..weights.clip import ClipConfig, load_clip
from ..weights.lora_map import LoraMap
from .pipeline import TextEncoding, TextLoras, read_only
from .plain_reader import PlainReader, Use
from .tokenizer import PromptTokenizer

TOKENIZERS: Final = ("CLIPTokenizer", "CLIPTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend")
TOKENS: Final = 77  # the positions of every CLIP, and where the pipelines cut
MOST_SKIPPED: Final = 10


class ClipsPipeline:
    """A `TextPipeline`. It keeps the encodings of the last prompts.

    Args:
        ops: the backend.
        encoders: the packed CLIPs, by their component's name.
        reader: reads and cuts prompts, with a use for each encoder.
        layer: whose states are read, as `clip.encode` counts; None: the last layer's.
        normed: whether the states of a layer pass the encoder's final norm.
        pooled: whether the last encoder's pooled vector is read.
        zeros: whether the input without a negative prompt is zeros, and not the encoding of an empty prompt.
        cache_size: number of prompts whose encoding is kept.
    """

    def __init__(
        self, ops: Ops[Any, Any], encoders: Mapping[str, Any], reader: PlainReader, *, layer: int | None, normed: bool,
        pooled: bool, zeros: bool, cache_size: int,
    ) -> None:  # fmt: skip
        self.ops, self.reader = ops, reader
        self.encoders = dict(encoders)
        self.num_rows = TOKENS
        rows, width = _widths([weights.config for weights in self.encoders.values()])
        self.widths = rows, width if pooled else 0
        self._layer, self._normed, self._pooled, self._zeros = layer, normed, pooled, zeros
        self._kept = cache_size
        self._cache: OrderedDict[tuple[str, tuple[LoraUse, ...]], TextEncoding] = OrderedDict()

    @property
    def parts(self) -> tuple[int, ...]:
        """See `TextPipeline`."""
        return (self.num_rows,)

    @property
    def sizes(self) -> Mapping[str, Mapping[str, Any]]:
        """See `TextPipeline`."""
        return {name: asdict(weights.config) for name, weights in self.encoders.items()}

    @cached_property
    def unconditional(self) -> TextEncoding:
        """See `TextPipeline`."""
        if self._zeros:
            rows, pooled = self.widths
            return read_only(np.zeros((self.num_rows, rows), np.float32), np.zeros(pooled, np.float32))
        return self._encode("", ())

    def encode(self, prompt: str, field: str = "prompt", *, beside: bool = False) -> TextEncoding:
        """Encode a prompt. Arguments and errors are those of `PlainReader.read`."""
        reading = self.reader.read(prompt, field, beside=beside)
        return self._known(prompt, reading.warnings, None)

    def lora_map(self) -> LoraMap:
        """See `TakesTextLoras`."""
        return clip_lora.lora_map({name: weights.config for name, weights in self.encoders.items()})

    def encode_with(
        self, loras: TextLoras, prompt: str | None, field: str = "prompt", *, beside: bool = False
    ) -> TextEncoding:
        """See `TakesTextLoras`."""
        if prompt is None:
            return self.unconditional if self._zeros else self._known("", (), loras)
        reading = self.reader.read(prompt, field, beside=beside)
        return self._known(prompt, reading.warnings, loras)

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
        ops, states, pooled = self.ops, [], np.zeros(0, np.float32)
        acting = None if loras is None else BatchLoras([loras.acting], {"text": [[(0, TOKENS)]], "pooled": [[(0, 1)]]})
        for (name, weights), use in zip(self.encoders.items(), self.reader.uses, strict=True):

            def low_rank(target: str, place: str, name: str = name) -> Sequence[LowRankTerm]:
                return () if acting is None else acting.terms(clip_lora.target_of(name, target), place)

            found = clip.encode(ops, weights, [use.ids(prompt)], layer=self._layer, low_rank=low_rank)
            rows = found.states
            if self._layer is not None and self._normed:
                norm = weights.norm
                rows = ops.norm(rows, norm.weight, norm.bias, eps=weights.config.layer_norm_eps, dtype="float32")
            states.append(ops.numpy(rows))
            if self._pooled:
                pooled = ops.numpy(found.pooled)[0].copy()
        return read_only(np.concatenate(states, axis=1), pooled, None, warnings)


def load_clips(ops: Ops[Any, Any], components: Mapping[str, Component], names: Sequence[str]) -> dict[str, Any]:
    """Pack the CLIPs of a checkpoint, by their components' names.

    Raises:
        WrongConfig: one of them has fewer positions than prompts have tokens.
        CheckpointError: anything else is wrong with one.
    """
    _configs(components, names)
    return {name: load_clip(ops, components[name]) for name in names}


def clip_widths(components: Mapping[str, Component], names: Sequence[str]) -> tuple[int, int]:
    """Return the columns of the states of a checkpoint's CLIPs side by side, and of the last one's pooled vector.

    No weight is read.

    Raises:
        WrongConfig: one of them has fewer positions than prompts have tokens.
        CheckpointError: anything else is wrong with a config.
    """
    return _widths(_configs(components, names))


def _configs(components: Mapping[str, Component], names: Sequence[str]) -> list[ClipConfig]:
    found = []
    for name in names:
        config = ClipConfig.read(components[name].config)
        if config.max_position_embeddings < TOKENS:
            expected = f"{TOKENS} or more"
            components[name].config.refuse("max_position_embeddings", expected, config.max_position_embeddings)
        found.append(config)
    return found


def _widths(configs: Sequence[ClipConfig]) -> tuple[int, int]:
    return sum(config.hidden_size for config in configs), configs[-1].projection_dim or configs[-1].hidden_size


def clip_lora_map(components: Mapping[str, Component], names: Sequence[str]) -> LoraMap:
    """Return where LoRAs may change the CLIPs of a checkpoint, by their configs alone."""
    return clip_lora.lora_map({name: ClipConfig.read(components[name].config) for name in names})


def skip_of(settings: Config) -> int | None:
    """Read how many of the last layers are left out, "skip" of the "text" part of `salon.json`; None: it says nothing.

    It is clip_skip of diffusers' pipelines, here for prompts and negative prompts alike.
    """
    return None if settings.raw("skip") is None else settings.integer("skip", low=0, high=MOST_SKIPPED)


def plain_reader(
    components: Mapping[str, Component], names: Sequence[str], limits: Limits, encoders: Mapping[str, Any] | None = None
) -> PlainReader:
    """Return what reads prompts.

    Args:
        names: of the tokenizers, in the order of the encoders.
        encoders: whose vocabularies are to be compared with the tokenizers'; None: they are not.
    """
    known = [None] * len(names) if encoders is None else [each.config.vocab_size for each in encoders.values()]
    uses = [
        Use("CLIP", PromptTokenizer(components[name].path, size), TOKENS, whole=True)
        for name, size in zip(names, known, strict=True)
    ]
    return PlainReader(uses, limits.max_prompt_chars)
