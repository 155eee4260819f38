"""Encode a prompt as SDXL reads it: by two CLIPs, of whose last layers but one the states stand side by side.

Source: diffusers' `StableDiffusionXLPipeline.encode_prompt`. The second one's pooled vector is read, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ....kernels.ops import Ops
from ...checkpoint import Component
from ...config import Config
from ...limits import Limits
from ...pipeline import Classes
from ...weights.clip import PROJECTED
from ...weights.lora_map import LoraMap
from ..clips import TOKENIZERS, ClipsPipeline, clip_lora_map, clip_widths, load_clips, plain_reader, skip_of
from ..plain_reader import PlainReader
from . import settings_of

HELP = "a prompt is read as it is, by two CLIPs, as SDXL does"
COMPONENTS: Final[Mapping[str, Classes]] = {
    "text_encoder": ("transformers", ("CLIPTextModel",)),
    "text_encoder_2": ("transformers", (PROJECTED,)),
    "tokenizer": ("transformers", TOKENIZERS),
    "tokenizer_2": ("transformers", TOKENIZERS),
}
_READ: Final = {"pipeline": "text/pipelines/__init__.py", "version": "of another pipeline"}
_ENCODERS, _TOKENIZERS = ("text_encoder", "text_encoder_2"), ("tokenizer", "tokenizer_2")


def files(salon: Config) -> Mapping[str, Any]:
    """See `Reader`. It reads components alone."""
    return {}


def widths(components: Mapping[str, Component], salon: Config) -> tuple[int, int]:
    """See `Reader`."""
    return clip_widths(components, _ENCODERS)


def load(ops: Ops[Any, Any], components: Mapping[str, Component], salon: Config, limits: Limits) -> ClipsPipeline:
    """See `Reader`. "zeros" of the settings: without a negative prompt the unconditional input is zeros."""
    settings = settings_of(salon)
    skip, zeros = skip_of(settings), settings.boolean("zeros", True)
    settings.finish(_READ)
    encoders = load_clips(ops, components, _ENCODERS)
    return ClipsPipeline(
        ops, encoders, plain_reader(components, _TOKENIZERS, limits, encoders), layer=-(2 + (skip or 0)), normed=False,
        pooled=True, zeros=zeros, cache_size=limits.text_cache,
    )  # fmt: skip


def lora_map(components: Mapping[str, Component]) -> LoraMap:
    """See `LoraRules`."""
    return clip_lora_map(components, _ENCODERS)


def reader(components: Mapping[str, Component], salon: Config, limits: Limits) -> PlainReader:
    """See `Reader`."""
    return plain_reader(components, _TOKENIZERS, limits)
