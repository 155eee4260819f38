"""Say what a model's files are without loading them: family, parts, memory, and what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..kernels import backends
from .checkpoint import Checkpoint, Component, Format
from .config import read_json
from .errors import CheckpointError, printable
from .families import family_of, schedulers_of
from .files.image_adapter import image_adapter_parts
from .files.opening import ModelPath, open_checkpoint, parts_read, salon_of
from .files.reading import open_file
from .memory import free_memory, loading_bytes, want_memory, weight_bytes
from .pipeline import want_components
from .signatures import UNKNOWN, describe_file, describe_pipeline
from .text.pipelines import reader_of


@dataclass(frozen=True)
class Part:
    """One part of a model.

    Attributes:
        name: in model_index.json.
        kind: its class.
        parameters: number of weights; 0: none.
        read: whether Salon reads it.
        reason: why not, if not.
        quantised: formats of those of its arrays that are quantised.
    """

    name: str
    kind: str
    parameters: int
    read: bool
    reason: str
    quantised: tuple[Format, ...] = ()


@dataclass(frozen=True)
class Survey:
    """What is known of a model before it is loaded.

    Attributes:
        path: the folder or file.
        what: what it is, in words, also where Salon does not have its family.
        family: a module of `engine/families`; "": Salon has none that fits.
        parts: its parts.
        dtype: compute dtype that `needed` is of.
        needed: bytes of memory that its weights take.
        loading: bytes of memory that loading takes beside these, at most.
        free: bytes of memory that are free; None: the system does not tell.
        problem: why it cannot be loaded here; "": nothing is known that stands in the way.
        notes: sentences about its files.
        linear: bytes of a number of a linear layer, of which `needed` is; None: those of `dtype`.
    """

    path: Path
    what: str
    family: str
    parts: tuple[Part, ...]
    dtype: str
    needed: int
    free: int | None
    problem: str
    loading: int = 0
    notes: tuple[str, ...] = ()
    linear: int | None = None


def survey(
    model: ModelPath,
    dtype: str | None = None,
    *,
    on_host: bool = True,
    linear: int | None = None,
    backend: str = backends.DEFAULT,
) -> Survey:
    """Look at a model's files. What is wrong with them stands in `Survey.problem`; nothing is raised for it.

    Args:
        dtype: compute dtype; None: the one that the cpu backend would choose here.
        on_host: whether the weights would lie in this machine's memory, and not in that of a device.
        linear: bytes of a number of a linear layer; None: those of the compute dtype.
        backend: that would compute, for what helps where the memory is too small.
    """
    what, name, parts, problem, needed, loading = UNKNOWN, "", tuple[Part, ...](), "", 0, 0
    notes = tuple[str, ...]()
    compute = dtype or backends.create(backends.DEFAULT).compute
    try:
        what = _what(model.path)
        checkpoint = open_checkpoint(model)
        name, family = family_of(checkpoint)
        parts = _parts(checkpoint)
        salon = salon_of(checkpoint)
        read = {**parts_read(checkpoint, salon), **schedulers_of(family)}
        components = {part: checkpoint.components[part] for part in read if part in checkpoint.components}
        more = image_adapter_parts(model, checkpoint)
        components |= more
        parts = tuple(part for part in parts if part.name not in more)
        parts += tuple(Part(part, each.kind[1], each.parameters, True, "") for part, each in more.items() if each.kind)
        needed = sum(weight_bytes(components, _itemsize(compute), linear).values())
        loading = loading_bytes(components)
        notes = (*_stands_in(checkpoint), *_notes(components))
        want_components(checkpoint, read, family.UNREAD)
        if (reader := reader_of(salon)) is not None:
            family.want_text(components, *reader.widths(components, salon))
        if on_host:
            want_memory(model.path, components, _itemsize(compute), linear, backends.lighter(backend, compute))
    except CheckpointError as error:
        problem = str(error)
    return Survey(model.path, what, name, parts, compute, needed, free_memory(), problem, loading, notes, linear)


def _itemsize(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else 4


def _what(path: Path) -> str:
    """Return what a folder or file says that it is."""
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            return "a folder without model_index.json"
        named = str(read_json(path / "model_index.json").get("_class_name"))[:80]
        family = describe_pipeline(named)
        return named if family is None else f"{named} ({family})"
    return f"a single file: {describe_file(open_file(path).tensors)}" if path.is_file() else "nothing"


def _stands_in(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what is to be told of a file that draws as a part of a folder would."""
    if checkpoint.base is None:
        return ()
    folder = printable(str(checkpoint.base))
    return (f"it stands in place of the denoiser of {folder}: its config, scheduler and settings are that folder's",)


def _notes(components: Mapping[str, Component]) -> tuple[str, ...]:
    weights = [component.weights() for component in components.values() if component.parameters]
    return tuple(dict.fromkeys(note for each in weights for note in each.notes))


def _parts(checkpoint: Checkpoint) -> tuple[Part, ...]:
    """Return the parts of a checkpoint of a family that Salon has."""
    _, family = family_of(checkpoint)
    read = {**parts_read(checkpoint, salon_of(checkpoint)), **schedulers_of(family)}
    unread = family.UNREAD
    found = []
    for name, component in checkpoint.components.items():
        try:
            count = component.parameters
            formats = tuple(component.weights().formats()) if count else ()
        except CheckpointError:  # the loading tells it, with its path
            count, formats = 0, ()
        reason = "" if name in read else unread.get(name, "Salon does not know it")
        found.append(Part(name, str(checkpoint.index[name][1]), count, name in read, reason, formats))
    return tuple(found)
