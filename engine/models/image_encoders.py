"""Encode pictures by the image encoders of IP-Adapters: CLIP's, and SigLIP's."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Ops
from ..checkpoint import Component
from ..weights.image_encoders import SIGLIP
from . import clip_vision, siglip_vision
from .clip_vision import ClipVisionWeights
from .siglip_vision import SiglipVisionWeights

__all__ = ["EncoderWeights", "SiglipVisionWeights", "encode", "load_encoder", "normalised"]

EncoderWeights: TypeAlias = ClipVisionWeights | SiglipVisionWeights
Float32 = NDArray[np.float32]


def load_encoder(ops: Ops[Any, Any], component: Component) -> EncoderWeights:
    """Pack an image encoder's folder. Raise CheckpointError if anything is wrong with it."""
    if component.config.architecture in SIGLIP:
        return siglip_vision.load_siglip_vision(ops, component)
    return clip_vision.load_clip_vision(ops, component)


def normalised(weights: EncoderWeights, pixels: NDArray[np.uint8]) -> Float32:
    """Return a picture uint8 [side, side, 3] as an encoder reads it: float32 [side, side, 3]."""
    siglip = isinstance(weights, SiglipVisionWeights)
    return siglip_vision.normalised(pixels) if siglip else clip_vision.normalised(pixels)


def encode(ops: Ops[Any, Any], weights: EncoderWeights, picture: Float32, *, states: bool = False) -> Float32:
    """Return a picture's embedding float32 [1, W], or the tokens' `states` of an encoder of CLIP."""
    if isinstance(weights, SiglipVisionWeights):
        assert not states, "no adapter reads the states of SigLIP"
        return siglip_vision.encode(ops, weights, picture)
    return clip_vision.encode(ops, weights, picture, states=states)
