"""Open an IP-Adapter and the image encoder that it was made with, without reading weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..checkpoint import Checkpoint, Component, Weights, hash_files
from ..config import Config
from ..errors import MissingFile, WrongConfig
from ..safetensors_file import SafetensorsFile
from ..weights.clip_vision import ARCHITECTURES, ClipVisionConfig
from ..weights.ip_adapter import encoder_width

if TYPE_CHECKING:
    from .opening import ModelPath

ADAPTER: Final = "ip_adapter"
ENCODER: Final = "image_encoder"
KNOWN: Final = {  # (columns, whether of the states) -> the encoder that adapters of this width were made with
    (768, False): "CLIP ViT-L/14",
    (1024, False): "CLIP ViT-H/14",
    (1280, False): "CLIP ViT-bigG/14",
    (1280, True): "CLIP ViT-H/14",
    (1664, True): "CLIP ViT-bigG/14",
}


class AdapterComponent(Component):
    """An IP-Adapter's file as a component."""

    kind = ("salon", "IpAdapter")

    @property
    def config(self) -> Config:
        """No settings: the arrays say everything."""
        return Config(self.path, {})

    @property
    def files(self) -> list[Path]:
        """The one file."""
        return [self.path]

    def weights(self) -> Weights:
        """See `Component`."""
        file = SafetensorsFile(self.path)
        return Weights(self.path, dict.fromkeys(file.tensors, file))

    @property
    def content_hash(self) -> str:
        """See `Component`."""
        return hash_files(self.path.parent, [self.path])


class EncoderComponent(Component):
    """An image encoder's folder, which may stand anywhere."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, ENCODER)
        self.kind = ("transformers", self.config.architecture)


def image_adapter_parts(model: ModelPath, checkpoint: Checkpoint) -> Mapping[str, Component]:
    """Return the IP-Adapter and its image encoder by name; empty: the model is named without one.

    Raises:
        CheckpointError: the file is no IP-Adapter, or the image encoder is missing or of another width.
        WrongConfig: an image encoder is named without an adapter.
    """
    if model.ip_adapter is None:
        if model.image_encoder is not None:
            raise WrongConfig(
                "an image encoder without an IP-Adapter", path=model.image_encoder, remedy="name its file: --ip-adapter"
            )
        return {}
    width, states = encoder_width(model.ip_adapter)
    wanted = f"{width} columns of {'its states' if states else 'an embedding'}"
    wanted += f" ({KNOWN[width, states]})" if (width, states) in KNOWN else ""
    found = []
    for folder in _folders(model, checkpoint):
        component = EncoderComponent(folder)
        component.config.want_architecture(ARCHITECTURES)
        config = ClipVisionConfig.read(component.config)
        if (config.hidden_size if states else config.projection_dim) == width:
            return {ADAPTER: AdapterComponent(model.ip_adapter, ADAPTER), ENCODER: component}
        found.append(f"{config.hidden_size if states else config.projection_dim} ({folder})")
    raise MissingFile(
        "an IP-Adapter without its image encoder", path=model.ip_adapter, expected=f"one of {wanted}",
        found=", ".join(found) or "none", remedy=f"name its folder, of a {ARCHITECTURES[0]}: --image-encoder",
    )  # fmt: skip


def _folders(model: ModelPath, checkpoint: Checkpoint) -> Iterator[Path]:
    """Yield where the image encoder may be: the folder that was named alone, or those where downloads have it."""
    if model.image_encoder is not None:
        yield model.image_encoder
        return
    assert model.ip_adapter is not None
    beside = model.ip_adapter.parent
    folders = [beside / ENCODER, beside.parent / "models" / ENCODER, beside.parent / "sdxl_models" / ENCODER]
    if ENCODER in checkpoint.components:
        folders.append(checkpoint.components[ENCODER].path)
    yield from (each for each in dict.fromkeys(folders) if (each / "config.json").is_file())
