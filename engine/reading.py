"""What a model reads of a request, decided before there is a job and without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ..errors import complaint
from ..values import flag_of, shown
from .errors import PromptError, SpecError
from .files.opening import ModelPath, open_checkpoint, salon_of
from .limits import Limits
from .spec import GenerationSpec
from .text.pipelines import reader_of
from .text.reader import ReadsPrompts

STRICT: Final = "strict"  # the parameter


def load_reader(model: str | Path | ModelPath | None = None, limits: Limits | None = None) -> ReadsPrompts | None:
    """Load what reads a model's prompts; None: its text pipeline needs its weights for that, or it has none.

    Args:
        model: where the model lies; None: the embedded one.

    Raises:
        CheckpointError: the folder cannot be loaded.
    """
    checkpoint = open_checkpoint(ModelPath.of(model))
    salon = salon_of(checkpoint)
    pipeline = reader_of(salon)
    make: Any = getattr(pipeline, "reader", None)
    if pipeline is None or make is None:
        return None
    components = {name: checkpoint.component(name) for name in pipeline.COMPONENTS if name in checkpoint.components}
    reader: ReadsPrompts = make(components, salon, limits or Limits())
    return reader


def read_spec(reader: ReadsPrompts | None, spec: GenerationSpec) -> tuple[str, ...]:
    """Return what is left out or replaced of a spec's texts, one sentence each.

    Text that is over the reader's limit is passed over: `Admission` refuses it.

    Raises:
        PromptError: the engine would refuse one of them, or would draw nothing of one that is to be drawn.
    """
    if reader is None:
        return ()
    notes: list[str] = []
    beside = [("negative_prompt", "negative_prompt", spec.negative_prompt if spec.guided else "")]
    beside += [("term", repr(term.text), term.text) for term in spec.acting_terms]
    if spec.prompt and len(spec.prompt) <= reader.max_chars:
        notes += reader.read(spec.prompt).warnings
    wanted = {term.text for term in spec.acting_terms if term.weight > 0}
    for field, name, text in beside:  # called as `Generation.warnings` calls them
        if text and len(text) <= reader.max_chars:
            reading = reader.read(text, field, beside=True)
            if field == "term" and text in wanted and not reading.texts:
                reader.read(text, field)  # which says why, and what is near
                raise PromptError(complaint(field, shown(text), "what the model draws", "reword it, or leave it out"))
            notes += (f"{name}: {said}" for said in reading.warnings)
    return tuple(notes)


def want_strict(strict: Any, notes: tuple[str, ...]) -> None:
    """Refuse a strict request if anything of it is left out or replaced.

    Raises:
        PromptError: something is; it lists all of that. SpecError: `strict` is neither yes nor no.
    """
    if (wanted := flag_of(strict)) is None:
        raise SpecError(complaint(STRICT, shown(strict), "true or false", "correct it"))
    if wanted and notes:
        allowed = "a prompt of which nothing is left out or replaced"
        raise PromptError(complaint(STRICT, " / ".join(notes), allowed, "reword it, or drop strict"))
