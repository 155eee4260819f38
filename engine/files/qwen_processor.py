"""Read at which sizes the processor of a model folder shows pictures to Qwen2.5-VL.

It is transformers' `Qwen2VLImageProcessor`. What it does beside resizing is the same for every model, and so is what it
does where a folder has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..checkpoint import Checkpoint
from ..config import Config, read_json
from ..errors import UnknownArchitecture

PATCH, MERGED = 14, 2  # pixels along a side of a patch, and patches along that of a token
LEAST, MOST = 56 * 56, 28 * 28 * 1280  # pixels of a picture, where a processor's file does not say
OWN: Final = {"min_pixels": 56 * 56, "max_pixels": 28 * 28 * 16384}  # those of Qwen-Image-Edit's own processor
FILES: Final = ("preprocessor_config.json", "processor_config.json")
INNER: Final = "image_processor"  # where the second file has what the first is
BICUBIC: Final = 3
MEAN: Final = [0.48145466, 0.4578275, 0.40821073]
DEVIATION: Final = [0.26862954, 0.26130258, 0.27577711]


def bounds_of(checkpoint: Checkpoint) -> Mapping[str, int]:
    """Return "unit", "least" and "most" of a `TextSight`.

    Raises:
        UnknownArchitecture, WrongConfig, CheckpointError: the processor does what Salon does not implement, or its file
            cannot be read.
    """
    config = _config(checkpoint)
    config.only("resample", (BICUBIC,), BICUBIC)
    config.only("do_resize", (True,), True)
    config.only("merge_size", (MERGED,), MERGED)
    for key, wanted in (("image_mean", MEAN), ("image_std", DEVIATION)):
        if config.values.get(key) not in (None, wanted):
            config.refuse(key, f"{wanted}, those of CLIP", config.values[key], UnknownArchitecture)
    unit = config.integer("patch_size", PATCH, high=1024) * MERGED
    size = Config(config.path, config.mapping("size"))
    least = config.integer("min_pixels", size.integer("shortest_edge", LEAST, high=10**9), high=10**9)
    most = config.integer("max_pixels", size.integer("longest_edge", MOST, high=10**9), high=10**9)
    return {"unit": unit, "least": least, "most": most}


def _config(checkpoint: Checkpoint) -> Config:
    if "processor" in checkpoint.components:
        folder: Path = checkpoint.components["processor"].path
        for name in FILES:
            if (folder / name).is_file():
                values = read_json(folder / name)
                inner = values.get(INNER)
                return Config(folder / name, inner if isinstance(inner, dict) else values)
    return Config(checkpoint.path, OWN)
