"""Find the model families: every module of this folder is one, and its name is the family's.

To add a family is to add a module with

    HELP: str                                          # describes the family in a few words
    PIPELINES: Collection[str]                         # classes that model_index.json names for it
    COMPONENTS: Mapping[str, Classes]                  # components of the folder that it reads
    UNREAD: Mapping[str, str]                          # those that it passes over -> the reason
    TEXT: Mapping[str, Classes]                        # text encoders and tokenizers that may be named apart
    VAE: Mapping[str, Any]                             # of its autoencoder, what the arrays of a single file do not say
    def fits(checkpoint) -> bool                       # whether the folder is of this family
    def of_file(file) -> Mapping[str, Component]       # the components in a single file of this family
    def settings(checkpoint) -> Mapping[str, Any]      # what stands for salon.json in a folder without one
    def want_text(components, width, pooled)           # refuses text encoders of another model, by the configs
    def load(ops, components) -> Denoiser              # see `engine/denoiser.py`
    def lora_map(checkpoint) -> LoraMap                # may be left out: the family takes no LoRAs
    REFERENCES: str                                    # may be left out; which models take references, in words
    IP_ADAPTERS: str                                   # may be left out; which models take IP-Adapters, in words

and, if its models are not of flow matching,

    SCHEDULERS: Classes                                # whose configs it reads in `load`, from "scheduler"

No other module knows their names. `engine/models/` computes what a model computes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ...plugins import Plugins
from ..checkpoint import Checkpoint, Component
from ..errors import UnknownArchitecture
from ..pipeline import index_of
from ..sigmas import SCHEDULER
from ..signatures import describe_pipeline

if TYPE_CHECKING:
    from ...kernels.ops import Ops
    from ..denoiser import Denoiser
    from ..pipeline import Classes
    from ..tensor_file import TensorFile


class Family(Protocol):
    """The names that a module of this folder defines."""

    HELP: str
    PIPELINES: Collection[str]
    COMPONENTS: Mapping[str, Classes]
    UNREAD: Mapping[str, str]
    TEXT: Mapping[str, Classes]
    VAE: Mapping[str, Any]

    def fits(self, checkpoint: Checkpoint) -> bool:
        """Return whether a folder is of this family, by its index and configs. No weight is read."""

    def of_file(self, file: TensorFile) -> Mapping[str, Component]:
        """Return the components that lie in a single file, each with its `kind`; empty: it is of another family.

        Raises:
            CheckpointError: the file is of this family, but arrays are missing or of other shapes.
        """

    def settings(self, checkpoint: Checkpoint) -> Mapping[str, Any]:
        """Return what salon.json would say of a folder that has none: keys "text" and "defaults", where they hold.

        Raises:
            CheckpointError: a config cannot be read.
        """

    def want_text(self, components: Mapping[str, Component], width: int, pooled: int) -> None:
        """Check by the model's config that it reads what the text pipeline makes. No weight is read.

        Args:
            width: columns of the text pipeline's rows.
            pooled: columns of its pooled vector.

        Raises:
            WrongConfig: the model reads text of other widths.
            CheckpointError: its config cannot be read.
        """

    def load(self, ops: Ops[Any, Any], components: Mapping[str, Component]) -> Denoiser:
        """Load the model.

        Raises:
            CheckpointError: anything is wrong with its folders. Configs that do not fit each other are refused before
                any weight is packed.
        """


SCHEDULERS: Mapping[str, Classes] = {"scheduler": ("diffusers", (SCHEDULER,))}  # unless a family says others
PLUGINS: Plugins[Family] = Plugins("model family", __name__, __path__)
names = PLUGINS.names


def family_of(checkpoint: Checkpoint) -> tuple[str, Family]:
    """Return the name and the family of a model folder. Raise UnknownArchitecture, naming the known ones, if no family
    fits."""
    index = index_of(checkpoint)
    found = index.architecture
    known = {name: PLUGINS.get(name) for name in names()}
    fitting = {name: family for name, family in known.items() if family.fits(checkpoint)}
    assert len(fitting) < 2, f"{checkpoint.path}: of the families {', '.join(fitting)} at once"
    for name, family in fitting.items():
        return name, family
    expected = " or ".join(sorted({name for family in known.values() for name in family.PIPELINES}))
    what = describe_pipeline(found)
    remedy = f"it is {what}; " if what is not None else ""
    remedy += f"the families that Salon has: {', '.join(known)}"
    index.refuse("_class_name", expected, found, UnknownArchitecture, remedy)


def schedulers_of(family: Family) -> Mapping[str, Classes]:
    """Return the component that says how a family's models space their sigmas, with its classes."""
    return {name: getattr(family, "SCHEDULERS", usual) for name, usual in SCHEDULERS.items()}
