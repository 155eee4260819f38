"""The model families: every module of this folder is one, and its name is the family's.

To add a family is to add a module with

    HELP: str                                          # what it is, in a few words
    PIPELINES: Collection[str]                         # classes that model_index.json names for it
    COMPONENTS: Mapping[str, Classes]                  # components of the folder that it reads
    UNREAD: Mapping[str, str]                          # those that it passes over, and why
    def fits(checkpoint) -> bool                       # whether the folder is of this family
    def load(ops, components) -> Denoiser              # see `engine/denoiser.py`

Nothing else knows their names. What a model computes stands in `engine/models/`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ...plugins import Plugins
from ..checkpoint import Checkpoint, Component
from ..errors import UnknownArchitecture
from ..pipeline import index_of

if TYPE_CHECKING:
    from ...kernels.ops import Ops
    from ..denoiser import Denoiser
    from ..pipeline import Classes


class Family(Protocol):
    """What a module of this folder has."""

    HELP: str
    PIPELINES: Collection[str]
    COMPONENTS: Mapping[str, Classes]
    UNREAD: Mapping[str, str]

    def fits(self, checkpoint: Checkpoint) -> bool:
        """Return whether a folder is of this family, by its index and configs; no weight is read."""

    def load(self, ops: Ops[Any, Any], components: Mapping[str, Component]) -> Denoiser:
        """Load the model. CheckpointError for anything wrong with its folders, before any weight is packed where the
        configs do not fit each other."""


PLUGINS: Plugins[Family] = Plugins("model family", __name__, __path__)
names = PLUGINS.names


def family_of(checkpoint: Checkpoint) -> Family:
    """Return the family of a model folder. UnknownArchitecture if there is none, naming those that there are."""
    index = index_of(checkpoint)
    found = index.architecture
    known = {name: PLUGINS.get(name) for name in names()}
    fitting = {name: family for name, family in known.items() if family.fits(checkpoint)}
    assert len(fitting) < 2, f"{checkpoint.path}: of the families {', '.join(fitting)} at once"
    for family in fitting.values():
        return family
    expected = " or ".join(sorted({name for family in known.values() for name in family.PIPELINES}))
    remedy = f"the families that Salon knows: {', '.join(known)}"
    index.refuse("_class_name", expected, found, UnknownArchitecture, remedy)
