"""Load and step Z-Image, and its distilled form Z-Image-Turbo."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ...kernels.ops import Ops
from .. import codecs
from ..checkpoint import Checkpoint, Component
from ..denoiser import Float32
from ..denoisers import PlainDenoiser, parts_of, reads_prompts
from ..files import z_image as originals
from ..info import Architecture
from ..memory import MemoryCoefficients
from ..models import z_image
from ..pipeline import Classes
from ..sigmas import SCHEDULER, SigmaConfig
from ..tensor_file import TensorFile
from ..text import pipelines
from ..weights import z_image_lora
from ..weights.lora_map import LoraMap
from ..weights.z_image import ARCHITECTURE

HELP = "Z-Image and Z-Image-Turbo"
PIPELINES: Final = ("ZImagePipeline",)
CODEC: Final = "packed_kl"
COMPONENTS: Final[Mapping[str, Classes]] = {
    "transformer": ("diffusers", (ARCHITECTURE,)),
    "vae": codecs.codec(CODEC).CLASSES,
}
UNREAD: Final = {
    "text_encoder": "there is no text pipeline: the caller encodes the text",
    "tokenizer": "there is no text pipeline: the caller encodes the text",
}
READER: Final = "chat"
TEMPLATE: Final = "z_image"
QWEN3: Final = ("Qwen3ForCausalLM", "Qwen3Model")
TEXT: Final[Mapping[str, Classes]] = {
    **pipelines.PLUGINS.get(READER).COMPONENTS,
    "text_encoder": ("transformers", QWEN3),
}
VAE: Final[Mapping[str, Any]] = {"scaling_factor": 0.3611, "shift_factor": 0.1159}
TURBO_SHIFT, BASE_SHIFT = 3.0, 6.0  # constant shifts of the two models' schedulers
TURBO_STEPS, BASE_STEPS = 8, 50
BASE_GUIDANCE: Final = 6.0  # 5 in diffusers' counting, which adds the difference to the guided sample: 0 is none there
BASE_WORDS: Final = (
    "base",
    "z-image",
    "z-image-bf16",
)  # names, or ends of names, that mean the model before distilling


class ZImage(PlainDenoiser):
    """A `Denoiser`."""

    MODEL = z_image
    weights: z_image.ZImageWeights
    config: z_image.ZImageConfig

    def architecture(self, sigmas: SigmaConfig) -> Architecture:
        """See `Denoiser`."""
        return Architecture(
            granularity=self.codec.granularity,
            token_channels=self.config.token_channels,
            text_width=self.config.cap_feat_dim,
            pooled_width=0,
            embedded_guidance=None,
            adapter_layers=0,
            adapter_width=0,
            sigmas=sigmas,
        )

    def memory(self, itemsize: int) -> MemoryCoefficients:
        """See `Denoiser`."""
        width, hidden = self.config.dim, self.config.hidden
        residual = 3 * 4 * width  # float32: the stream, what is added to it before and after its norm
        row = residual + itemsize * (5 * width + 3 * hidden)  # modulated input, qkv, attention, feed-forward hidden
        learned = 2 * (z_image.MULTIPLE - 1) * row
        return MemoryCoefficients(
            row=row,
            image_row=self.config.token_channels * 4 * 4 + 4 * width,
            sample=self.config.num_modulated * 4 * width * 6 + learned,  # columns of all projections, gates twice
            pixel=self.codec.pixel_bytes(itemsize),
        )

    def times(self, sigmas: Float32) -> Float32:
        """See `Denoiser`. The model's time goes the other way."""
        return (np.float32(1) - sigmas) * np.float32(self.config.t_scale)

    def lora_map(self) -> LoraMap:
        """See `TakesLoras`."""
        return z_image_lora.lora_map(self.config)


def lora_map(checkpoint: Checkpoint) -> LoraMap:
    """See `LoraRules`."""
    return z_image_lora.lora_map(z_image.ZImageConfig.read(checkpoint.component("transformer").config))


def fits(checkpoint: Checkpoint) -> bool:
    """See `Family`."""
    return checkpoint.index.get("_class_name") in PIPELINES


def of_file(file: TensorFile) -> Mapping[str, Component]:
    """See `Family`."""
    prefix = originals.prefix_of(file)
    if prefix is None:
        return {}
    shift = TURBO_SHIFT if _told(file.path.stem) is not False else BASE_SHIFT
    scheduler = {"_class_name": SCHEDULER, "num_train_timesteps": 1000, "shift": shift, "use_dynamic_shifting": False}
    transformer = originals.transformer(file, prefix, nameless=_told(file.path.stem) is None)
    return parts_of(file, transformer, scheduler, whole=bool(prefix), text=TEXT, vae=VAE)


def settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """See `Family`. Nothing in the files says which of the two models it is, but names, and the scheduler's shift."""
    turbo = is_turbo(checkpoint)
    defaults: dict[str, Any] = {"steps": TURBO_STEPS if turbo else BASE_STEPS}
    if not turbo:
        defaults["guidance_scale"] = BASE_GUIDANCE
    found: dict[str, Any] = {"defaults": defaults}
    if reads_prompts(checkpoint, TEXT):
        found["text"] = {"pipeline": READER, "template": TEMPLATE}
    return found


def is_turbo(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint is the distilled model: by a name that says it, or else by its scheduler's shift."""
    names = [checkpoint.path.stem if checkpoint.path.is_file() else checkpoint.path.name]
    folder = checkpoint.base or checkpoint.path
    names += [] if checkpoint.base is None else [checkpoint.base.name]
    names += [part for part in folder.absolute().parts if part.startswith("models--")]  # of a download cache
    names += [str(checkpoint.index.get("_name_or_path", ""))]
    for name in names:
        told = _told(name)
        if told is not None:
            return told
    scheduler = checkpoint.components["scheduler"].config.values if "scheduler" in checkpoint.components else {}
    return not scheduler.get("use_dynamic_shifting") and scheduler.get("shift", 1.0) == TURBO_SHIFT


def _told(name: str) -> bool | None:
    """Return whether a name says that a model is the distilled one; None: it does not say."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if "turbo" in plain.split("-"):
        return True
    return False if any(plain == word or plain.endswith(f"-{word}") for word in BASE_WORDS) else None


def want_text(components: Mapping[str, Component], width: int, pooled: int) -> None:
    """See `Family`."""
    source = components["transformer"].config
    given = z_image.ZImageConfig.read(source).cap_feat_dim
    if given != width:
        source.refuse("cap_feat_dim", f"{width}, the width of the text encoder", given)


def load(ops: Ops[Any, Any], components: Mapping[str, Component]) -> ZImage:
    """See `Family`."""
    transformer, vae, codec = components["transformer"], components["vae"], codecs.codec(CODEC)
    config, channels = z_image.ZImageConfig.read(transformer.config), codec.token_channels(vae)
    if config.token_channels != channels:
        expected = f"{channels // 4}, the autoencoder's latent channels"
        transformer.config.refuse("in_channels", expected, config.in_channels)
    return ZImage(z_image.load_z_image(ops, transformer), transformer.config, codec.load(ops, vae))
