"""Encode a prompt and pictures as Qwen-Image-Edit reads them: the last states of Qwen2.5-VL, which sees both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ....kernels.ops import Ops
from ...checkpoint import Component
from ...config import Config
from ...limits import Limits
from ...models import language, qwen_vision
from ..plain_reader import PlainReader, Use
from ..seeing import SeeingPipeline, SeeingTokenizer
from ..tokenizer import PromptTokenizer
from . import settings_of
from .qwen_image import COMPONENTS as COMPONENTS

HELP = "a prompt and pictures are read as a message to Qwen2.5-VL, as Qwen-Image-Edit does"
TOKENS: Final = 1024  # of a prompt with the template's end, which the pipeline calls the most


def files(salon: Config) -> Mapping[str, Any]:
    """See `Reader`. It reads components alone."""
    return {}


def widths(components: Mapping[str, Component], salon: Config) -> tuple[int, int]:
    """See `Reader`."""
    return _config(components["text_encoder"]).hidden_size, 0


def load(ops: Ops[Any, Any], components: Mapping[str, Component], salon: Config, limits: Limits) -> SeeingPipeline:
    """See `Reader`."""
    component = components["text_encoder"]
    config = _config(component)
    vision = qwen_vision.load_qwen_vision(ops, component)  # first: a text encoder without it is refused soon
    weights = language.load_language(ops, component)
    read = _reader(components, salon, limits, config.vocab_size)
    return SeeingPipeline(ops, weights, vision, read, limits.text_cache)


def reader(components: Mapping[str, Component], salon: Config, limits: Limits) -> PlainReader:
    """See `Reader`."""
    return _reader(components, salon, limits, None)


def _config(component: Component) -> language.LanguageConfig:
    """Return the config of the language side, whose vision side fits it."""
    config = language.LanguageConfig.read(component.config)
    seen = qwen_vision.QwenVisionConfig.read(component.config)
    if seen.out_hidden_size != config.hidden_size:
        expected = f"{config.hidden_size}, the width of the language side"
        component.config.refuse("vision_config.out_hidden_size", expected, seen.out_hidden_size)
    if 2 * sum(seen.sections) != config.head_dim:
        component.config.refuse("mrope_section", f"numbers whose sum is {config.head_dim // 2}", list(seen.sections))
    return config


def _reader(components: Mapping[str, Component], salon: Config, limits: Limits, known: int | None) -> PlainReader:
    """Return what reads prompts. `known`: size of the text encoder's vocabulary, if it is to be compared."""
    settings = settings_of(salon)
    tokens, numbered = settings.integer("tokens", TOKENS, 16, TOKENS), settings.boolean("numbered", True)
    settings.finish({"pipeline": "text/pipelines/__init__.py", "version": "of another pipeline"})
    tokenizer = SeeingTokenizer(PromptTokenizer(components["tokenizer"].path, known), numbered)
    return PlainReader((Use("Qwen2.5-VL", tokenizer, tokens, whole=True),), limits.max_prompt_chars)
