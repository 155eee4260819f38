"""Encode a prompt as Krea 2 reads it: states of a dozen layers of Qwen3-VL's language side for each token.

Source: diffusers' `Krea2Pipeline.encode_prompt`. A prompt that is too long is cut, and the template's end is kept. The
pipeline's padding is seen by no token, so there is none here.
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

HELP = "a prompt is read as it is, as a message to Qwen3-VL, as Krea 2 does"
COMPONENTS: Final[Mapping[str, Classes]] = {
    "text_encoder": ("transformers", ("Qwen3VLModel", "Qwen3VLForConditionalGeneration")),
    "tokenizer": (
        "transformers",
        ("Qwen2Tokenizer", "Qwen2TokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend"),
    ),
}
TOKENS: Final = 512  # of a message, where the pipeline cuts
MOST_TOKENS: Final = 4096
END: Final = 5  # tokens of the template's end, by the tokenizer of the models
LAYERS: Final = (2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 35)  # whose states are read, unless the model says others


def files(salon: Config) -> Mapping[str, Any]:
    """See `Reader`. It reads components alone."""
    return {}


def widths(components: Mapping[str, Component], salon: Config) -> tuple[int, int]:
    """See `Reader`."""
    _, layers = _settings(salon)
    return len(layers) * _config(components, layers).hidden_size, 0


def load(ops: Ops[Any, Any], components: Mapping[str, Component], salon: Config, limits: Limits) -> MessagePipeline:
    """See `Reader`."""
    tokens, layers = _settings(salon)
    config = _config(components, layers)
    weights = language.load_language(ops, components["text_encoder"])
    read = _reader(components, tokens, limits, config.vocab_size)
    return MessagePipeline(ops, weights, layers, read, "", limits.text_cache)


def reader(components: Mapping[str, Component], salon: Config, limits: Limits) -> PlainReader:
    """See `Reader`."""
    return _reader(components, _settings(salon)[0], limits, None)


def _config(components: Mapping[str, Component], layers: tuple[int, ...]) -> language.LanguageConfig:
    """Return the config of a text encoder that has the layers whose states are read."""
    component = components["text_encoder"]
    config = language.LanguageConfig.read(component.config)
    if config.num_hidden_layers < max(layers):
        expected = f"at least {max(layers)}: the model reads the states behind layers {list(layers)}"
        component.config.refuse("num_hidden_layers", expected, config.num_hidden_layers)
    return config


def _settings(salon: Config) -> tuple[int, tuple[int, ...]]:
    """Return the tokens of a message, and the layers whose states are read."""
    settings = settings_of(salon)
    tokens = settings.integer("tokens", TOKENS, 8, MOST_TOKENS)
    layers = settings.integers("layers", LAYERS, 0, 1000)
    settings.finish({"pipeline": "text/pipelines/__init__.py", "version": "of another pipeline"})
    return tokens, layers


def _reader(components: Mapping[str, Component], tokens: int, limits: Limits, known: int | None) -> PlainReader:
    """Return what reads prompts. `known`: size of the text encoder's vocabulary, if it is to be compared."""
    tokenizer = MessageTokenizer(PromptTokenizer(components["tokenizer"].path, known), END)
    return PlainReader((Use("Qwen3-VL", tokenizer, tokens, whole=True),), limits.max_prompt_chars)
