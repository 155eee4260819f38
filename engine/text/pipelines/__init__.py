"""The text pipelines: every module of this folder is one, and its name is what `text.pipeline` of `salon.json` says.

To add a text pipeline is to add a module with

    HELP: str                                                # what it is, in a few words
    COMPONENTS: Mapping[str, Classes]                        # components of the folder that it reads
    def files(salon) -> Mapping[str, Any]                    # and files beside them
    def load(ops, components, salon, limits) -> TextPipeline

and, if prompts can be read without weights,

    def reader(components, salon, limits) -> PromptReader    # refuses what the pipeline refuses, before there is a job
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
    """What a module of this folder has."""

    HELP: str
    COMPONENTS: Mapping[str, Classes]

    def files(self, salon: Config) -> Mapping[str, Any]:
        """Return the names of the files that it reads beside the components and what an entry "file" names: by the
        dotted key of `salon.json` that they stand under."""

    def load(
        self, ops: Ops[Any, Any], components: Mapping[str, Component], salon: Config, limits: Limits
    ) -> TextPipeline:
        """Load the pipeline that the "text" part of `salon.json` describes. CheckpointError for anything wrong."""


PLUGINS: Plugins[Reader] = Plugins("text pipeline", __name__, __path__)
names = PLUGINS.names


def reader_of(salon: Config) -> Reader | None:
    """Return the module that reads the prompts of a checkpoint; None for one that reads no prompts.

    Raises:
        UnknownArchitecture, WrongConfig: `text.pipeline` names none of them.
    """
    if "text" not in salon.values:
        return None
    name: str = settings_of(salon).only("pipeline", names())
    return PLUGINS.get(name)


def settings_of(salon: Config) -> Config:
    """Return the "text" part of `salon.json`, to be read key by key."""
    text = salon.values["text"]
    return Config(salon.path, text if isinstance(text, dict) else {})
