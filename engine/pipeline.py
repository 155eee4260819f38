"""What model_index.json says of the pipeline, compared with what Salon does: diffusers' `FluxPipeline`.

The index names a class for the pipeline and one for each component. A class that is not compared could be a model that
is used in another way than Salon uses it, so each is, and what is not implemented is refused by name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from .checkpoint import Checkpoint
from .config import Config
from .errors import UnknownArchitecture, WrongConfig
from .models import bert, flux_weights, vae_weights
from .sigmas import SCHEDULER

PIPELINE: Final = "FluxPipeline"

# component -> (library, its classes that Salon implements)
IMPLEMENTED: Final[Mapping[str, tuple[str, Collection[str]]]] = {
    "scheduler": ("diffusers", (SCHEDULER,)),
    "text_encoder": ("transformers", (bert.ARCHITECTURE,)),
    # The same tokenizer.json under the names that versions of transformers have for who reads it.
    "tokenizer": (
        "transformers",
        ("BertTokenizer", "BertTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend"),
    ),
    "transformer": ("diffusers", (flux_weights.ARCHITECTURE,)),
    "vae": ("diffusers", (vae_weights.ARCHITECTURE,)),
}

# Components of a `FluxPipeline` that Salon does not read: name -> why the picture does not depend on them.
_UNREAD: Final = {
    "text_encoder": "there is no text pipeline: the caller encodes the text",
    "tokenizer": "there is no text pipeline: the caller encodes the text",
    "text_encoder_2": "the text pipeline reads `text_encoder` alone; without one the caller encodes the text",
    "tokenizer_2": "the text pipeline reads `tokenizer` alone; without one the caller encodes the text",
    "image_encoder": "of pictures as input, for adapters, which callers encode",
    "feature_extractor": "of pictures as input, for adapters, which callers encode",
}


def want_flux_pipeline(checkpoint: Checkpoint, read: Collection[str]) -> None:
    """Check model_index.json. `read`: the names of the components that are read.

    Raises:
        UnknownArchitecture: another pipeline, a component of another class, or a component or setting that the
            pipeline has not. WrongConfig: a component that is read is missing.
    """
    index = Config(checkpoint.path / "model_index.json", checkpoint.index)
    index.want_architecture([PIPELINE])
    for name in read:
        if name not in checkpoint.components:
            known = ", ".join(checkpoint.components) or "none"
            raise WrongConfig("missing component", path=index.path, key=name, found=known)
        library, classes = IMPLEMENTED[name]
        given = checkpoint.index[name]
        if given[0] != library or given[1] not in classes:
            expected = " or ".join(f"{library}'s {kind}" for kind in classes)
            index.refuse(name, expected, given, UnknownArchitecture)
    absent = {name: "null" for name, entry in checkpoint.index.items() if entry == [None, None]}
    index.finish(_UNREAD | absent | dict.fromkeys(read, "compared above"))
