"""Find the text pipelines: every module of this folder is one; `text.pipeline` of `salon.json` gives its name.

To add a text pipeline is to add a module with

    HELP: str                                                # describes the pipeline in a few words
    COMPONENTS: Mapping[str, Classes]                        # components of the folder that it reads
    def files(salon) -> Mapping[str, Any]                    # and files beside them
    def widths(components, salon) -> tuple[int, int]         # `TextPipeline.widths`, by the components' configs alone
    def load(ops, components, salon, limits) -> TextPipeline

and, if prompts can be read without weights,

    def reader(components, salon, limits) -> PromptReader    # refuses what the pipeline refuses, before there is a job

and, if LoRAs may change its encoders (`TakesTextLoras`),

    def lora_map(components) -> LoraMap                      # which layers, by the components' configs alone
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ....plugins import Plugins
from ...config import Config

if TYPE_CHECKING:
    from ....kernels.ops import Ops
    from ...checkpoint import Component
    from ...limits import Limits
    from ...pipeline import Classes
    from ..pipeline import TextPipeline


class Reader(Protocol):
    """The names that a module of this folder defines."""

    HELP: str
    COMPONENTS: Mapping[str, Classes]

    def files(self, salon: Config) -> Mapping[str, Any]:
        """Return the names of the files that it reads beside the components and the entries "file".

        The keys are the dotted keys of `salon.json` under which the names stand.
        """

    def widths(self, components: Mapping[str, Component], salon: Config) -> tuple[int, int]:
        """Return `TextPipeline.widths` by the components' configs, before any weight is read.

        Raise CheckpointError if a config is wrong, or of a text encoder that the pipeline cannot use.
        """

    def load(
        self, ops: Ops[Any, Any], components: Mapping[str, Component], salon: Config, limits: Limits
    ) -> TextPipeline:
        """Load the pipeline that the "text" part of `salon.json` describes.

        Raise CheckpointError if anything is wrong.
        """


PLUGINS: Plugins[Reader] = Plugins("text pipeline", __name__, __path__)
names = PLUGINS.names


def reader_of(salon: Config) -> Reader | None:
    """Return the module that reads the prompts of a checkpoint; None if the checkpoint reads no prompts.

    Raises:
        UnknownArchitecture, WrongConfig: `text.pipeline` names no text pipeline.
    """
    if "text" not in salon.values:
        return None
    name: str = settings_of(salon).only("pipeline", names())
    return PLUGINS.get(name)


def settings_of(salon: Config) -> Config:
    """Return the "text" part of `salon.json` as a `Config`, which is read key by key."""
    text = salon.values["text"]
    return Config(salon.path, text if isinstance(text, dict) else {})
