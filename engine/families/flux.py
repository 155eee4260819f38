"""Load and step FLUX.1 and smaller models of its shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from ...kernels.ops import Ops, Vector
from .. import codecs
from ..adapters.adapters import AdapterBranch
from ..checkpoint import Checkpoint, Component
from ..denoiser import AdapterTable, Pages, Sample
from ..denoisers import PlainDenoiser, parts_of, reads_prompts, want_packed
from ..files import flux as originals
from ..info import Architecture
from ..memory import MemoryCoefficients
from ..models import flux
from ..pipeline import Classes
from ..sigmas import SCHEDULER, SigmaConfig
from ..tensor_file import TensorFile
from ..text import pipelines
from ..weights import flux_lora
from ..weights.flux import ARCHITECTURE
from ..weights.lora_map import LoraMap

HELP = "FLUX.1, and smaller models of its shape"
REFERENCES = "FLUX.1 Kontext"
IP_ADAPTERS = "FLUX.1"
KONTEXT: Final = "FluxKontextPipeline"
FILL: Final = "FluxFillPipeline"
PIPELINES: Final = ("FluxPipeline", KONTEXT, FILL)
# Of a file, its name tells that it is Kontext: it differs from [dev] in nothing but weights.
KONTEXT_MARK: Final = "kontext"
# The (width, height) in pixels that Kontext was trained to look at.
KONTEXT_SIZES: Final = (
    (672, 1568), (688, 1504), (720, 1456), (752, 1392), (800, 1328), (832, 1248), (880, 1184), (944, 1104),
    (1024, 1024),
    (1104, 944), (1184, 880), (1248, 832), (1328, 800), (1392, 752), (1456, 720), (1504, 688), (1568, 672),
)  # fmt: skip
CODEC: Final = "packed_kl"
COMPONENTS: Final[Mapping[str, Classes]] = {
    "transformer": ("diffusers", (ARCHITECTURE,)),
    "vae": codecs.codec(CODEC).CLASSES,
}
UNREAD: Final = {
    "text_encoder": "there is no text pipeline: the caller encodes the text",
    "tokenizer": "there is no text pipeline: the caller encodes the text",
    "text_encoder_2": "the text pipeline reads `text_encoder` alone; without one the caller encodes the text",
    "tokenizer_2": "the text pipeline reads `tokenizer` alone; without one the caller encodes the text",
    "image_encoder": "it reads pictures for an IP-Adapter, and none is named",
    "feature_extractor": "how pictures are shown to an IP-Adapter's image encoder is always the same",
}
READER: Final = "clip_t5"
TEXT: Final[Mapping[str, Classes]] = pipelines.PLUGINS.get(READER).COMPONENTS
VAE: Final[Mapping[str, Any]] = {"scaling_factor": 0.3611, "shift_factor": 0.1159}
# Schedulers of the two models, which single files do not have. [schnell] is told by these, too.
DEV_SCHEDULER: Final[Mapping[str, Any]] = {
    "_class_name": SCHEDULER, "num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": True,
    "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096,
}  # fmt: skip
SCHNELL_SCHEDULER: Final[Mapping[str, Any]] = {"_class_name": SCHEDULER, "num_train_timesteps": 1000, "shift": 1.0}
DEV_STEPS, SCHNELL_STEPS = 28, 4
DEV_TOKENS, SCHNELL_TOKENS = 512, 256  # of T5, where the models' own pipelines cut
EMBEDDED_GUIDANCE: Final = 3.5  # the default that FLUX.1 [dev] documents
FILL_STEPS, FILL_GUIDANCE = 50, 30.0


class Flux(PlainDenoiser):
    """A `Denoiser`."""

    MODEL = flux
    weights: flux.FluxWeights
    config: flux.FluxConfig

    @property
    def sizes(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Denoiser`."""
        own = {name: value for name, value in asdict(self.config).items() if name != "beside_channels" or value}
        return {"transformer": own, "vae": self.codec.sizes}

    def architecture(self, sigmas: SigmaConfig) -> Architecture:
        """See `Denoiser`."""
        config = self.config
        return Architecture(
            granularity=self.codec.granularity,
            token_channels=config.in_channels,
            text_width=config.joint_attention_dim,
            pooled_width=config.pooled_projection_dim,
            embedded_guidance=EMBEDDED_GUIDANCE if config.guidance_embeds else None,
            adapter_layers=config.num_double_blocks,
            adapter_width=config.width,
            sigmas=sigmas,
            fills=bool(config.beside_channels),
        )

    def memory(self, itemsize: int) -> MemoryCoefficients:
        """See `Denoiser`."""
        width = self.config.width
        residual = 4 * width  # float32
        block = itemsize * width * 14  # modulated input, qkv, plain q, attention and adapters, feed-forward hidden
        return MemoryCoefficients(
            row=residual + block,
            image_row=self.config.in_channels * 4 * 4 + (residual if self.config.beside_channels else 0),
            sample=self.config.num_modulations * 4,  # columns of all adaLN projections together, float32
            pixel=self.codec.pixel_bytes(itemsize),
        )

    def layout(
        self, ops: Ops[Any, Any], samples: Sequence[Sample], adapters: AdapterTable | None = None
    ) -> flux.FluxLayout[Any]:
        """See `Denoiser`."""
        return flux.layout(ops, self.weights, samples, adapters)

    def velocity(
        self,
        ops: Ops[Any, Any],
        layout: flux.FluxLayout[Any],
        latents: Any,
        times: Vector,
        pages: Pages | None = None,
    ) -> Any:
        """See `Denoiser`."""
        return flux.velocity(ops, self.weights, layout, latents, times, pages)

    def lora_map(self) -> LoraMap:
        """See `TakesLoras`."""
        return flux_lora.lora_map(self.config)

    def adapter_branch(self, ops: Ops[Any, Any], weights: Mapping[str, NDArray[Any]]) -> AdapterBranch:
        """See `Denoiser`. `flux.load_adapter_branch` describes the layout."""
        return flux.load_adapter_branch(ops, self.weights, weights)

    def adapter_file(self, ops: Ops[Any, Any], path: str | Path) -> flux.IpAdapter:
        """See `Denoiser`. `flux.load_ip_adapter` describes the layout."""
        return flux.load_ip_adapter(ops, self.weights, path)


def fits(checkpoint: Checkpoint) -> bool:
    """See `Family`."""
    return checkpoint.index.get("_class_name") in PIPELINES


def of_file(file: TensorFile) -> Mapping[str, Component]:
    """See `Family`."""
    prefix = originals.prefix_of(file)
    if prefix is None:
        return {}
    transformer = originals.transformer(file, prefix)
    settings = DEV_SCHEDULER if originals.embeds_guidance(file, prefix) else SCHNELL_SCHEDULER
    return parts_of(file, transformer, settings, whole=bool(prefix), text=TEXT, vae=VAE)


def settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """See `Family`. Of [schnell]'s shape is what has no guidance embedding and sigmas without a shift."""
    values = checkpoint.components["transformer"].config.values if "transformer" in checkpoint.components else {}
    scheduler = checkpoint.components["scheduler"].config.values if "scheduler" in checkpoint.components else {}
    plain = not scheduler.get("use_dynamic_shifting") and scheduler.get("shift", 1.0) == 1.0
    schnell = not values.get("guidance_embeds") and plain
    found: dict[str, Any] = {"defaults": {"steps": SCHNELL_STEPS if schnell else DEV_STEPS}}
    if reads_prompts(checkpoint, TEXT):
        found["text"] = {"pipeline": READER, "tokens": SCHNELL_TOKENS if schnell else DEV_TOKENS}
    path = checkpoint.path
    named = checkpoint.index.get("_class_name") == KONTEXT or (path.is_file() and KONTEXT_MARK in path.stem.lower())
    if values.get("out_channels") not in (None, values.get("in_channels")):
        found["defaults"] = {"steps": FILL_STEPS, "embedded_guidance": FILL_GUIDANCE}
    elif named and not schnell:
        found["references"] = {"most": 1, "sizes": KONTEXT_SIZES}
    return found


def lora_map(checkpoint: Checkpoint) -> LoraMap:
    """See `LoraRules`."""
    return flux_lora.lora_map(flux.FluxConfig.read(checkpoint.component("transformer").config))


def want_text(components: Mapping[str, Component], width: int, pooled: int) -> None:
    """See `Family`."""
    source = components["transformer"].config
    config = flux.FluxConfig.read(source)
    for key, given in {"joint_attention_dim": width, "pooled_projection_dim": pooled}.items():
        if getattr(config, key) != given:
            source.refuse(key, f"{given}, the width of the text encoder", getattr(config, key))


def load(ops: Ops[Any, Any], components: Mapping[str, Component]) -> Flux:
    """See `Family`."""
    transformer, autoencoder, codec = components["transformer"], components["vae"], codecs.codec(CODEC)
    config, channels = flux.FluxConfig.read(transformer.config), codec.token_channels(autoencoder)
    want_packed(transformer, config.in_channels, channels)
    levels = autoencoder.config.values.get("block_out_channels")
    pixels = 4 ** (len(levels) if isinstance(levels, list) else 0)  # of a token: one of the mask's for each
    if config.beside_channels not in (0, channels + pixels):
        expected = f"{channels}, or {2 * channels + pixels} of FLUX.1 Fill"
        transformer.config.refuse("in_channels", expected, channels + config.beside_channels)
    return Flux(flux.load_flux(ops, transformer), transformer.config, codec.load(ops, autoencoder))
