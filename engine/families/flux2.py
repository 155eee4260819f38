"""Load and step FLUX.2: [dev], and [klein] in its distilled form, its base form, and the one that keeps references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from ...kernels.ops import Ops, Vector
from .. import codecs
from ..checkpoint import Checkpoint, Component
from ..denoiser import KeptReferences, Pages
from ..denoisers import PlainDenoiser, parts_of, reads_prompts, want_packed
from ..files import flux2 as originals
from ..info import Architecture
from ..memory import MemoryCoefficients
from ..models import flux2, flux2_references
from ..pipeline import Classes
from ..sigmas import SCHEDULER, SigmaConfig
from ..tensor_file import TensorFile
from ..text import pipelines
from ..weights import flux2_lora
from ..weights.flux2 import ARCHITECTURE
from ..weights.lora_map import LoraMap

HELP = "FLUX.2 [dev] and [klein]"
REFERENCES = "FLUX.2"
KEEPING: Final = "Flux2KleinKVPipeline"  # of [klein] KV, which computes keys and values of references once
PIPELINES: Final = ("Flux2Pipeline", "Flux2KleinPipeline", KEEPING)
CODEC: Final = "normed_kl"
COMPONENTS: Final[Mapping[str, Classes]] = {
    "transformer": ("diffusers", (ARCHITECTURE,)),
    "vae": codecs.codec(CODEC).CLASSES,
}
UNREAD: Final = {
    "text_encoder": "there is no text pipeline: the caller encodes the text",
    "tokenizer": "there is no text pipeline: the caller encodes the text",
    "is_distilled": "`settings` reads it",
}
READER: Final = "chat"
TEXT: Final[Mapping[str, Classes]] = pipelines.PLUGINS.get(READER).COMPONENTS
VAE: Final[Mapping[str, Any]] = {}
# The scheduler of the models, which single files do not have.
SETTINGS: Final[Mapping[str, Any]] = {
    "_class_name": SCHEDULER, "num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": True,
    "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096,
}  # fmt: skip
# [klein] has two forms that differ in nothing but weights: model_index.json tells them, and of a file its name.
BASE_MARK: Final = "base"
KEEPING_MARK: Final = "kv"
STEPS, DISTILLED_STEPS = 50, 4
KLEIN_GUIDANCE: Final = 4.0  # of the base form, by two samples
EMBEDDED_GUIDANCE: Final = 4.0
SIDE: Final = 128  # latents along a side of a picture, where nothing else is said
# What pictures the models look at: of more than a megapixel they see a smaller copy.
LOOKS_AT: Final[Mapping[str, Any]] = {"most": 8, "area": 1024 * 1024, "least": 64, "aspect": 8}
MISTRAL: Final = "Mistral3ForConditionalGeneration"


class Flux2(PlainDenoiser):
    """A `Denoiser`."""

    MODEL = flux2
    weights: flux2.Flux2Weights
    config: flux2.Flux2Config

    def architecture(self, sigmas: SigmaConfig) -> Architecture:
        """See `Denoiser`."""
        return Architecture(
            granularity=self.codec.granularity,
            token_channels=self.config.in_channels,
            text_width=self.config.joint_attention_dim,
            pooled_width=0,
            embedded_guidance=EMBEDDED_GUIDANCE if self.config.guidance_embeds else None,
            adapter_layers=0,
            adapter_width=0,
            sigmas=replace(sigmas, empirical=True),
        )

    @property
    def reference_widths(self) -> tuple[int, ...]:
        """See `KeepsReferences`. What has a guidance embedding is [dev], of which there is no such form."""
        config = self.config
        count = 0 if config.guidance_embeds else config.num_layers + config.num_single_layers
        return (config.width,) * count

    def reference_keys(self, ops: Ops[Any, Any], references: KeptReferences) -> Iterator[tuple[Any, Any]]:
        """See `KeepsReferences`."""
        return flux2_references.reference_keys(
            ops, self.weights, flux2_references.reference_pass(ops, self.config, [references])
        )

    def velocity(self, ops: Ops[Any, Any], layout: Any, latents: Any, times: Vector, pages: Pages | None = None) -> Any:
        """See `Denoiser`."""
        return flux2.velocity(ops, self.weights, layout, latents, times, pages)

    def memory(self, itemsize: int) -> MemoryCoefficients:
        """See `Denoiser`."""
        width, hidden = self.config.width, self.config.hidden
        residual = 4 * width  # float32
        block = itemsize * (6 * width + 3 * hidden)  # modulated input, qkv, attention and feed-forward hidden
        return MemoryCoefficients(
            row=residual + block,
            image_row=self.config.in_channels * 4 * 4,
            sample=17 * width * 4,  # columns of all adaLN projections together, float32
            pixel=self.codec.pixel_bytes(itemsize),
        )

    def lora_map(self) -> LoraMap:
        """See `TakesLoras`."""
        return flux2_lora.lora_map(self.config)


def lora_map(checkpoint: Checkpoint) -> LoraMap:
    """See `LoraRules`."""
    return flux2_lora.lora_map(flux2.Flux2Config.read(checkpoint.component("transformer").config))


def fits(checkpoint: Checkpoint) -> bool:
    """See `Family`."""
    return checkpoint.index.get("_class_name") in PIPELINES


def of_file(file: TensorFile) -> Mapping[str, Component]:
    """See `Family`."""
    prefix = originals.prefix_of(file)
    if prefix is None:
        return {}
    return parts_of(file, originals.transformer(file, prefix), SETTINGS, whole=bool(prefix), text=TEXT, vae=VAE)


def settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """See `Family`. What has a guidance embedding is [dev]; of the two forms of [klein] the distilled one is usual."""
    components = checkpoint.components
    dev = "transformer" in components and components["transformer"].config.values.get("guidance_embeds", True)
    if checkpoint.path.is_file():
        marks = checkpoint.path.stem.lower().replace("_", "-").split("-")
        told = None if checkpoint.base is None else _forms(checkpoint.index)
        keeping = not dev and (KEEPING_MARK in marks or (told is not None and told[1]))
        distilled = BASE_MARK not in marks and (told is None or told[0] or keeping)
    else:
        distilled, keeping = _forms(checkpoint.index)
    defaults: dict[str, Any] = {"steps": STEPS if dev or not distilled else DISTILLED_STEPS}
    if not dev and not distilled:
        defaults["guidance_scale"] = KLEIN_GUIDANCE
    if "vae" in components and isinstance(widths := components["vae"].config.values.get("block_out_channels"), list):
        defaults["width"] = defaults["height"] = SIDE << (len(widths) - 1)
    found: dict[str, Any] = {"defaults": defaults, "references": {**LOOKS_AT, **({"kept": True} if keeping else {})}}
    if reads_prompts(checkpoint, TEXT):
        template = "flux2" if checkpoint.index["text_encoder"][1] == MISTRAL else "flux2_klein"
        found["text"] = {"pipeline": READER, "template": template}
    return found


def _forms(index: Mapping[str, Any]) -> tuple[bool, bool]:
    """Return of a folder's index whether the model is distilled, and whether it keeps references."""
    keeping = index.get("_class_name") == KEEPING
    return bool(index.get("is_distilled", keeping)), keeping


def want_text(components: Mapping[str, Component], width: int, pooled: int) -> None:
    """See `Family`."""
    source = components["transformer"].config
    given = flux2.Flux2Config.read(source).joint_attention_dim
    if given != width:
        source.refuse("joint_attention_dim", f"{width}, the width of the text encoder's three states", given)


def load(ops: Ops[Any, Any], components: Mapping[str, Component]) -> Flux2:
    """See `Family`."""
    transformer, vae, codec = components["transformer"], components["vae"], codecs.codec(CODEC)
    config, channels = flux2.Flux2Config.read(transformer.config), codec.token_channels(vae)
    want_packed(transformer, config.in_channels, channels)
    return Flux2(flux2.load_flux2(ops, transformer), transformer.config, codec.load(ops, vae))
