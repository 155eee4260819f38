"""Tell which linear layers keep the compute dtype on a backend that rounds weights to fewer bits.

By custom these are the layers outside of the blocks: what leads latents, text and time in, and what leads out. A UNet's
blocks also have layers of the time, which are small.
"""

from __future__ import annotations

import re
from typing import Final

_BLOCK: Final = re.compile(r"(?:^|\.)(?:\w*blocks?|\w*layers?|\w*refiner)\.\d+\.")  # "single_transformer_blocks.7."
_TIME: Final = "time_emb_proj"


def may_round(name: str) -> bool:
    """Return whether the layer that a file calls `name` may be rounded."""
    return _BLOCK.search(name) is not None and _TIME not in name
