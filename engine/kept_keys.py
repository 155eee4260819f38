"""State what keeping keys and values in the arena needs; `kept_texts.py` and `kept_references.py` do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..kernels.ops import Ops
from .adapters.arena import Arena

D = TypeVar("D")


@dataclass(eq=False)
class KeptKeys(Generic[D]):
    """Keys and values of one engine that are kept. `D` is what the model has to be.

    Args:
        ops: backend.
        denoiser: the model.
        arena: where they are kept.
    """

    ops: Ops[Any, Any]
    denoiser: D
    arena: Arena
