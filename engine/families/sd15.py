"""Load Stable Diffusion 1.5, and models of its shape: a UNet that one CLIP tells what to draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...kernels.ops import Ops
from ..checkpoint import Checkpoint, Component
from ..denoisers import reads_prompts
from ..files import lone_unet
from ..files import unet as originals
from ..pipeline import Classes
from ..tensor_file import TensorFile
from ..text import pipelines
from ..trained import DDIM
from ..unets import BETAS, UNet, defaults_of, load_unet, parts_with_unet
from ..unets import COMPONENTS as COMPONENTS
from ..unets import SCHEDULERS as SCHEDULERS
from ..unets import lora_map as lora_map
from ..unets import want_text as want_text

HELP = "Stable Diffusion 1.5, and models of its shape"
IP_ADAPTERS = "Stable Diffusion 1.5"
PIPELINES: Final = ("StableDiffusionPipeline",)
UNREAD: Final = {
    "text_encoder": "there is no text pipeline: the caller encodes the text",
    "tokenizer": "there is no text pipeline: the caller encodes the text",
    "safety_checker": "pictures are not judged here",
    "requires_safety_checker": "pictures are not judged here",
    "image_encoder": "it reads pictures for an IP-Adapter, and none is named",
    "feature_extractor": "it reads pictures for the safety checker",
}
READER: Final = "clip"
TEXT: Final[Mapping[str, Classes]] = pipelines.PLUGINS.get(READER).COMPONENTS
VAE: Final[Mapping[str, Any]] = {"scaling_factor": 0.18215}
SCHEDULER: Final[Mapping[str, Any]] = {
    "_class_name": DDIM, **BETAS, "steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False,
}  # fmt: skip
GUIDANCE, SIDE = 7.5, 64  # of the pipeline; latents along a side


def fits(checkpoint: Checkpoint) -> bool:
    """See `Family`."""
    return checkpoint.index.get("_class_name") in PIPELINES


def of_file(file: TensorFile) -> Mapping[str, Component]:
    """See `Family`. Stable Diffusion 2 projects in another way, and is read where a folder says the rest of it."""
    own = lone_unet.prefix_of(file)
    if own is not None:
        return {} if lone_unet.is_xl(file, own) else parts_with_unet(file, own, TEXT, VAE, SCHEDULER)
    prefix = originals.prefix_of(file)
    if prefix is None or originals.is_xl(file, prefix) or not originals.projects_by_convolution(file, prefix):
        return {}
    return parts_with_unet(file, prefix, TEXT, VAE, SCHEDULER)


def settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """See `Family`."""
    found: dict[str, Any] = {"defaults": defaults_of(checkpoint, SIDE, GUIDANCE)}
    if reads_prompts(checkpoint, TEXT):
        found["text"] = {"pipeline": READER}
    return found


def load(ops: Ops[Any, Any], components: Mapping[str, Component]) -> UNet:
    """See `Family`."""
    return load_unet(ops, components)
