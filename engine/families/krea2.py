"""Load and step Krea 2 and smaller models of its shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from ...kernels.ops import Ops
from .. import codecs
from ..checkpoint import Checkpoint, Component
from ..config import Config
from ..denoisers import PlainDenoiser, parts_of, reads_prompts, want_packed
from ..files import krea2 as originals
from ..files import wan_autoencoder
from ..info import Architecture
from ..memory import MemoryCoefficients
from ..models import krea2
from ..pipeline import Classes
from ..sigmas import SCHEDULER, SigmaConfig
from ..tensor_file import TensorFile
from ..text import pipelines
from ..weights import krea2_lora
from ..weights.krea2 import ARCHITECTURE
from ..weights.lora_map import LoraMap

HELP = "Krea 2, and smaller models of its shape"
PIPELINES: Final = ("Krea2Pipeline",)
CODEC: Final = "packed_qwen"
COMPONENTS: Final[Mapping[str, Classes]] = {
    "transformer": ("diffusers", (ARCHITECTURE,)),
    "vae": codecs.codec(CODEC).CLASSES,
}
UNREAD: Final = {
    "text_encoder": "there is no text pipeline: the caller encodes the text",
    "tokenizer": "there is no text pipeline: the caller encodes the text",
    "text_encoder_select_layers": "the settings of the text pipeline say it",
    "is_distilled": "the defaults say it: steps, guidance and shift",
    "patch_size": "the transformer's in_channels say it",
}
READER: Final = "krea2"
TEXT: Final[Mapping[str, Classes]] = pipelines.PLUGINS.get(READER).COMPONENTS
VAE: Final[Mapping[str, Any]] = {}
KREA_SCHEDULER: Final[Mapping[str, Any]] = {
    "_class_name": SCHEDULER, "num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": True,
    "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 6400,
}  # fmt: skip
STEPS, DISTILLED_STEPS = 28, 8
GUIDANCE: Final = 5.5  # the pipeline's 4.5: it counts from the prompt's velocity, Salon from the unconditional one
DISTILLED_SHIFT: Final = math.exp(1.15)  # of the distilled model, for pictures of every size


class Krea2(PlainDenoiser):
    """A `Denoiser`."""

    MODEL = krea2
    weights: krea2.Krea2Weights
    config: krea2.Krea2Config

    def architecture(self, sigmas: SigmaConfig) -> Architecture:
        """See `Denoiser`."""
        return Architecture(
            granularity=self.codec.granularity,
            token_channels=self.config.in_channels,
            text_width=self.config.num_text_layers * self.config.text_hidden_dim,
            pooled_width=0,
            embedded_guidance=None,
            adapter_layers=0,
            adapter_width=0,
            sigmas=sigmas,
        )

    def memory(self, itemsize: int) -> MemoryCoefficients:
        """See `Denoiser`."""
        config, width = self.config, self.config.width
        # modulated input, qkv, attention, gate and their product; or the feed-forward's hidden columns
        block = itemsize * (7 * width + config.intermediate_size)
        text = 4 * config.text_hidden_dim + itemsize * (7 * config.text_hidden_dim + config.text_intermediate_size)
        return MemoryCoefficients(
            row=4 * width + block,  # of the residual stream, float32, too
            image_row=config.in_channels * 4 * 4,
            sample=4 * 13 * width + krea2.FUSED * config.num_text_layers * text,  # modulation; layers that are fused
            pixel=self.codec.pixel_bytes(itemsize),
        )

    def lora_map(self) -> LoraMap:
        """See `TakesLoras`."""
        return krea2_lora.lora_map(self.config)


def lora_map(checkpoint: Checkpoint) -> LoraMap:
    """See `LoraRules`."""
    return krea2_lora.lora_map(krea2.Krea2Config.read(checkpoint.component("transformer").config))


def fits(checkpoint: Checkpoint) -> bool:
    """See `Family`."""
    return checkpoint.index.get("_class_name") in PIPELINES


def of_file(file: TensorFile) -> Mapping[str, Component]:
    """See `Family`."""
    prefix = originals.prefix_of(file)
    if prefix is None:
        return {}
    return parts_of(
        file,
        originals.transformer(file, prefix),
        KREA_SCHEDULER,
        whole=bool(prefix),
        text=TEXT,
        vae=VAE,
        reader=wan_autoencoder,
    )


def settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """See `Family`. The distilled model says so in its index; a single file does not say which it is."""
    index = Config(checkpoint.path / "model_index.json", checkpoint.index)
    index.only("patch_size", (2,), 2)
    defaults: dict[str, Any] = {"steps": STEPS, "guidance_scale": GUIDANCE}
    if index.boolean("is_distilled", False):
        defaults = {"steps": DISTILLED_STEPS, "guidance_scale": 1.0, "shift": DISTILLED_SHIFT}
    found: dict[str, Any] = {"defaults": defaults}
    if reads_prompts(checkpoint, TEXT):
        found["text"] = {"pipeline": READER}
        if checkpoint.index.get("text_encoder_select_layers") is not None:
            found["text"]["layers"] = list(index.integers("text_encoder_select_layers", None, 0, 1000))
    return found


def want_text(components: Mapping[str, Component], width: int, pooled: int) -> None:
    """See `Family`."""
    source = components["transformer"].config
    config = krea2.Krea2Config.read(source)
    layers, columns = config.num_text_layers, config.text_hidden_dim
    if layers * columns != width:
        expected = f"states of {width} columns in all, as the text encoder makes them"
        source.refuse("text_hidden_dim", expected, f"{layers} of {columns}")


def load(ops: Ops[Any, Any], components: Mapping[str, Component]) -> Krea2:
    """See `Family`."""
    transformer, autoencoder, codec = components["transformer"], components["vae"], codecs.codec(CODEC)
    config, channels = krea2.Krea2Config.read(transformer.config), codec.token_channels(autoencoder)
    want_packed(transformer, config.in_channels, channels)
    return Krea2(krea2.load_krea2(ops, transformer), transformer.config, codec.load(ops, autoencoder))
