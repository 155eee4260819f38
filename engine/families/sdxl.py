"""Load SDXL, and models of its shape: a UNet that two CLIPs and sizes tell what to draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...kernels.ops import Ops
from ..checkpoint import Checkpoint, Component
from ..denoisers import reads_prompts
from ..files import lone_unet
from ..files import unet as originals
from ..pipeline import Classes, index_of
from ..tensor_file import TensorFile
from ..text import pipelines
from ..trained import EULER
from ..unets import BETAS, UNet, defaults_of, load_unet, parts_with_unet
from ..unets import COMPONENTS as COMPONENTS
from ..unets import SCHEDULERS as SCHEDULERS
from ..unets import lora_map as lora_map
from ..unets import want_text as want_text

HELP = "SDXL, and models of its shape"
IP_ADAPTERS = "SDXL"
PIPELINES: Final = ("StableDiffusionXLPipeline",)
ZEROS: Final = "force_zeros_for_empty_prompt"
UNREAD: Final = {
    "text_encoder": "there is no text pipeline: the caller encodes the text",
    "tokenizer": "there is no text pipeline: the caller encodes the text",
    "text_encoder_2": "there is no text pipeline: the caller encodes the text",
    "tokenizer_2": "there is no text pipeline: the caller encodes the text",
    "image_encoder": "it reads pictures for an IP-Adapter, and none is named",
    "feature_extractor": "how pictures are shown to an IP-Adapter's image encoder is always the same",
    ZEROS: "read by `settings`",
    "add_watermarker": "pictures have no watermark",
}
READER: Final = "clip_clip"
TEXT: Final[Mapping[str, Classes]] = pipelines.PLUGINS.get(READER).COMPONENTS
VAE: Final[Mapping[str, Any]] = {"scaling_factor": 0.13025}
SCHEDULER: Final[Mapping[str, Any]] = {
    "_class_name": EULER, **BETAS, "timestep_spacing": "leading", "steps_offset": 1,
}  # fmt: skip
REFINER: Final = "conditioner.embedders.0.model.token_embedding.weight"
GUIDANCE, SIDE = 5.0, 128  # of the pipeline; latents along a side


def fits(checkpoint: Checkpoint) -> bool:
    """See `Family`."""
    return checkpoint.index.get("_class_name") in PIPELINES


def of_file(file: TensorFile) -> Mapping[str, Component]:
    """See `Family`. The refiner has label embeddings too, and another text encoder in front."""
    own = lone_unet.prefix_of(file)
    if own is not None:
        return parts_with_unet(file, own, TEXT, VAE, SCHEDULER) if lone_unet.is_xl(file, own) else {}
    prefix = originals.prefix_of(file)
    if prefix is None or not originals.is_xl(file, prefix) or REFINER in file.tensors:
        return {}
    return parts_with_unet(file, prefix, TEXT, VAE, SCHEDULER)


def settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """See `Family`."""
    found: dict[str, Any] = {"defaults": defaults_of(checkpoint, SIDE, GUIDANCE)}
    if reads_prompts(checkpoint, TEXT):
        found["text"] = {"pipeline": READER, "zeros": index_of(checkpoint).boolean(ZEROS, True)}
    return found


def load(ops: Ops[Any, Any], components: Mapping[str, Component]) -> UNet:
    """See `Family`."""
    return load_unet(ops, components)
