"""The default style: which style vector is the model's own taste, and how strongly `--s` adds it.

A picture asked for in bare words gets the mean style vector of one drawing set through the style adapter, mildly.
`--raw`, like `--s 0`, adds nothing: weight 0 is exactly no adapter. The engine reads all of this from `salon.json`
(`engine/default_style.py`).
"""

import numpy as np

from .sets import BY_NAME, STYLES

DEFAULT_STYLE = "fluent-3d"
STYLIZE = ((0.0, 0.0), (100.0, 0.4), (1000.0, 1.6))  # (--s, adapter weight): straight lines between these


def weight_of(stylize: float) -> float:
    """Return the adapter weight of a `--s` value."""
    at, weights = zip(*STYLIZE, strict=True)
    return float(np.interp(stylize, at, weights))


def as_data() -> dict[str, object]:
    """Return what `salon.json` says of it: the row of the tensor in the file, its words, and the weights of `--s`."""
    return {
        "file": "style_encoder.safetensors",
        "tensor": "styles",
        "row": STYLES.index(DEFAULT_STYLE),
        "words": BY_NAME[DEFAULT_STYLE].words,
        "stylize": [list(point) for point in STYLIZE],
    }
