"""Load and step UNets, for the families that have one: Stable Diffusion 1.5 and SDXL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from ..kernels.ops import Ops, Vector
from . import codecs
from .adapters.adapters import AdapterBranch
from .checkpoint import Checkpoint, Component
from .codecs import LatentCodec
from .config import Config
from .denoiser import AdapterTable, Float32, Pages, Sample
from .denoisers import PlainDenoiser, parts_of
from .errors import UnknownArchitecture
from .files import lone_unet
from .files import unet as originals
from .info import Architecture
from .memory import MemoryCoefficients
from .models import unet, unet_texts
from .models.unet_levels import in_one_form
from .pipeline import Classes
from .sigmas import SigmaConfig
from .tensor_file import TensorFile
from .text.clips import TOKENS
from .text.pipeline import TextEncoding
from .trained import SOLVERS, TrainedSigmas
from .weights import unet_lora
from .weights.ip_adapter import IpAdapter, load_unet_adapter
from .weights.lora import LoraWeights
from .weights.lora_map import LoraMap
from .weights.unet import ARCHITECTURE

CODEC: Final = "kl"
COMPONENTS: Final[Mapping[str, Classes]] = {
    "unet": ("diffusers", (ARCHITECTURE,)),
    "vae": codecs.codec(CODEC).CLASSES,
}
BETAS: Final[Mapping[str, Any]] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULERS: Final[Classes] = ("diffusers", tuple(SOLVERS))


class UNet(PlainDenoiser):
    """A `Denoiser`.

    Args:
        weights: the packed UNet.
        source: its config.json, which errors name.
        codec: the checkpoint's autoencoder.
        schedule: how the checkpoint spaces its sigmas.
    """

    COMPONENT = "unet"
    MODEL = unet
    weights: unet.UNetWeights
    config: unet.UNetConfig

    def __init__(self, weights: unet.UNetWeights, source: Config, codec: LatentCodec, schedule: TrainedSigmas) -> None:
        super().__init__(weights, source, codec)
        self.schedule = schedule

    def architecture(self, sigmas: SigmaConfig) -> Architecture:
        """See `Denoiser`. Its own schedule holds in place of `sigmas`."""
        config = self.config
        return Architecture(
            granularity=self.codec.granularity,
            token_channels=config.in_channels,
            text_width=config.cross_attention_dim,
            pooled_width=config.pooled,
            embedded_guidance=None,
            adapter_layers=0,
            adapter_width=config.block_out_channels[0],
            sigmas=sigmas,
            trained=self.schedule,
        )

    def memory(self, itemsize: int) -> MemoryCoefficients:
        """See `Denoiser`."""
        config, row = self.config, 0.0
        for number, width in enumerate(config.block_out_channels):
            kept = itemsize * width * (config.layers_per_block + 1)  # the skips, which all levels hold at once
            # A level at work: two resnet inputs side by side and their norm, ones to copy them, the residual stream,
            # and the gated half of a feed-forward or q, k, v.
            busy = width * (itemsize * 12 + 4 * 3)
            row += (kept + busy) / 4**number
        return MemoryCoefficients(
            row=itemsize * config.cross_attention_dim,
            image_row=int(row),
            # Keys and values of a text, and what resnets are told of the time.
            sample=TOKENS * itemsize * config.text_columns + 4 * 8 * config.time_width * len(config.block_out_channels),
            pixel=self.codec.pixel_bytes(itemsize),
        )

    def lora_map(self) -> LoraMap:
        """See `TakesLoras`."""
        return unet_lora.lora_map(self.config)

    @property
    def text_widths(self) -> tuple[int, ...]:
        """See `KeepsTexts`."""
        return tuple(each.width for each in self.weights.transformers for _ in each.layers)

    def text_keys(
        self, ops: Ops[Any, Any], text: TextEncoding, loras: tuple[tuple[LoraWeights, float], ...] = ()
    ) -> Iterator[tuple[Any, Any]]:
        """See `KeepsTexts`."""
        return unet_texts.text_keys(ops, self.weights, [Sample((1, 1), text, loras=loras)])

    def changes_texts(self, lora: LoraWeights) -> bool:
        """See `KeepsTexts`."""
        return any(name.endswith(f".{unet_texts.KEYS}") for name in lora.factors)

    def times(self, sigmas: Float32) -> Float32:
        """See `Denoiser`: four numbers for each sample (`unet.times`)."""
        numbers: Float32 = unet.times(self.schedule, sigmas)
        return numbers

    def layout(
        self, ops: Ops[Any, Any], samples: Sequence[Sample], adapters: AdapterTable | None = None
    ) -> unet.UNetLayout[Any]:
        """See `Denoiser`."""
        return unet.layout(ops, self.weights, samples, self.codec.granularity, adapters)

    def graph_layout(self, ops: Ops[Any, Any], layout: unet.UNetLayout[Any]) -> unet.UNetLayout[Any]:
        """See `LaysOutForGraphs`. No graph takes LoRAs."""
        return layout if layout.loras is not None else replace(layout, levels=in_one_form(ops, layout.levels))

    def velocity(
        self,
        ops: Ops[Any, Any],
        layout: unet.UNetLayout[Any],
        latents: Any,
        times: Vector,
        pages: Pages | None = None,
    ) -> Any:
        """See `Denoiser`."""
        return unet.velocity(ops, self.weights, layout, latents, times, pages)

    def adapter_branch(self, ops: Ops[Any, Any], weights: Mapping[str, NDArray[Any]]) -> AdapterBranch:
        """See `Denoiser`. UNets take whole files alone."""
        raise UnknownArchitecture(
            "an adapter branch for a UNet", path=self.source.path, expected="an IP-Adapter file",
            found=f"{len(weights)} arrays", remedy="name the file (--ip-adapter, or Engine.load)",
        )  # fmt: skip

    def adapter_file(self, ops: Ops[Any, Any], path: str | Path) -> IpAdapter:
        """See `Denoiser`. `ip_adapter.load_unet_adapter` describes the layout."""
        return load_unet_adapter(ops, self.weights, path)


def defaults_of(checkpoint: Checkpoint, side: int, guidance: float) -> dict[str, Any]:
    """Return what the pipelines of both families do where nothing else is said.

    Args:
        side: latents along a side of a picture, unless the UNet's config says it.
        guidance: the pipeline's guidance_scale.

    Raises:
        CheckpointError: a config cannot be read.
    """
    parts = {name: each.config.values for name, each in _configs(checkpoint).items()}
    wanted = parts.get("unet", {}).get("sample_size")
    sides = tuple(wanted) if isinstance(wanted, list) and len(wanted) == 2 else (wanted, wanted)
    if not all(type(each) is int and each > 0 for each in sides):
        sides = (side, side)
    levels = parts.get("vae", {}).get("block_out_channels")
    factor = 2 ** (len(levels) - 1) if isinstance(levels, list) and 0 < len(levels) < 9 else 8
    kind = parts.get("scheduler", {}).get("_class_name")
    found: dict[str, Any] = {"height": factor * sides[0], "width": factor * sides[1]}
    found |= {"steps": 50, "guidance_scale": guidance}
    return found | ({"solver": SOLVERS[kind]} if kind in SOLVERS else {})


def _configs(checkpoint: Checkpoint) -> dict[str, Component]:
    wanted = ("unet", "vae", "scheduler")
    return {name: checkpoint.components[name] for name in wanted if name in checkpoint.components}


def lora_map(checkpoint: Checkpoint) -> LoraMap:
    """See `LoraRules`."""
    return unet_lora.lora_map(unet.UNetConfig.read(checkpoint.component("unet").config))


def parts_with_unet(
    file: TensorFile,
    prefix: str,
    text: Mapping[str, Classes],
    vae: Mapping[str, Any],
    scheduler: Mapping[str, Any],
) -> dict[str, Component]:
    """Return the components in a single file with a UNet, each with its `kind`.

    Args:
        prefix: what stands before the UNet's arrays; "": the file has nothing else.
        text: the components of the family's text pipeline.
        vae: of the autoencoder, what its arrays do not say.
        scheduler: what scheduler_config.json would say, which no file has.

    Raises:
        CheckpointError: arrays are missing or of other shapes.
    """
    settings = dict(scheduler)
    if originals.V_PREDICTION in file.tensors:
        settings["prediction_type"] = "v_prediction"
    if originals.ZERO_SNR in file.tensors:
        settings["rescale_betas_zero_snr"] = True
    model = lone_unet.unet(file, prefix) if lone_unet.prefix_of(file) == prefix else originals.unet(file, prefix)
    return parts_of(file, model, settings, whole=bool(prefix), text=text, vae=vae)


def want_text(components: Mapping[str, Component], width: int, pooled: int) -> None:
    """See `Family`."""
    source = components["unet"].config
    own = unet.UNetConfig.read(source)
    if own.cross_attention_dim != width:
        expected = f"{width}, the width of the text encoders' states"
        source.refuse("cross_attention_dim", expected, own.cross_attention_dim)
    if own.pooled != pooled:
        expected = f"{pooled} more than six times addition_time_embed_dim, as the text encoder's pooled vector says"
        key = "projection_class_embeddings_input_dim"
        source.refuse(key, expected, own.projection_class_embeddings_input_dim)


def load_unet(ops: Ops[Any, Any], components: Mapping[str, Component]) -> UNet:
    """Load a UNet with its autoencoder and its schedule.

    Raises:
        CheckpointError: anything is wrong with their folders. Configs that do not fit each other are refused before any
            weight is packed.
    """
    part, vae, codec = components["unet"], components["vae"], codecs.codec(CODEC)
    config, channels = unet.UNetConfig.read(part.config), codec.token_channels(vae)
    if config.in_channels != channels:
        expected = f"{channels}, the autoencoder's latent channels"
        remedy = None
        if config.in_channels in (channels + 1, 2 * channels, 2 * channels + 1):
            remedy = "it is made for inpainting or editing, or to start from a picture's depth; use a plain one"
        part.config.refuse("in_channels", expected, config.in_channels, remedy=remedy)
    schedule = TrainedSigmas.read(components["scheduler"].config)
    return UNet(unet.load_unet(ops, part), part.config, codec.load(ops, vae), schedule)
