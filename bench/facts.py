"""What a benchmark needs to know of a checkpoint, read from its folder: sizes, defaults, text slots, digests.

Nothing about the shipped model is written down anywhere else in bench/, so that other weights, other defaults or
other shapes are measured as what they are from the commit on that brings them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..engine.checkpoint import Component
from ..engine.config import Config, read_json
from ..engine.defaults import read_defaults
from ..engine.engine import EMBEDDED
from ..engine.limits import Limits
from ..engine.loading import Model, load_model
from ..engine.models.flux import FluxConfig
from ..engine.models.vae import AutoencoderConfig
from ..engine.sigmas import SigmaConfig
from ..engine.text.clauses import ClauseReader, Slot, Vocabulary
from ..engine.text.pipelines.clauses import STATS
from ..kernels import backends

SHIPPED = EMBEDDED


@dataclass(frozen=True)
class Facts:
    """A checkpoint of the Flux family with a clause-wise text pipeline.

    Attributes:
        folder: of the checkpoint.
        flux, autoencoder, sigmas: its configs.
        slots: text slots, in the order of their rows.
        vocabulary: the words that its clauses are read with.
        stats: file of the text statistics.
        defaults: fields of a spec that the checkpoint names for what a request leaves out.
    """

    folder: Path
    flux: FluxConfig
    autoencoder: AutoencoderConfig
    sigmas: SigmaConfig
    slots: tuple[Slot, ...]
    vocabulary: Vocabulary
    stats: Path
    defaults: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path) -> Facts:
        """Read a checkpoint's configs, no weights.

        Raises CheckpointError, or KeyError for one without a text pipeline.
        """
        salon = Config(folder / "salon.json", read_json(folder / "salon.json"))
        text = salon.values["text"]
        scheduler = folder / "scheduler" / "scheduler_config.json"
        autoencoder = AutoencoderConfig.read(Component(folder / "vae").config)
        return cls(
            folder=folder,
            flux=FluxConfig.read(Component(folder / "transformer").config),
            autoencoder=autoencoder,
            sigmas=SigmaConfig.read(Config(scheduler, read_json(scheduler))),
            slots=tuple(Slot(**slot) for slot in text["slots"]),
            vocabulary=Vocabulary.from_json(text),
            stats=folder / str(text.get("stats", STATS)),
            defaults=read_defaults(salon, 2 * autoencoder.factor)[0],
        )

    @property
    def granularity(self) -> int:
        """Pixels along a side of a token."""
        return 2 * self.autoencoder.factor

    @property
    def text_rows(self) -> int:
        """Text rows of a sample."""
        return sum(slot.tokens for slot in self.slots)

    @property
    def image_rows(self) -> int:
        """Image rows of a sample at the default size."""
        return int(self.defaults["width"] // self.granularity * (self.defaults["height"] // self.granularity))

    @property
    def rows(self) -> int:
        """Rows of a sample at the default size."""
        return self.text_rows + self.image_rows

    @property
    def samples(self) -> int:
        """Samples that an image takes by default: two where it is guided."""
        return 1 if self.defaults["guidance_scale"] == 1 else 2

    def clauses(self, prompt: str, count: Callable[[str], int]) -> dict[str, str]:
        """Return the words of each slot of a prompt, by the engine's own parser.

        `count` returns the tokens of a text.
        """
        return dict(ClauseReader(self.slots, self.vocabulary, count).read(prompt).texts)


@cache
def shipped() -> Facts:
    """Return the facts of the model that ships."""
    return Facts.of(SHIPPED)


@cache
def digests(folder: Path) -> dict[str, str]:
    """Return name of a checkpoint, digest of all that is loaded of it, and that of its architecture and shapes."""
    model = load(folder)
    return {
        "name": f"{model.name} {model.version}".strip(),
        "digest": model.digest,
        "shapes": model.architecture_digest,
    }


@cache
def running_isa() -> str:
    """Return the instruction set that the cpu backend chooses here, in its words: "amx_bf16 bfloat16" and the like."""
    ops = backends.create("cpu", threads=1)
    return f"{ops.name.removeprefix('cpu/')} {ops.compute}"


@cache
def load(folder: Path) -> Model:
    """Load the checkpoint as the engine does, for its digests."""
    return load_model(backends.create("cpu", threads=1), folder, Limits())
