"""Give the families what they have in common: the plain parts of a `Denoiser`, and of reading a file with a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from ..kernels.ops import Ops, Vector
from .adapters.adapters import AdapterBranch
from .checkpoint import Checkpoint, Component
from .codecs import LatentCodec
from .config import Config
from .denoiser import AdapterTable, Float32, Pages, Sample
from .errors import UnknownArchitecture
from .files import autoencoder
from .files import text as text_files
from .files.renamed import SettingsComponent
from .pipeline import Classes
from .tensor_file import TensorFile
from .weights.ip_adapter import IpAdapter

TIME_SCALE: Final = np.float32(1000)  # models of flow matching read sigma times this factor, unless they say otherwise


class Model(Protocol):
    """The functions of a module of `engine/models/` that a denoiser calls."""

    @property
    def layout(self) -> Callable[..., Any]: ...

    @property
    def velocity(self) -> Callable[..., Any]: ...


class PlainDenoiser:
    """The part of a `Denoiser` that is the same for most families: of a model without adapters.

    Args:
        weights: the packed model.
        source: its config.json, which errors name.
        codec: the checkpoint's autoencoder.
    """

    COMPONENT = "transformer"  # whose sizes the config's are
    MODEL: Model
    weights: Any
    config: Any

    def __init__(self, weights: Any, source: Config, codec: LatentCodec) -> None:
        self.weights = weights
        self.config = weights.config
        self.source = source
        self.codec = codec

    @property
    def sizes(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Denoiser`."""
        return {self.COMPONENT: asdict(self.config), "vae": self.codec.sizes}

    def times(self, sigmas: Float32) -> Float32:
        """See `Denoiser`."""
        return sigmas * TIME_SCALE

    def layout(self, ops: Ops[Any, Any], samples: Sequence[Sample], adapters: AdapterTable | None = None) -> Any:
        """See `Denoiser`."""
        want_none(adapters)
        return self.MODEL.layout(ops, self.weights, samples)

    def velocity(self, ops: Ops[Any, Any], layout: Any, latents: Any, times: Vector, pages: Pages | None = None) -> Any:
        """See `Denoiser`."""
        return self.MODEL.velocity(ops, self.weights, layout, latents, times)

    def adapter_branch(self, ops: Ops[Any, Any], weights: Mapping[str, NDArray[Any]]) -> AdapterBranch:
        """See `Denoiser`."""
        self._no_adapters(self.source.path, f"an adapter branch of {len(weights)} arrays")

    def adapter_file(self, ops: Ops[Any, Any], path: str | Path) -> IpAdapter:
        """See `Denoiser`."""
        self._no_adapters(Path(path), "an adapter file")

    def _no_adapters(self, path: Path, found: str) -> NoReturn:
        raise UnknownArchitecture(
            "an adapter for a model that takes none", path=path, expected=f"none with {self.source.architecture}",
            found=found, remedy="leave it out, or use a model of the adapter's family",
        )  # fmt: skip


def want_none(adapters: AdapterTable | None) -> None:
    """Raise ValueError unless no adapter acts on any sample."""
    if adapters is not None and len(adapters.samples):
        raise ValueError(f"layout: adapters: got {len(adapters.samples)} terms, want none")


def parts_of(
    file: TensorFile,
    model: Component,
    settings: Mapping[str, Any],
    *,
    whole: bool,
    text: Mapping[str, Classes],
    vae: Mapping[str, Any],
    reader: ModuleType = autoencoder,
) -> dict[str, Component]:
    """Return the components in a single file, each with its `kind`.

    Args:
        model: the denoiser, under its own name.
        settings: what scheduler_config.json would say, which no file has.
        whole: whether other components may lie in the file, each behind a prefix of its own.
        text: the components of the family's text pipeline; encoders of others are passed over.
        vae: of the autoencoder, what its arrays do not say.
        reader: the module of `engine/files/` that reads the family's autoencoder.

    Raises:
        CheckpointError: arrays are missing or of other shapes.
    """
    kind = ("diffusers", str(settings["_class_name"]))
    scheduler = SettingsComponent("scheduler", kind, file.path, settings)
    parts: dict[str, Component] = {model.name: model, scheduler.name: scheduler}
    if not whole:
        return parts
    inside = reader.prefix_of(file)
    if inside is not None:
        parts["vae"] = reader.autoencoder(file, inside, vae)
    for encoder in text_files.encoders(file):
        places = [name for name, (_, classes) in text.items() if encoder.name in classes]
        if places:
            encoder.name = places[0]
            parts[encoder.name] = encoder
    return parts


def reads_prompts(checkpoint: Checkpoint, text: Mapping[str, Classes]) -> bool:
    """Return whether the text encoders are those of the family, and any is there. If only one is, the other is missed.

    Args:
        text: the components of the family's text pipeline.
    """
    encoders = {name: classes for name, (_, classes) in text.items() if name.startswith("text_encoder")}
    named = {name: checkpoint.components[name] for name in encoders if name in checkpoint.components}
    own = all(checkpoint.index[name][1] in encoders[name] for name in named)
    return own and any(part.kind is not None or part.path.is_dir() for part in named.values())


def want_packed(transformer: Component, given: int, channels: int) -> None:
    """Raise WrongConfig unless a transformer reads what its autoencoder makes.

    Args:
        given: the transformer's in_channels.
        channels: columns of a token, 2 x 2 latents.
    """
    if given != channels:
        expected = f"{channels}, 2 x 2 of the autoencoder's {channels // 4} latent channels"
        transformer.config.refuse("in_channels", expected, given)
