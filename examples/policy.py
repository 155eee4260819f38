"""A policy that looks at pictures, for `salon serve --policy policy:DarkPictures` (with PYTHONPATH=examples).

It blocks pictures that are almost black, before anybody sees them; a real one asks a model here. See
docs/moderation.md.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from salon.studio.moderation.types import ALLOW, Decision, PolicyRequest, block

DARK = 8.0  # mean of the pixels, 0 to 255


class DarkPictures:
    """Block finished pictures and files that are brought where one of them is almost black."""

    stages = ("upload", "pictures")

    def __call__(self, request: PolicyRequest) -> Decision:
        """Return `block` for a dark picture, else `ALLOW`. Called on several threads at a time."""
        for data in request.pictures:
            with Image.open(io.BytesIO(data)) as picture:
                if np.asarray(picture.convert("L")).mean() < DARK:
                    return block("dark", "A picture is almost black.")
        return ALLOW
