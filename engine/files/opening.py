"""Open a model wherever its parts lie: a folder, a single file, and text encoders or an autoencoder named apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...errors import complaint
from ...given import items_of
from ...values import path_of, shown
from ..checkpoint import EMBEDDED, Checkpoint, Component
from ..config import Config, read_json
from ..errors import SpecError, UnknownArchitecture, UnsafeFile
from ..families import PLUGINS, family_of
from ..families import names as families
from ..pipeline import Classes
from ..quantised.gguf import SUFFIX as GGUF
from ..safetensors_file import PICKLE_REMEDY, PICKLE_SUFFIXES
from ..signatures import describe_file, describe_part
from ..tensor_file import TensorFile
from ..text.pipelines import reader_of
from .lone import complete
from .parts import text_parts, vae_parts
from .reading import open_whole

if TYPE_CHECKING:
    from ..families import Family

VAE: Final = "vae"
SUFFIXES: Final = (".safetensors", ".sft", GGUF)


@dataclass(frozen=True)
class ModelPath:
    """Where the parts of a model lie.

    Attributes:
        path: folder in diffusers' layout, or a single file, safetensors or GGUF.
        text_encoder: folders and files whose text encoders and tokenizers are used, in place of the model's own.
        vae: folder or file whose autoencoder is used in place of the model's own.
        ip_adapter: an IP-Adapter's file, by which pictures become styles; None: there is none.
        image_encoder: folder of the image encoder that it was made with; None: it is looked for beside the file and in
            the model's folder.
    """

    path: Path
    text_encoder: tuple[Path, ...] = ()
    vae: Path | None = None
    ip_adapter: Path | None = None
    image_encoder: Path | None = None

    @classmethod
    def of(
        cls,
        model: str | Path | ModelPath | None,
        text_encoder: Sequence[str | Path] = (),
        vae: str | Path | None = None,
        ip_adapter: str | Path | None = None,
        image_encoder: str | Path | None = None,
    ) -> ModelPath:
        """Return the place of a model. `model`: None is the embedded one; a `ModelPath` is returned as it is.

        SpecError: one of these can be no path.
        """
        if isinstance(model, ModelPath):
            return model
        named = (text_encoder,) if isinstance(text_encoder, str | Path) else items_of(text_encoder)
        if named is None:
            raise SpecError(complaint("text_encoder", shown(text_encoder), "paths", "correct it"))
        return cls(
            EMBEDDED if model is None else _path("model", model),
            tuple(_path("text_encoder", path) for path in named),
            None if vae is None else _path("vae", vae),
            None if ip_adapter is None else _path("ip_adapter", ip_adapter),
            None if image_encoder is None else _path("image_encoder", image_encoder),
        )


def _path(name: str, given: Any) -> Path:
    if (where := path_of(given)) is None:
        raise SpecError(complaint(name, shown(given), "the path of a file or folder", "correct it"))
    return Path(where)


def open_checkpoint(model: ModelPath) -> Checkpoint:
    """Open a model, without reading weights.

    Raises:
        CheckpointError: it cannot be read, is of no family that Salon has, or a part that was named apart is not of the
            model's family.
    """
    folders = [*(() if model.vae is None else (model.vae,)), *model.text_encoder]
    checkpoint = _single_file(model.path, folders) if model.path.is_file() else Checkpoint(model.path)
    if not model.text_encoder and model.vae is None:
        return checkpoint
    _, family = family_of(checkpoint)
    if model.vae is not None:
        for part in vae_parts(model.vae, family.VAE):
            _take(checkpoint, {VAE: family.COMPONENTS[VAE]}, part, model.vae)
    taken: set[str] = set()
    for path in model.text_encoder:
        for part in text_parts(path):
            taken.add(_take(checkpoint, family.TEXT, part, path, taken))
    return checkpoint


def salon_of(checkpoint: Checkpoint) -> Config:
    """Return a checkpoint's salon.json; for one without, what its family says in its place.

    Raises:
        CheckpointError: the file cannot be read, or no family fits.
    """
    file = checkpoint.path / "salon.json"
    if file.is_file():
        return Config(file, read_json(file))
    return Config(file, dict(family_of(checkpoint)[1].settings(checkpoint)))


def parts_read(checkpoint: Checkpoint, salon: Config) -> Mapping[str, Classes]:
    """Return the components that a checkpoint's family and text pipeline read, and their classes."""
    reader = reader_of(salon)
    return {**family_of(checkpoint)[1].COMPONENTS, **({} if reader is None else reader.COMPONENTS)}


def _single_file(path: Path, folders: Sequence[Path]) -> Checkpoint:
    """Open a single file as the family that knows its arrays. `folders`: where parts lie that were named apart."""
    if path.suffix in PICKLE_SUFFIXES:
        raise UnsafeFile("the weights are pickled", path=path, expected="safetensors or GGUF", remedy=PICKLE_REMEDY)
    if not _is_of_arrays(path):
        raise UnknownArchitecture(
            "no model file", path=path, expected="a safetensors or GGUF file", found="another kind of file",
            remedy="name one of these, or a model's folder",
        )  # fmt: skip
    file = open_whole(path)
    for family in _families():
        parts = family.of_file(file)
        if parts:
            checkpoint = Checkpoint.assembled(path, next(iter(family.PIPELINES)), parts)
            complete(checkpoint, family.PIPELINES, folders)
            return checkpoint
    raise UnknownArchitecture(
        "no model that Salon has", path=path, expected="one of a family that it has", found=describe_file(file.tensors),
        remedy=_way(path, file),
    )  # fmt: skip


def _way(path: Path, file: TensorFile) -> str:
    """Return what to do with a file that is no model."""
    if describe_part(file.tensors) is not None:
        return "name a model's folder or single file as the model, and what goes with it beside that"
    known = "; ".join(f"{name} ({PLUGINS.constant(name, 'HELP')})" for name in families())
    return f"the families that Salon has: {known}"


def _is_of_arrays(path: Path) -> bool:
    """Return whether a file has the suffix of a format that Salon reads, or begins as safetensors do."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError:
        return True  # opening it says what is wrong


def _families() -> Iterator[Family]:
    for name in families():
        yield PLUGINS.get(name)


def _take(
    checkpoint: Checkpoint, read: Mapping[str, Classes], part: Component, path: Path, taken: Collection[str] = ()
) -> str:
    """Put a part where the model reads one of its class, and return where. Of several such places it goes where its
    folder's name says, or else to the first that is not taken."""
    assert part.kind is not None, "a part named apart without its class"
    places = [name for name, (_, classes) in read.items() if part.kind[1] in classes]
    if not places:
        wanted = " or ".join(dict.fromkeys(kind for _, classes in read.values() for kind in classes))
        remedy = "name one that goes with the model"
        raise UnknownArchitecture(
            "a part of another model", path=path, expected=wanted, found=part.kind[1], remedy=remedy
        )
    free = [name for name in places if name not in taken] or places
    place = part.path.name if part.path.name in free else free[0]
    part.name = place
    checkpoint.replace(place, part)
    return place
