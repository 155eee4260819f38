"""Turn a generation's arrays into plain data, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import complaint
from .errors import StateError
from .generation import Generation, ParkedGeneration

Float32 = NDArray[np.float32]


def to_data(array: Float32 | None) -> bytes:
    """Return the little-endian float32 bytes of an array; b"" for None."""
    return b"" if array is None else array.astype("<f4").tobytes()


def set_size(parked: ParkedGeneration, generation: Generation) -> None:
    """Let a generation whose small steps are over have the whole size (`progressive`).

    One that was parked right between both kinds of steps is small, unless it had been enlarged for the next one.
    """
    whole, spec = generation.whole, generation.spec
    if whole is None:
        return
    grown = any(e.step >= spec.small_steps for e in generation.evaluations[: max(parked.position, 0)])
    if grown or len(parked.latents) == spec.images * whole[0] * whole[1] * generation.channels * 4:
        generation.grid, generation.whole = whole, None


def read_arrays(parked: ParkedGeneration, generation: Generation) -> list[Float32 | None]:
    """Return [latents, velocity, base, *kept] of a parked generation, each float32 [images * rows, C] or None.

    Raises:
        StateError: a position or a size does not fit the spec, or an array is missing that the next evaluation needs.
    """
    anew = "open it anew"
    if not parked.spec.inquiry and not 0 <= parked.position <= len(generation.evaluations):
        allowed = f"0 to {len(generation.evaluations)} evaluations"
        raise StateError(complaint("parked generation", f"{parked.position} taken", allowed, anew))
    shape = (generation.spec.images * generation.rows, generation.channels)
    size = shape[0] * shape[1] * 4
    arrays: list[Float32 | None] = []
    found = [("latents", parked.latents), ("velocity", parked.velocity), ("base", parked.base)]
    for name, data in (*found, *(("kept", part) for part in parked.kept)):
        if len(data) != size and (data or name in ("latents", "kept")):
            raise StateError(complaint("parked generation", f"{len(data):,} bytes of {name}", f"{size:,}", anew))
        arrays.append(np.frombuffer(data, "<f4").astype(np.float32).reshape(shape) if data else None)
    for due in generation.evaluations[parked.position :][:1]:
        if len(parked.kept) != len(due.past):
            allowed = f"{len(due.past)}, for the next evaluation"
            raise StateError(complaint("parked generation", f"{len(parked.kept)} kept arrays", allowed, anew))
        if ((due.from_base or due.aside) and arrays[2] is None) or (due.b and arrays[1] is None):
            raise StateError(complaint("parked generation", "no base or velocity", "both, amid a step", anew))
    return arrays
