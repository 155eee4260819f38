"""Load and step Qwen-Image, Qwen-Image-Edit and smaller models of their shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from ...bounds import MAX_ASPECT
from ...kernels.ops import Ops
from .. import codecs
from ..checkpoint import Checkpoint, Component
from ..denoisers import PlainDenoiser, parts_of, reads_prompts, want_packed
from ..files import qwen_image as originals
from ..files import qwen_processor, wan_autoencoder
from ..info import Architecture
from ..memory import MemoryCoefficients
from ..models import qwen_image
from ..pipeline import Classes
from ..sigmas import SCHEDULER, SigmaConfig
from ..tensor_file import TensorFile
from ..text import pipelines
from ..weights import qwen_image_lora
from ..weights.lora_map import LoraMap
from ..weights.qwen_image import ARCHITECTURE

HELP = "Qwen-Image, Qwen-Image-Edit, and smaller models of their shape"
REFERENCES = "Qwen-Image-Edit"
EDIT: Final = "QwenImageEditPipeline"  # which looks at one picture
EDIT_PLUS: Final = "QwenImageEditPlusPipeline"
PIPELINES: Final = ("QwenImagePipeline", EDIT, EDIT_PLUS)
CODEC: Final = "packed_qwen"
COMPONENTS: Final[Mapping[str, Classes]] = {
    "transformer": ("diffusers", (ARCHITECTURE,)),
    "vae": codecs.codec(CODEC).CLASSES,
}
UNREAD: Final = {
    "text_encoder": "there is no text pipeline: the caller encodes the text",
    "tokenizer": "there is no text pipeline: the caller encodes the text",
    "processor": "but for at which size it shows pictures to the text encoder",
}
READER: Final = "qwen_image"
EDIT_READER: Final = "qwen_image_edit"
TEXT: Final[Mapping[str, Classes]] = pipelines.PLUGINS.get(READER).COMPONENTS
VAE: Final[Mapping[str, Any]] = {}
QWEN_SCHEDULER: Final[Mapping[str, Any]] = {
    "_class_name": SCHEDULER, "num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": True,
    "base_shift": 0.5, "max_shift": 0.9, "base_image_seq_len": 256, "max_image_seq_len": 8192, "shift_terminal": 0.02,
}  # fmt: skip
STEPS: Final = 50
GUIDANCE: Final = 4.0
TOKENS: Final = 512  # where the model's own pipeline cuts
# What pictures Qwen-Image-Edit looks at: whole, at about a megapixel; its text encoder sees smaller ones.
AREA, MULTIPLE, TEXT_AREA, MOST = 1024 * 1024, 32, 384 * 384, 3


class QwenImage(PlainDenoiser):
    """A `Denoiser`."""

    MODEL = qwen_image
    weights: qwen_image.QwenImageWeights
    config: qwen_image.QwenImageConfig

    @property
    def sizes(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Denoiser`."""
        own = {name: value for name, value in asdict(self.config).items() if name != "zero_cond_t" or value}
        return {"transformer": own, "vae": self.codec.sizes}

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
            # Columns of all adaLN projections together, float32; with references also those of timestep 0.
            sample=self.config.num_modulations * 4 * (2 if self.config.zero_cond_t else 1),
            pixel=self.codec.pixel_bytes(itemsize),
        )

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
    return parts_of(
        file,
        originals.transformer(file, prefix),
        QWEN_SCHEDULER,
        whole=bool(prefix),
        text=TEXT,
        vae=VAE,
        reader=wan_autoencoder,
    )


def settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """See `Family`."""
    found: dict[str, Any] = {"defaults": {"steps": STEPS, "guidance_scale": GUIDANCE}}
    path, pipeline = checkpoint.path, str(checkpoint.index.get("_class_name"))
    if path.is_file() and originals.edits(path) is not None:
        pipeline = EDIT_PLUS if originals.edits(path) else EDIT
    reads, several = reads_prompts(checkpoint, TEXT), pipeline == EDIT_PLUS
    if pipeline not in (EDIT, EDIT_PLUS):
        return found | ({"text": {"pipeline": READER, "tokens": TOKENS}} if reads else {})
    found["references"] = {
        "most": MOST if several else 1, "fewest": 1, "area": AREA, "multiple": MULTIPLE, "aspect": MAX_ASPECT,
        "last": several,
    }  # fmt: skip
    if reads:
        found["text"] = {"pipeline": EDIT_READER, "numbered": several}
        area = TEXT_AREA if several else AREA
        found["references"]["text"] = {"area": area, "multiple": MULTIPLE, **qwen_processor.bounds_of(checkpoint)}
    return found


def want_text(components: Mapping[str, Component], width: int, pooled: int) -> None:
    """See `Family`."""
    source = components["transformer"].config
    given = qwen_image.QwenImageConfig.read(source).joint_attention_dim
    if given != width:
        source.refuse("joint_attention_dim", f"{width}, the width of the text encoder", given)


def load(ops: Ops[Any, Any], components: Mapping[str, Component]) -> QwenImage:
    """See `Family`."""
    transformer, autoencoder, codec = components["transformer"], components["vae"], codecs.codec(CODEC)
    config, channels = qwen_image.QwenImageConfig.read(transformer.config), codec.token_channels(autoencoder)
    want_packed(transformer, config.in_channels, channels)
    return QwenImage(qwen_image.load_qwen_image(ops, transformer), transformer.config, codec.load(ops, autoencoder))
