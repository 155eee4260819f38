"""Tell the image encoders of IP-Adapters apart, CLIP's and SigLIP's, by their configs."""

from __future__ import annotations

from typing import Final, TypeAlias

from ..config import Config
from . import clip_vision, siglip_vision
from .clip_vision import ClipVisionConfig
from .siglip_vision import SiglipVisionConfig

SIGLIP: Final = siglip_vision.ARCHITECTURES
EncoderConfig: TypeAlias = ClipVisionConfig | SiglipVisionConfig


def read_config(config: Config) -> EncoderConfig:
    """Read an encoder's config.json. Raise UnknownArchitecture or WrongConfig for what does not fit."""
    config.want_architecture([*clip_vision.ARCHITECTURES, *SIGLIP])
    return SiglipVisionConfig.read(config) if config.architecture in SIGLIP else ClipVisionConfig.read(config)
