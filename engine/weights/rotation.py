"""Read from a transformer's config how the columns of a head are divided among the axes of its rotation."""

from __future__ import annotations

from typing import Final

from ..config import Config

HEAD: Final = "attention_head_dim"
AXES: Final = "axes_dims_rope"
_IN_WORDS: Final = {3: "three", 4: "four"}


def head_and_axes(config: Config, usual: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Return the columns of a head, and how many of them each axis rotates.

    Args:
        usual: what diffusers takes where the config says nothing of the axes, one number for each.

    Raises:
        WrongConfig: they are not as many, not even, or no head in all.
    """
    head, axes = config.integer(HEAD, sum(usual)), config.integers(AXES, usual)
    if len(axes) != len(usual) or sum(axes) != head or any(dim % 2 for dim in axes):
        config.refuse(AXES, f"{_IN_WORDS[len(usual)]} even numbers that sum to {HEAD} {head}", list(axes))
    return head, axes
