"""Encode a prompt as Qwen-Image reads it: the last states of Qwen2.5-VL's language side.

Source: diffusers' `QwenImagePipeline.encode_prompt`. A message that is too long is cut at its end. Without a negative
prompt the unconditional input is a blank, as the makers of the model have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ....kernels.ops import Ops
from ...checkpoint import Component
from ...config import Config
from ...limits import Limits
from ...models import language
from ...pipeline import Classes
from ..message import MessagePipeline, MessageTokenizer
from ..plain_reader import PlainReader, Use
from ..tokenizer import PromptTokenizer
from . import settings_of

HELP = "a prompt is read as it is, as a message to Qwen2.5-VL, as Qwen-Image does"
COMPONENTS: Final[Mapping[str, Classes]] = {
    "text_encoder": ("transformers", ("Qwen2_5_VLForConditionalGeneration",)),
    "tokenizer": (
        "transformers",
        ("Qwen2Tokenizer", "Qwen2TokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend"),
    ),
}
TOKENS: Final = 512  # of a message, where the pipeline cuts unless it is told otherwise
MOST_TOKENS: Final = 1024  # that it may be told
EMPTY: Final = " "


def files(salon: Config) -> Mapping[str, Any]:
    """See `Reader`. It reads components alone."""
    return {}


def widths(components: Mapping[str, Component], salon: Config) -> tuple[int, int]:
    """See `Reader`."""
    return language.LanguageConfig.read(components["text_encoder"].config).hidden_size, 0


def load(ops: Ops[Any, Any], components: Mapping[str, Component], salon: Config, limits: Limits) -> MessagePipeline:
    """See `Reader`."""
    weights = language.load_language(ops, components["text_encoder"])
    read = _reader(components, salon, limits, weights.config.vocab_size)
    return MessagePipeline(ops, weights, (-1,), read, EMPTY, limits.text_cache)


def reader(components: Mapping[str, Component], salon: Config, limits: Limits) -> PlainReader:
    """See `Reader`."""
    return _reader(components, salon, limits, None)


def _reader(components: Mapping[str, Component], salon: Config, limits: Limits, known: int | None) -> PlainReader:
    """Return what reads prompts. `known`: size of the text encoder's vocabulary, if it is to be compared."""
    settings = settings_of(salon)
    tokens = settings.integer("tokens", TOKENS, 8, MOST_TOKENS)
    settings.finish({"pipeline": "text/pipelines/__init__.py", "version": "of another pipeline"})
    tokenizer = MessageTokenizer(PromptTokenizer(components["tokenizer"].path, known))
    return PlainReader((Use("Qwen2.5-VL", tokenizer, tokens, whole=True),), limits.max_prompt_chars)
