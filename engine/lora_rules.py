"""Say whether a file is a LoRA for a model, before there is a job and without the model's weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .denoiser import Denoiser, TakesLoras
from .families import family_of
from .files.lora import LoraFile
from .files.opening import ModelPath, open_checkpoint, salon_of
from .text.pipeline import TakesTextLoras, TextPipeline
from .text.pipelines import reader_of
from .weights.lora import of_errors, place_lora
from .weights.lora_map import LoraMap


@dataclass(frozen=True, eq=False)
class LoraRules:
    """What a LoRA has to fit.

    Attributes:
        family: name of the model's family.
        where: the model's layers; None: the family takes no LoRAs.
    """

    family: str
    where: LoraMap | None

    @classmethod
    def of(cls, denoiser: Denoiser, family: str, text: TextPipeline | None = None) -> LoraRules:
        """Return those of a loaded model. `text`: what reads its prompts."""
        if not isinstance(denoiser, TakesLoras):
            return cls(family, None)
        where = denoiser.lora_map()
        return cls(family, where.beside(text.lora_map()) if isinstance(text, TakesTextLoras) else where)

    def open(self, path: Path) -> tuple[LoraFile, dict[str, str]]:
        """Return a file, and the model's layer of each layer of it. No array is read.

        Raises:
            CheckpointError: the file cannot be read, is no LoRA, or one for another model; the message names the array.
        """
        if self.where is None:
            raise of_errors(path, self.family)
        file = LoraFile(path)
        return file, place_lora(file, self.family, self.where)


def load_lora_rules(model: str | Path | ModelPath | None = None) -> LoraRules:
    """Return the rules of a model by its configs alone.

    Args:
        model: where the model lies; None: the embedded one.

    Raises:
        CheckpointError: the model cannot be opened.
    """
    checkpoint = open_checkpoint(ModelPath.of(model))
    name, family = family_of(checkpoint)
    find: Any = getattr(family, "lora_map", None)
    if find is None:
        return LoraRules(name, None)
    where, pipeline = find(checkpoint), reader_of(salon_of(checkpoint))
    of_text: Any = getattr(pipeline, "lora_map", None)
    if pipeline is not None and of_text is not None:
        where = where.beside(of_text({name: checkpoint.component(name) for name in pipeline.COMPONENTS}))
    return LoraRules(name, where)
