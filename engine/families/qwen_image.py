"""Load and step Qwen-Image and smaller models of its shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from ...kernels.ops import Ops, Vector
from .. import codecs
from ..adapters.without import WithoutAdapters
from ..checkpoint import Checkpoint, Component
from ..codecs import LatentCodec
from ..config import Config
from ..denoiser import AdapterTable, Float32, Pages, Sample
from ..files import qwen_image as originals
from ..files import text as text_files
from ..files import wan_autoencoder
from ..files.renamed import SettingsComponent
from ..info import Architecture
from ..memory import MemoryCoefficients
from ..models import qwen_image
from ..pipeline import Classes
from ..sigmas import SCHEDULER, SigmaConfig
from ..tensor_file import TensorFile
from ..text import pipelines
from ..weights import qwen_image_lora
from ..weights.lora import LoraMap
from ..weights.qwen_image import ARCHITECTURE

HELP = "Qwen-Image, and smaller models of its shape"
PIPELINES: Final = ("QwenImagePipeline",)
CODEC: Final = "packed_qwen"
COMPONENTS: Final[Mapping[str, Classes]] = {
    "transformer": ("diffusers", (ARCHITECTURE,)),
    "vae": codecs.codec(CODEC).CLASSES,
}
UNREAD: Final = {
    "text_encoder": "there is no text pipeline: the caller encodes the text",
    "tokenizer": "there is no text pipeline: the caller encodes the text",
}
READER: Final = "qwen_image"
TEXT: Final[Mapping[str, Classes]] = pipelines.PLUGINS.get(READER).COMPONENTS
VAE: Final[Mapping[str, Any]] = {}
QWEN_SCHEDULER: Final[Mapping[str, Any]] = {
    "_class_name": SCHEDULER, "num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": True,
    "base_shift": 0.5, "max_shift": 0.9, "base_image_seq_len": 256, "max_image_seq_len": 8192, "shift_terminal": 0.02,
}  # fmt: skip
STEPS: Final = 50
GUIDANCE: Final = 4.0
TOKENS: Final = 512  # where the model's own pipeline cuts
TIME_SCALE: Final = np.float32(1000)  # the model reads sigma times this factor


class QwenImage(WithoutAdapters):
    """A `Denoiser`.

    Args:
        weights: the packed transformer.
        source: its config.json, which errors name.
        codec: the checkpoint's autoencoder.
    """

    def __init__(self, weights: qwen_image.QwenImageWeights, source: Config, codec: LatentCodec) -> None:
        self.weights = weights
        self.config = weights.config
        self.source = source
        self.codec = codec

    @property
    def sizes(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Denoiser`."""
        return {"transformer": asdict(self.config), "vae": self.codec.sizes}

    def architecture(self, sigmas: SigmaConfig) -> Architecture:
        """See `Denoiser`."""
        return Architecture(
            granularity=self.codec.granularity,
            token_channels=self.config.in_channels,
            text_width=self.config.joint_attention_dim,
            pooled_width=0,
            embedded_guidance=None,
            adapter_layers=0,
            adapter_width=0,
            sigmas=sigmas,
            rescaled_guidance=True,
        )

    def memory(self, itemsize: int) -> MemoryCoefficients:
        """See `Denoiser`."""
        width = self.config.width
        residual = 4 * width  # float32
        block = itemsize * width * 9  # modulated input, qkv, attention, feed-forward hidden
        return MemoryCoefficients(
            row=residual + block,
            image_row=self.config.in_channels * 4 * 8,  # of guidance that is rescaled, too
            sample=self.config.num_modulations * 4,  # columns of all adaLN projections together, float32
            pixel=self.codec.pixel_bytes(itemsize),
        )

    def want_text(self, width: int, pooled: int) -> None:
        """See `Denoiser`."""
        if self.config.joint_attention_dim != width:
            expected = f"{width}, the width of the text encoder"
            self.source.refuse("joint_attention_dim", expected, self.config.joint_attention_dim)

    def times(self, sigmas: Float32) -> Float32:
        """See `Denoiser`."""
        return sigmas * TIME_SCALE

    def layout(
        self, ops: Ops[Any, Any], samples: Sequence[Sample], adapters: AdapterTable | None = None
    ) -> qwen_image.QwenImageLayout[Any]:
        """See `Denoiser`."""
        if adapters is not None and len(adapters.samples):
            raise ValueError(f"layout: adapters: got {len(adapters.samples)} terms, want none")
        return qwen_image.layout(ops, self.weights, samples)

    def velocity(
        self,
        ops: Ops[Any, Any],
        layout: qwen_image.QwenImageLayout[Any],
        latents: Any,
        times: Vector,
        pages: Pages | None = None,
    ) -> Any:
        """See `Denoiser`."""
        return qwen_image.velocity(ops, self.weights, layout, latents, times)

    def lora_map(self) -> LoraMap:
        """See `TakesLoras`."""
        return qwen_image_lora.lora_map(self.config)


def lora_map(checkpoint: Checkpoint) -> LoraMap:
    """See `LoraRules`."""
    return qwen_image_lora.lora_map(qwen_image.QwenImageConfig.read(checkpoint.component("transformer").config))


def fits(checkpoint: Checkpoint) -> bool:
    """See `Family`."""
    return checkpoint.index.get("_class_name") in PIPELINES


def of_file(file: TensorFile) -> Mapping[str, Component]:
    """See `Family`."""
    prefix = originals.prefix_of(file)
    if prefix is None:
        return {}
    parts: dict[str, Component] = {
        "transformer": originals.transformer(file, prefix),
        "scheduler": SettingsComponent("scheduler", ("diffusers", SCHEDULER), file.path, QWEN_SCHEDULER),
    }
    if prefix:  # a file with everything in it, each part behind a prefix of its own
        inside = wan_autoencoder.prefix_of(file)
        if inside is not None:
            parts["vae"] = wan_autoencoder.autoencoder(file, inside, VAE)
        for encoder in text_files.encoders(file):
            if encoder.name in TEXT["text_encoder"][1]:
                encoder.name = "text_encoder"
                parts[encoder.name] = encoder
    return parts


def settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """See `Family`."""
    found: dict[str, Any] = {"defaults": {"steps": STEPS, "guidance_scale": GUIDANCE}}
    part = checkpoint.components.get("text_encoder")
    there = part is not None and (part.kind is not None or part.path.is_dir())
    if there and checkpoint.index["text_encoder"][1] in TEXT["text_encoder"][1]:
        found["text"] = {"pipeline": READER, "tokens": TOKENS}
    return found


def load(ops: Ops[Any, Any], components: Mapping[str, Component]) -> QwenImage:
    """See `Family`."""
    transformer, autoencoder, codec = components["transformer"], components["vae"], codecs.codec(CODEC)
    config, channels = qwen_image.QwenImageConfig.read(transformer.config), codec.token_channels(autoencoder)
    if config.in_channels != channels:
        expected = f"{channels}, 2 x 2 of the autoencoder's {channels // 4} latent channels"
        transformer.config.refuse("in_channels", expected, config.in_channels)
    return QwenImage(qwen_image.load_qwen_image(ops, transformer), transformer.config, codec.load(ops, autoencoder))
