"""A generation drawn in this process, to its end, with a bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .progress import progress

if TYPE_CHECKING:
    from ..engine.engine import Engine, UInt8
    from ..engine.generation import Generation


def draw(engine: Engine, generation: Generation, *, quiet: bool) -> UInt8:
    """Take all steps of a generation, and return its pictures uint8 [images, height, width, 3].

    Raises:
        NumericalError: its numbers became NaN or infinite.
    """
    if generation.evaluations:  # else it is the picture that it started from
        with progress(len(generation.evaluations), quiet=quiet) as advance:
            while not (report := engine.step([generation])[0]).done:
                if report.error is not None:
                    raise report.error
                advance(report.position)
            advance(report.position)
    return engine.finish(generation)
