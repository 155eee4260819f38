"""Encode a prompt as Stable Diffusion 1.5 reads it: the token states of one CLIP.

Source: diffusers' `StableDiffusionPipeline.encode_prompt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ....kernels.ops import Ops
from ...checkpoint import Component
from ...config import Config
from ...limits import Limits
from ...pipeline import Classes
from ...weights.lora_map import LoraMap
from ..clips import TOKENIZERS, ClipsPipeline, clip_lora_map, clip_widths, load_clips, plain_reader, skip_of
from ..plain_reader import PlainReader
from . import settings_of

HELP = "a prompt is read as it is, by CLIP, as Stable Diffusion 1.5 does"
COMPONENTS: Final[Mapping[str, Classes]] = {
    "text_encoder": ("transformers", ("CLIPTextModel",)),
    "tokenizer": ("transformers", TOKENIZERS),
}
_READ: Final = {"pipeline": "text/pipelines/__init__.py", "version": "of another pipeline"}


def files(salon: Config) -> Mapping[str, Any]:
    """See `Reader`. It reads components alone."""
    return {}


def widths(components: Mapping[str, Component], salon: Config) -> tuple[int, int]:
    """See `Reader`."""
    return clip_widths(components, ("text_encoder",))[0], 0


def load(ops: Ops[Any, Any], components: Mapping[str, Component], salon: Config, limits: Limits) -> ClipsPipeline:
    """See `Reader`."""
    settings = settings_of(salon)
    skip = skip_of(settings)
    settings.finish(_READ)
    encoders = load_clips(ops, components, ("text_encoder",))
    return ClipsPipeline(
        ops, encoders, plain_reader(components, ("tokenizer",), limits, encoders),
        layer=None if skip is None else -(skip + 1), normed=True, pooled=False, zeros=False,
        cache_size=limits.text_cache,
    )  # fmt: skip


def lora_map(components: Mapping[str, Component]) -> LoraMap:
    """See `LoraRules`."""
    return clip_lora_map(components, ("text_encoder",))


def reader(components: Mapping[str, Component], salon: Config, limits: Limits) -> PlainReader:
    """See `Reader`."""
    return plain_reader(components, ("tokenizer",), limits)
