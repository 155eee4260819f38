"""Load a checkpoint folder as a `Model`: everything that an engine needs, on one backend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np

from ..kernels import backends
from ..kernels.accelerator import accelerator_of
from ..kernels.ops import Ops
from ..kernels.rounding import linear_bytes
from ..kernels.streaming import Residency
from .adapters.arena import PAGE_ROWS
from .checkpoint import Checkpoint, Component
from .config import Config
from .defaults import read_defaults
from .denoiser import Denoiser, KeepsReferences, KeepsTexts
from .device import want_room
from .digests import architecture_digest, content_digest, shipped_files
from .errors import WrongConfig, printable
from .families import family_of, schedulers_of
from .files.image_adapter import ADAPTER, ENCODER, image_adapter_parts
from .files.opening import ModelPath, open_checkpoint, parts_read, salon_of
from .info import Architecture, ModelIdentity
from .limits import Limits
from .memory import MemoryCoefficients, want_memory, weight_bytes
from .models.image_encoders import load_encoder
from .pipeline import want_components
from .reference_rule import ReferenceRule, read_rule
from .sigmas import SCHEDULER, SigmaConfig
from .styles.choice import StyleInfo
from .styles.pictured import PictureStyles
from .styles.space import StyleSpace, load_styles
from .taste.space import TasteSpace, space_of
from .taught import Taught, read_taught
from .text.pipeline import SeesPictures, TextEncoding, TextPipeline, read_only
from .text.pipelines import reader_of
from .text.reader import words_of
from .weight_files import or_whole

FORMAT = 1  # version of salon.json
SETTINGS = {  # keys of salon.json that `load_model` passes over -> what reads them
    "name": "the name to be shown",
    "version": "the version to be shown",
    "text": "the text pipeline that it names",
    "style_vectors": "engine/styles/space.py",
    "default_style": "engine/default_style.py",
}
KEPT = 2  # references of the largest size, of which the arena keeps keys and values by default
# Area of the largest picture of about the default size, of that size: sides are rounded to whole tokens.
ASPECT_AREA = 17 / 16
ADAPTER_PICTURES = 8  # of an IP-Adapter, whose keys and values are kept at a time at least
STEPPED = ("transformer", "unet")  # components of which every step needs all weights


@dataclass
class Model:
    """A loaded checkpoint.

    Attributes:
        checkpoint: the folder.
        name, version: the checkpoint's own, or the folder's name and "".
        denoiser: the model that is stepped, with the codec of its latents.
        sigmas: how the checkpoint spaces its sigmas, if it is of flow matching; else the denoiser says it.
        text: the text pipeline; None for a checkpoint without `salon.json`.
        defaults: fields of `GenerationSpec` that suit the model.
        draft: the fields that a quick draft changes; empty: none.
        vocabulary: what `salon.json` says of the things that the model knows, for frontends to show.
        components: the components that were loaded, by name.
        salon: `salon.json`; without values for a folder that has none.
        files: the files beside the components: `salon.json`, every file that it names, and the style adapter.
        styles: the styles that the model ships, or None.
        pictured: the styles of pictures by an IP-Adapter that was named apart; None: none was.
        taught: how long a picture the model was taught; None: it does not say.
        family: name of its family.
        references: what pictures the model looks at while it draws; None: it looks at none.
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
    references: ReferenceRule | None = None
    pictured: PictureStyles | None = None

    @cached_property
    def architecture(self) -> Architecture:
        """The sizes that requests, text and adapters must fit."""
        return msgspec.structs.replace(self.denoiser.architecture(self.sigmas), references=self.references)

    def memory(self, itemsize: int) -> MemoryCoefficients:
        """Return the activation memory that the model takes. A number of the compute dtype has `itemsize` bytes."""
        return self.denoiser.memory(itemsize)

    def limits(self, itemsize: int) -> Limits:
        """Return the limits of an engine that was given none: the usual ones, or what four pictures of the model's
        default size, in any proportions, take together, each with a reference where the model takes some, and eight of
        an IP-Adapter, if that is more; with what the texts of the four keep. A number of the compute dtype has
        `itemsize` bytes."""
        usual, memory, unit = Limits(), self.memory(itemsize), self.architecture.granularity
        pixels = int(self.defaults["width"] * self.defaults["height"] * ASPECT_AREA)
        samples = 4 if self.defaults["guidance_scale"] == 1 else 8
        text = 0 if self.text is None else self.text.num_rows
        text += 0 if self.references is None else self.references.text_rows
        image = -(-pixels // unit**2) + (0 if self.references is None else self.references.pixels // unit**2)
        sizes, kept = self.architecture, 0
        if self.pictured is not None:
            numbers = self.pictured.kept_numbers((sizes.adapter_width,) * sizes.adapter_layers)
            kept = ADAPTER_PICTURES * numbers * itemsize
        kept += samples * -(-text // PAGE_ROWS) * PAGE_ROWS * sum(self.text_widths) * 2 * itemsize
        step = memory.step(text_rows=samples * text, image_rows=samples * image, samples=samples)
        return replace(
            usual,
            max_pixels=max(usual.max_pixels, pixels),
            max_rows=max(usual.max_rows, samples * (text + image)),
            max_step_bytes=max(usual.max_step_bytes, step),
            max_decode_bytes=max(usual.max_decode_bytes, memory.decode(pixels)),
            arena_bytes=max(usual.arena_bytes, kept, KEPT * self._reference_bytes(itemsize)),
        )

    @property
    def reference_widths(self) -> tuple[int, ...]:
        """Columns of the keys of references that are kept, of each layer; (): they are rows of every step."""
        kept = self.references is not None and self.references.kept
        return reference_widths(self.denoiser) if kept else ()

    @property
    def text_widths(self) -> tuple[int, ...]:
        """Columns of the keys of texts that are kept, of each layer; (): the model keeps none."""
        return self.denoiser.text_widths if isinstance(self.denoiser, KeepsTexts) else ()

    def _reference_bytes(self, itemsize: int) -> int:
        """Return the bytes of keys and values of the largest reference, where they are kept."""
        pixels = 0 if self.references is None else self.references.pixels
        return pixels // self.architecture.granularity**2 * sum(self.reference_widths) * 2 * itemsize

    @property
    def identity(self) -> ModelIdentity:
        """Identity of the model. The first use reads the whole checkpoint, as `digest` does."""
        parts = {name: part.content_hash for name, part in sorted(self.components.items())}
        return ModelIdentity(name=self.name, version=self.version, digest=self.digest, components=parts)

    @cached_property
    def digest(self) -> str:
        """Content hash of all that the model is made of: `components` and `files`. The first use reads all of it."""
        said = ("references are kept",) if self.reference_widths else ()  # of which a file's name may tell, and no byte
        return content_digest(self.checkpoint, self.components, self.files, said)

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
    def style_info(self) -> StyleInfo | None:
        """Facts of the styles that requests can have; None: there are none."""
        styles = self.styles or self.pictured
        return None if styles is None else styles.info

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


def load_model(
    ops: Ops[Any, Any], model: str | Path | ModelPath | None, limits: Limits, *, require_text: bool = False
) -> Model:
    """Load a model.

    Args:
        model: where it lies; None: the embedded one.
        require_text: whether to refuse a model without a text pipeline, before any weight is packed.

    Raises:
        CheckpointError: anything is wrong with the model, and the message names path and key; or the memory is too
            small for it.
        LimitError: the model does not fit into the device's memory.
    """
    place = ModelPath.of(model)
    checkpoint = open_checkpoint(place)
    path, salon = checkpoint.path, salon_of(checkpoint)
    salon.only("format", (FORMAT,), FORMAT)
    (named, family), reader = family_of(checkpoint), reader_of(salon)
    read = {**parts_read(checkpoint, salon), **schedulers_of(family)}
    if require_text and reader is None:
        _refuse_wordless(checkpoint, salon, read, family.TEXT)
    want_components(checkpoint, read, family.UNREAD)
    components = {name: checkpoint.component(name) for name in read}
    adapter = image_adapter_parts(place, checkpoint)
    components |= adapter
    itemsize = 2 if ops.compute == "bfloat16" else 4
    if (device := accelerator_of(ops)) is not None:
        sizes = weight_bytes(components, itemsize)
        kept = want_room(limits, device, sum(sizes.values()))
        if kept is not None:
            first = sum(sizes.get(name, 0) for name in STEPPED)
            device.stream(Residency(kept, first, sum(sizes.values()) - first))
    else:
        lighter = backends.lighter(ops.name.partition("/")[0], ops.compute)
        want_memory(checkpoint.path, components, itemsize, linear_bytes(ops), lighter)
    scheduler = components["scheduler"].config
    scheduler.want_architecture(schedulers_of(family)["scheduler"][1])  # the index may say another class than the file
    sigmas = SigmaConfig.read(scheduler) if scheduler.architecture == SCHEDULER else SigmaConfig()
    if reader is not None:
        family.want_text(components, *reader.widths(components, salon))
    denoiser = family.load(ops, components)
    defaults, draft = read_defaults(salon, denoiser.codec.granularity)
    vocabulary, taught, references = salon.mapping("vocabulary"), read_taught(salon), read_rule(salon)
    if references is not None and not getattr(family, "REFERENCES", ""):
        salon.refuse("references", f"none for a model of family {named}", salon.raw("references"))
    if references is not None and references.kept and not reference_widths(denoiser):
        salon.refuse("references", "kept: false, as this model was trained", salon.raw("references"))
    salon.finish(SETTINGS)
    text = None if reader is None else reader.load(ops, components, salon, limits)
    if references is not None and references.text is not None and not isinstance(text, SeesPictures):
        salon.refuse("references.text", "none: its text pipeline shows no pictures", references.text.area)
    files = shipped_files(salon)  # before they are read: one that is not there is refused by its name
    styles, pictured = load_styles(ops, path, salon, denoiser), None
    if adapter:
        if styles is not None:
            raise WrongConfig(
                "an IP-Adapter for a model with styles of its own", path=components[ADAPTER].path,
                expected="a model without", found=str(path), remedy="leave it out, or use another model",
            )  # fmt: skip
        loaded = denoiser.adapter_file(ops, components[ADAPTER].path)
        pictured = PictureStyles(loaded, load_encoder(ops, components[ENCODER]))
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
        files=files,
        styles=styles,
        taught=taught,
        family=named,
        references=references,
        pictured=pictured,
    )


def _refuse_wordless(checkpoint: Checkpoint, salon: Config, read: Iterable[str], text: Iterable[str]) -> NoReturn:
    """Raise WrongConfig for a model that reads no prompts, and say what it lacks.

    Args:
        read: components that it wants besides.
        text: those that read prompts for its family.
    """
    lacks = [name for name in text if name not in checkpoint.components]
    remedy = "it draws what a program has encoded and passes to Engine.open; use a folder that reads prompts"
    if lacks and checkpoint.path.is_file():
        remedy = "name its text encoders, and the folders of their tokenizers, with --text-encoder"
        remedy += "" if "vae" in checkpoint.components or "vae" not in read else ", and its autoencoder with --vae"
        remedy += or_whole(checkpoint.path)
    elif lacks and not salon.path.is_file():
        remedy += ", or name its text encoders and their tokenizers with --text-encoder"
    raise WrongConfig(
        "a model without a text pipeline", path=checkpoint.path if checkpoint.path.is_file() else salon.path,
        key="text", expected=", ".join(lacks) or "how prompts are read", found="nothing", remedy=remedy,
    )  # fmt: skip


def reference_widths(denoiser: Denoiser) -> tuple[int, ...]:
    """Return the columns of the keys of references in each layer, if a model can keep them; else none."""
    return denoiser.reference_widths if isinstance(denoiser, KeepsReferences) else ()
