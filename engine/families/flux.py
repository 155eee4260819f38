"""Load and step FLUX.1 and smaller models of its shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Ops, Vector
from .. import codecs
from ..adapters.adapters import AdapterBranch
from ..checkpoint import Checkpoint, Component
from ..codecs import LatentCodec
from ..config import Config
from ..denoiser import AdapterTable, Float32, Pages, Sample
from ..info import Architecture
from ..memory import MemoryCoefficients
from ..models import flux
from ..pipeline import Classes
from ..sigmas import SigmaConfig
from ..text.pipeline import TextEncoding
from ..weights.flux import ARCHITECTURE

HELP = "FLUX.1, and smaller models of its shape"
PIPELINES: Final = ("FluxPipeline",)
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
    "image_encoder": "it reads pictures for adapters, which callers encode",
    "feature_extractor": "it reads pictures for adapters, which callers encode",
}
EMBEDDED_GUIDANCE: Final = 3.5  # the default that FLUX.1 [dev] documents
TIME_SCALE: Final = np.float32(1000)  # the model reads sigma times this factor


class Flux:
    """A `Denoiser`.

    Args:
        weights: the packed transformer.
        source: its config.json, which errors name.
        codec: the checkpoint's autoencoder.
    """

    def __init__(self, weights: flux.FluxWeights, source: Config, codec: LatentCodec) -> None:
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
        )

    def memory(self, itemsize: int) -> MemoryCoefficients:
        """See `Denoiser`."""
        width = self.config.width
        residual = 4 * width  # float32
        block = itemsize * width * 14  # modulated input, qkv, plain q, attention and adapters, feed-forward hidden
        return MemoryCoefficients(
            row=residual + block,
            image_row=self.config.in_channels * 4 * 4,
            sample=self.config.num_modulations * 4,  # columns of all adaLN projections together, float32
            pixel=self.codec.pixel_bytes(itemsize),
        )

    def want_text(self, encoding: TextEncoding) -> None:
        """See `Denoiser`."""
        widths = {"joint_attention_dim": encoding.tokens.shape[1], "pooled_projection_dim": len(encoding.pooled)}
        for key, width in widths.items():
            if getattr(self.config, key) != width:
                self.source.refuse(key, f"{width}, the width of the text encoder", getattr(self.config, key))

    def times(self, sigmas: Float32) -> Float32:
        """See `Denoiser`."""
        return sigmas * TIME_SCALE

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

    def adapter_branch(self, ops: Ops[Any, Any], weights: Mapping[str, NDArray[Any]]) -> AdapterBranch:
        """See `Denoiser`. `flux.load_adapter_branch` describes the layout."""
        return flux.load_adapter_branch(ops, self.weights, weights)

    def adapter_file(self, ops: Ops[Any, Any], path: str | Path) -> flux.IpAdapter:
        """See `Denoiser`. `flux.load_ip_adapter` describes the layout."""
        return flux.load_ip_adapter(ops, self.weights, path)


def fits(checkpoint: Checkpoint) -> bool:
    """See `Family`."""
    return checkpoint.index.get("_class_name") in PIPELINES


def load(ops: Ops[Any, Any], components: Mapping[str, Component]) -> Flux:
    """See `Family`."""
    transformer, autoencoder, codec = components["transformer"], components["vae"], codecs.codec(CODEC)
    config, channels = flux.FluxConfig.read(transformer.config), codec.token_channels(autoencoder)
    if config.in_channels != channels:
        expected = f"{channels}, 2 x 2 of the autoencoder's {channels // 4} latent channels"
        transformer.config.refuse("in_channels", expected, config.in_channels)
    return Flux(flux.load_flux(ops, transformer), transformer.config, codec.load(ops, autoencoder))
