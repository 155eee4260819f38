"""The default style: which style vector is the model's own taste, and how strongly `--s` adds it.

A picture asked for in bare words gets the mean style vector of one drawing set through the style adapter, mildly.
`--raw`, like `--s 0`, adds nothing: weight 0 is exactly no adapter.
"""

from collections.abc import Sequence

from .sets import BY_NAME, STYLES

DEFAULT_STYLE = "fluent-3d"
STYLIZE = ((0.0, 0.0), (100.0, 0.4), (1000.0, 1.6))  # (--s, adapter weight): straight lines between these


def weight_of(stylize: float, *, raw: bool = False, points: Sequence[Sequence[float]] = STYLIZE) -> float:
    """Adapter weight of a `--s` value; outside the points it stays at the nearest one's."""
    if raw:
        return 0.0
    before = points[0]
    for point in points:
        if stylize <= point[0]:
            span = point[0] - before[0]
            return before[1] + (point[1] - before[1]) * (max(stylize, before[0]) - before[0]) / (span or 1.0)
        before = point
    return float(points[-1][1])


def as_data() -> dict[str, object]:
    """What `salon.json` says of it: the row of the tensor in the file, its words, and the weights of `--s`."""
    return {
        "file": "style_encoder.safetensors",
        "tensor": "styles",
        "row": STYLES.index(DEFAULT_STYLE),
        "words": BY_NAME[DEFAULT_STYLE].words,
        "stylize": [list(point) for point in STYLIZE],
    }
