"""Load a checkpoint folder as a `Model`: everything that an engine needs, on one backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..kernels.accelerator import accelerator_of
from ..kernels.ops import Ops
from .checkpoint import Checkpoint, Component
from .config import Config, read_json
from .defaults import read_defaults
from .denoiser import Denoiser
from .device import want_room, weight_bytes
from .digests import architecture_digest, content_digest, shipped_files
from .errors import WrongConfig, printable
from .families import family_of
from .info import Architecture, ModelIdentity
from .limits import Limits
from .memory import MemoryCoefficients
from .pipeline import Classes, want_components
from .sigmas import SCHEDULER, SigmaConfig
from .styles.space import StyleSpace, load_styles
from .taste.space import TasteSpace, space_of
from .taught import Taught, read_taught
from .text.pipeline import TextEncoding, TextPipeline, read_only
from .text.pipelines import reader_of
from .text.reader import words_of

FORMAT = 1  # version of salon.json
SETTINGS = {  # keys of salon.json that `load_model` passes over -> what reads them
    "name": "the name to be shown",
    "version": "the version to be shown",
    "text": "the text pipeline that it names",
    "style_vectors": "engine/styles/space.py",
    "default_style": "engine/default_style.py",
}
SCHEDULERS: Mapping[str, Classes] = {"scheduler": ("diffusers", (SCHEDULER,))}


@dataclass
class Model:
    """A loaded checkpoint.

    Attributes:
        checkpoint: the folder.
        name, version: the checkpoint's own, or the folder's name and "".
        denoiser: the model that is stepped, with the codec of its latents.
        sigmas: how the checkpoint spaces its sigmas.
        text: the text pipeline; None for a checkpoint without `salon.json`.
        defaults: fields of `GenerationSpec` that suit the model.
        draft: the fields that a quick draft changes; empty: none.
        vocabulary: what `salon.json` says of the things that the model knows, for frontends to show.
        components: the components that were loaded, by name.
        salon: `salon.json`; without values for a folder that has none.
        files: the files beside the components: `salon.json`, every file that it names, and the style adapter.
        styles: the styles that the model ships, or None.
        taught: how long a picture the model was taught; None: it does not say.
        family: name of its family.
    """

    checkpoint: Checkpoint
    name: str
    version: str
    denoiser: Denoiser
    sigmas: SigmaConfig
    text: TextPipeline | None
    defaults: Mapping[str, Any]
    draft: Mapping[str, Any]
    vocabulary: Mapping[str, Any]
    components: Mapping[str, Component]
    salon: Config
    files: Sequence[Path]
    styles: StyleSpace | None
    taught: Taught | None = None
    family: str = ""

    @cached_property
    def architecture(self) -> Architecture:
        """The sizes that requests, text and adapters must fit."""
        return self.denoiser.architecture(self.sigmas)

    def memory(self, itemsize: int) -> MemoryCoefficients:
        """Return the activation memory that the model takes. A number of the compute dtype has `itemsize` bytes."""
        return self.denoiser.memory(itemsize)

    @property
    def identity(self) -> ModelIdentity:
        """Identity of the model. The first use reads the whole checkpoint, as `digest` does."""
        parts = {name: part.content_hash for name, part in sorted(self.components.items())}
        return ModelIdentity(name=self.name, version=self.version, digest=self.digest, components=parts)

    @cached_property
    def digest(self) -> str:
        """Content hash of all that the model is made of: `components` and `files`. The first use reads all of it."""
        return content_digest(self.checkpoint, self.components, self.files)

    @cached_property
    def architecture_digest(self) -> str:
        """Hash of what decides how much work the model is: sizes and tensors' shapes, not their values."""
        sizes = {**self.denoiser.sizes, **({} if self.text is None else self.text.sizes)}
        parts = () if self.text is None else self.text.parts
        return architecture_digest(self.components, sizes, parts, self.files)

    @cached_property
    def words(self) -> Mapping[str, Sequence[str]]:
        """Slot -> the model's own words there, in the checkpoint's order, things under "subject"; empty: no list."""
        return words_of(getattr(self.text, "reader", None), self.vocabulary)

    @cached_property
    def taste(self) -> TasteSpace | None:
        """The numbers by which tastes are learned; None: the model has no styles."""
        styles = self.styles
        if styles is None:
            return None
        return space_of(styles.vectors, styles.words, styles.heads, self.words, **styles.tastes)

    @property
    def word_counts(self) -> dict[str, int]:
        """Slot -> how many of `words` inquiries probe there: of styles none, where the style encoder tells them."""
        counts = {slot: len(names) for slot, names in self.words.items()}
        return counts | {"style": 0} if self.encodes_styles else counts

    @property
    def encodes_styles(self) -> bool:
        """Whether the style encoder tells the styles that prompts can name."""
        return self.styles is not None and bool(self.words) and {*self.styles.words} == {*self.words.get("style", ())}

    @cached_property
    def unconditional(self) -> TextEncoding:
        """The input of the unconditional branch without a negative prompt. Without a text pipeline it is zeros."""
        if self.text is not None:
            return self.text.unconditional
        sizes = self.architecture
        return read_only(np.zeros((0, sizes.text_width), np.float32), np.zeros(sizes.pooled_width, np.float32))


def load_model(ops: Ops[Any, Any], path: Path, limits: Limits, *, require_text: bool = False) -> Model:
    """Load a checkpoint folder.

    Args:
        require_text: whether to refuse a folder without a text pipeline, before any weight is packed.

    Raises:
        CheckpointError: anything is wrong with the folder; the message names path and key.
        LimitError: the model does not fit into the device's memory.
    """
    checkpoint = Checkpoint(path)
    file = path / "salon.json"
    salon = Config(file, read_json(file) if file.exists() else {})
    salon.only("format", (FORMAT,), FORMAT)
    (named, family), reader = family_of(checkpoint), reader_of(salon)
    read = {**family.COMPONENTS, **SCHEDULERS, **({} if reader is None else reader.COMPONENTS)}
    want_components(checkpoint, read, family.UNREAD)
    if require_text and reader is None:
        raise WrongConfig(
            "a model without a text pipeline", path=file, key="text", expected="how prompts are read", found="nothing",
            remedy="it draws what a program has encoded and passes to Engine.open; use a folder that reads prompts",
        )  # fmt: skip
    components = {name: checkpoint.component(name) for name in read}
    scheduler = components["scheduler"].path / "scheduler_config.json"
    sigmas = SigmaConfig.read(Config(scheduler, read_json(scheduler)))
    if (device := accelerator_of(ops)) is not None:
        want_room(limits, device, weight_bytes(components.values()))
    denoiser = family.load(ops, components)
    defaults, draft = read_defaults(salon, denoiser.codec.granularity)
    vocabulary, taught = salon.mapping("vocabulary"), read_taught(salon)
    salon.finish(SETTINGS)
    text = None if reader is None else reader.load(ops, components, salon, limits)
    if text is not None:
        denoiser.want_text(text.unconditional)
    return Model(
        checkpoint=checkpoint,
        name=str(salon.values.get("name", printable(path.resolve().name))),
        version=str(salon.values.get("version", "")),
        denoiser=denoiser,
        sigmas=sigmas,
        text=text,
        defaults=defaults,
        draft=draft,
        vocabulary=vocabulary,
        components=components,
        salon=salon,
        files=shipped_files(salon),
        styles=load_styles(ops, path, salon, denoiser),
        taught=taught,
        family=named,
    )
