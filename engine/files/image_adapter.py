"""Open an IP-Adapter and the image encoder that it was made with, without reading weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..checkpoint import Checkpoint, Component
from ..errors import MissingFile, UnknownArchitecture, WrongConfig, WrongShape
from ..families import PLUGINS, family_of
from ..safetensors_file import SafetensorsFile
from ..signatures import describe_file
from ..weights.clip_vision import ARCHITECTURES, VISION
from ..weights.image_encoders import SIGLIP, read_config
from ..weights.ip_adapter import encoder_width
from ..weights.siglip_vision import POOL, ROOT
from .renamed import FileComponent, Piece, count_of, shape_of

if TYPE_CHECKING:
    from .opening import ModelPath

ADAPTER: Final = "ip_adapter"
MARK: Final = "vision_model.embeddings.patch_embedding.weight"
UNREAD: Final = (
    *("text_model.", "text_projection.", "logit_scale", "logit_bias", "vision_model.embeddings.position_ids"),
)
HEADS: Final = 16  # of each of these
SIDES: Final = {(27, 14): 384}  # (patches along a side, pixels of one) -> pixels of a picture, where these do not say
ACTIVATIONS: Final = {1024: "quick_gelu", 1280: "gelu", 1664: "gelu"}  # columns of ViT-L, ViT-H and ViT-bigG -> theirs
ENCODER: Final = "image_encoder"
KNOWN: Final = {  # (columns, whether of the states) -> the encoder that adapters of this width were made with
    (768, False): "CLIP ViT-L/14",
    (1152, False): "SigLIP so400m",
    (1024, False): "CLIP ViT-H/14",
    (1280, False): "CLIP ViT-bigG/14",
    (1280, True): "CLIP ViT-H/14",
    (1664, True): "CLIP ViT-bigG/14",
}


class EncoderComponent(Component):
    """An image encoder's folder, which may stand anywhere."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, ENCODER)
        self.kind = ("transformers", self.config.architecture)


def _adapter(path: Path) -> FileComponent:
    """Return an IP-Adapter's file as a component, which has no settings."""
    file = SafetensorsFile(path)
    return FileComponent(ADAPTER, ("salon", "IpAdapter"), file, {key: Piece(key) for key in file.tensors}, {})


def encoder_file(path: Path) -> FileComponent:
    """Return the image encoder in a single file, whose config follows from its shapes.

    Raises:
        CheckpointError: it cannot be read, or has no image encoder that Salon knows.
    """
    file = SafetensorsFile(path)
    bare = POOL in file.tensors and MARK.removeprefix(ROOT) in file.tensors  # as newer versions of transformers save it
    mark, layers = (key.removeprefix(ROOT) if bare else key for key in (MARK, f"{ROOT}encoder.layers."))
    if mark not in file.tensors:
        raise UnknownArchitecture(
            "no image encoder", path=path, expected=f"CLIP's or SigLIP's in transformers' names ({MARK})",
            found=describe_file(file.tensors), remedy="name a folder or file of one",
        )  # fmt: skip
    width, _, _, patch = shape_of(file, mark, 4)
    places = shape_of(file, mark.replace("patch_embedding", "position_embedding"), 2)[0]
    pieces = {key: Piece(key) for key in file.tensors if not key.startswith(UNREAD)}
    if bare or f"{ROOT}{POOL}" in file.tensors:  # of SigLIP's alone
        sides = math.isqrt(places)
        found = {
            "architectures": [SIGLIP[0]], "hidden_size": width, "patch_size": patch, "num_attention_heads": HEADS,
            "image_size": SIDES.get((sides, patch), sides * patch), "num_hidden_layers": count_of(file, layers),
            "intermediate_size": shape_of(file, f"{layers}0.mlp.fc1.weight", 2)[0],
        }  # fmt: skip
        return FileComponent(ENCODER, ("transformers", SIGLIP[0]), file, pieces, found)
    if width not in ACTIVATIONS:
        known = ", ".join(map(str, ACTIVATIONS))
        raise WrongShape(
            "an image encoder of unknown width", path=path, key=MARK, expected=f"{known} columns", found=str(width),
            remedy="name its folder, which has config.json",
        )  # fmt: skip
    config = {
        "architectures": [VISION], "hidden_size": width, "hidden_act": ACTIVATIONS[width], "patch_size": patch,
        "image_size": patch * math.isqrt(max(0, places - 1)), "num_attention_heads": HEADS,
        "num_hidden_layers": count_of(file, layers),
        "intermediate_size": shape_of(file, f"{layers}0.mlp.fc1.weight", 2)[0],
        "projection_dim": shape_of(file, "visual_projection.weight", 2)[0],
    }  # fmt: skip
    return FileComponent(ENCODER, ("transformers", VISION), file, pieces, config)


def image_adapter_parts(model: ModelPath, checkpoint: Checkpoint) -> Mapping[str, Component]:
    """Return the IP-Adapter and its image encoder by name; empty: the model is named without one.

    Raises:
        CheckpointError: the file is no IP-Adapter, the model takes none, or the image encoder is missing or of another
            width.
        WrongConfig: an image encoder is named without an adapter.
    """
    if model.ip_adapter is None:
        if model.image_encoder is not None:
            raise WrongConfig(
                "an image encoder without an IP-Adapter", path=model.image_encoder, remedy="name its file: --ip-adapter"
            )
        return {}
    named, family = family_of(checkpoint)
    if not getattr(family, "IP_ADAPTERS", ""):
        taking = ", ".join(PLUGINS.constants("IP_ADAPTERS").values())
        raise UnknownArchitecture(
            "an IP-Adapter for a model that takes none", path=model.ip_adapter,
            expected=f"a model of one of these: {taking}", found=f"one of family {named}",
            remedy="leave it out, or use such a model",
        )  # fmt: skip
    width, states, siglip = encoder_width(model.ip_adapter)
    wanted = f"{width} columns of {'its states' if states else 'an embedding'}"
    wanted += f" ({KNOWN[width, states]})" if (width, states) in KNOWN else ""
    found = []
    for path in _places(model, checkpoint):
        component: Component = encoder_file(path) if path.is_file() else EncoderComponent(path)
        config, kind = read_config(component.config), component.config.architecture
        if (config.hidden_size if states else config.projection_dim) == width and (kind in SIGLIP) == siglip:
            return {ADAPTER: _adapter(model.ip_adapter), ENCODER: component}
        found.append(f"{config.hidden_size if states else config.projection_dim} of a {kind} ({path})")
    wants = SIGLIP[0] if siglip else ARCHITECTURES[0]
    raise MissingFile(
        "an IP-Adapter without its image encoder", path=model.ip_adapter, expected=f"one of {wanted}",
        found=", ".join(found) or "none", remedy=f"name its folder or file, of a {wants}: --image-encoder",
    )  # fmt: skip


def _places(model: ModelPath, checkpoint: Checkpoint) -> Iterator[Path]:
    """Yield where the image encoder may be: what was named alone, or the folders where downloads have it."""
    if model.image_encoder is not None:
        yield model.image_encoder
        return
    assert model.ip_adapter is not None
    beside = model.ip_adapter.parent
    folders = [beside / ENCODER, beside.parent / "models" / ENCODER, beside.parent / "sdxl_models" / ENCODER]
    if ENCODER in checkpoint.components:
        folders.append(checkpoint.components[ENCODER].path)
    yield from (each for each in dict.fromkeys(folders) if (each / "config.json").is_file())
