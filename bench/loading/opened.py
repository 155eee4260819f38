"""Open the transformer in a folder or single file as the engine does."""

from __future__ import annotations

from pathlib import Path

from ...engine.checkpoint import Component
from ...engine.files import flux
from ...engine.files.reading import open_file


def transformer(path: Path) -> Component:
    """Return a transformer of FLUX.1's shape, none of whose weights is read."""
    if path.is_dir():
        return Component(path, "transformer")
    file = open_file(path)
    prefix = flux.prefix_of(file)
    assert prefix is not None, f"{path} is of another shape"
    return flux.transformer(file, prefix)
