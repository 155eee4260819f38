"""Load SDXL, and models of its shape: a UNet that two CLIPs and sizes tell what to draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...kernels.ops import Ops
from ..checkpoint import Checkpoint, Component
from ..pipeline import Classes, index_of
from ..safetensors_file import SafetensorsFile
from ..text import pipelines
from ..unets import COMPONENTS as COMPONENTS
from ..unets import SCHEDULERS as SCHEDULERS
from ..unets import UNet, defaults_of, load_unet, reads_prompts

HELP = "SDXL, and models of its shape"
PIPELINES: Final = ("StableDiffusionXLPipeline",)
ZEROS: Final = "force_zeros_for_empty_prompt"
UNREAD: Final = {
    "text_encoder": "there is no text pipeline: the caller encodes the text",
    "tokenizer": "there is no text pipeline: the caller encodes the text",
    "text_encoder_2": "there is no text pipeline: the caller encodes the text",
    "tokenizer_2": "there is no text pipeline: the caller encodes the text",
    "image_encoder": "it reads pictures for adapters, which UNets do not have here",
    "feature_extractor": "it reads pictures for adapters, which UNets do not have here",
    ZEROS: "read by `settings`",
    "add_watermarker": "pictures have no watermark",
}
READER: Final = "clip_clip"
TEXT: Final[Mapping[str, Classes]] = pipelines.PLUGINS.get(READER).COMPONENTS
VAE: Final[Mapping[str, Any]] = {"scaling_factor": 0.13025}
GUIDANCE, SIDE = 5.0, 128  # of the pipeline; latents along a side


def fits(checkpoint: Checkpoint) -> bool:
    """See `Family`."""
    return checkpoint.index.get("_class_name") in PIPELINES


def of_file(file: SafetensorsFile) -> Mapping[str, Component]:
    """See `Family`."""
    return {}


def settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """See `Family`."""
    found: dict[str, Any] = {"defaults": defaults_of(checkpoint, SIDE, GUIDANCE)}
    if reads_prompts(checkpoint, TEXT):
        found["text"] = {"pipeline": READER, "zeros": index_of(checkpoint).boolean(ZEROS, True)}
    return found


def load(ops: Ops[Any, Any], components: Mapping[str, Component]) -> UNet:
    """See `Family`."""
    return load_unet(ops, components)
