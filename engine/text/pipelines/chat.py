"""Encode a prompt in a chat template by states of a language model, as FLUX.2 and Z-Image read it.

Source: `encode_prompt` of diffusers' pipelines. FLUX.2 reads the padding like words. Behind a text, padding sees the
words before it; before a text, it sees nothing, and so all of it has the same state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any, Final

import numpy as np

from ....kernels.ops import Ops
from ...checkpoint import Component
from ...config import Config
from ...limits import Limits
from ...models import language
from ...pipeline import Classes
from ..chat import TEMPLATES, ChatTokenizer, Template
from ..kept import KeptEncodings
from ..pipeline import Float32, TextEncoding, read_only
from ..plain_reader import PlainReader, Use
from ..tokenizer import CLASSES, PromptTokenizer
from . import settings_of

HELP = "a prompt in a chat template is read by a language model, as FLUX.2 and Z-Image do"
COMPONENTS: Final[Mapping[str, Classes]] = {
    "text_encoder": ("transformers", ("Mistral3ForConditionalGeneration", "Qwen3ForCausalLM", "Qwen3Model")),
    "tokenizer": (
        "transformers", ("PixtralProcessor", *(name for name in CLASSES if not name.startswith(("CLIP", "T5"))))
    ),
}  # fmt: skip
TOKENS: Final = 512  # where the pipelines cut, template and padding included, unless salon.json says another number
MOST_TOKENS: Final = 4096


class ChatPipeline:
    """A `TextPipeline`. It keeps the encodings of the last prompts.

    Args:
        ops: the backend.
        weights: the packed language model.
        reader: reads and cuts prompts.
        tokenizer: the one that `reader` uses.
        tokens: the rows of every prompt, or where padding is not read the most that one has.
        cache_size: number of prompts whose encoding is kept.
    """

    def __init__(
        self, ops: Ops[Any, Any], weights: language.LanguageWeights, reader: PlainReader, tokenizer: ChatTokenizer,
        tokens: int, cache_size: int,
    ) -> None:  # fmt: skip
        self.ops = ops
        self.weights = weights
        self.reader = reader
        self.tokenizer = tokenizer
        self.template = tokenizer.template
        self.num_rows = tokens
        self.widths = len(self.template.layers) * weights.config.hidden_size, 0
        self._kept = KeptEncodings(cache_size, 4 * tokens * self.widths[0])

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
        """See `TextPipeline`. It is the encoding of an empty prompt, made when first used."""
        return self._encode("", ())

    def encode(self, prompt: str, field: str = "prompt", *, beside: bool = False) -> TextEncoding:
        """Encode a prompt. Arguments and errors are those of `PlainReader.read`."""
        reading = self.reader.read(prompt, field, beside=beside)
        return self._kept.get(prompt, lambda: self._encode(prompt, reading.warnings))

    def _encode(self, prompt: str, warnings: tuple[str, ...]) -> TextEncoding:
        left = self.tokenizer.tokenizer.files.pads_left
        behind = self.template.padded and not left
        tokens = self.tokenizer.encode(prompt, self.num_rows, pad=behind)
        missing = self.num_rows - tokens.count if self.template.padded and left else 0
        texts, counts = [tokens.ids], [tokens.count]
        if missing:
            texts.append(np.array([self.tokenizer.tokenizer.pad], np.int32))
            counts.append(0)
        states = language.encode(self.ops, self.weights, texts, self.template.layers, counts)
        rows = np.concatenate([self.ops.numpy(state) for state in states], axis=1)
        if missing:
            rows = np.concatenate([np.repeat(rows[-1:], missing, axis=0), rows[:-1]])
        return read_only(np.ascontiguousarray(rows), _no_pooled(), None, warnings)


def _no_pooled() -> Float32:
    return np.zeros(0, np.float32)


def files(salon: Config) -> Mapping[str, Any]:
    """See `Reader`. It reads components alone."""
    return {}


def widths(components: Mapping[str, Component], salon: Config) -> tuple[int, int]:
    """See `Reader`."""
    template, _ = _settings(salon)
    return len(template.layers) * _config(components, template).hidden_size, 0


def load(ops: Ops[Any, Any], components: Mapping[str, Component], salon: Config, limits: Limits) -> ChatPipeline:
    """See `Reader`."""
    template, tokens = _settings(salon)
    config = _config(components, template)
    weights = language.load_language(ops, components["text_encoder"])
    tokenizer = ChatTokenizer(PromptTokenizer(components["tokenizer"].path, config.vocab_size), template)
    read = _reader(tokenizer, tokens, limits)
    return ChatPipeline(ops, weights, read, tokenizer, tokens, limits.text_cache)


def reader(components: Mapping[str, Component], salon: Config, limits: Limits) -> PlainReader:
    """See `Reader`."""
    template, tokens = _settings(salon)
    return _reader(ChatTokenizer(PromptTokenizer(components["tokenizer"].path), template), tokens, limits)


def _config(components: Mapping[str, Component], template: Template) -> language.LanguageConfig:
    """Return the config of a language model that has the layers whose states are read."""
    component = components["text_encoder"]
    config = language.LanguageConfig.read(component.config)
    deepest = max(layer if layer >= 0 else -1 - layer for layer in template.layers)
    if config.num_hidden_layers < deepest:
        expected = f"at least {deepest}: the model reads the states behind layers {list(template.layers)}"
        component.config.refuse("num_hidden_layers", expected, config.num_hidden_layers)
    return config


def _settings(salon: Config) -> tuple[Template, int]:
    """Return the template, and the tokens of a prompt in it."""
    settings = settings_of(salon)
    name = settings.only("template", tuple(TEMPLATES))
    tokens = settings.integer("tokens", TOKENS, 8, MOST_TOKENS)
    settings.finish({"pipeline": "text/pipelines/__init__.py", "version": "of another pipeline"})
    return TEMPLATES[name], tokens


def _reader(tokenizer: ChatTokenizer, tokens: int, limits: Limits) -> PlainReader:
    return PlainReader([Use(tokenizer.template.encoder, tokenizer, tokens, whole=True)], limits.max_prompt_chars)
