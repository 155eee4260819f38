"""Adapters that benchmarks put on their jobs: the shipped one, with the checkpoint's own styles, and random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.engine import Engine
from ..engine.safetensors_file import SafetensorsFile
from ..kernels.bfloat16 import widen
from .facts import SHIPPED
from .peers.base import F32

FILE = SHIPPED / "adapter.safetensors"
STYLES = SHIPPED / "style_encoder.safetensors"
BRANCH = "shipped"  # the name that it is added under


@dataclass(frozen=True, eq=False)
class Shipped:
    """The adapter beside the shipped weights.

    Attributes:
        branch: its keys' and values' layers, as `Engine.add_branch` and `Studio.add_branch` take them.
        tokens: of each style of the checkpoint, float32 [n, token width].
        null: of the null reference, which takes a style's place in the unconditional branch.
    """

    branch: dict[str, Any]
    tokens: tuple[F32, ...]
    null: F32

    @classmethod
    def of(cls, engine: Engine) -> Shipped:
        """Read the adapter, and turn the style vectors into tokens on `engine`."""
        file, styles = SafetensorsFile(FILE), SafetensorsFile(STYLES)
        mark = "ip_adapter."
        keys = [key for key in file.tensors if key.startswith(mark)]
        branch = {key.removeprefix(mark): widen(file.array(key), key) for key in keys}
        projection = engine.model.denoiser.adapter_file(engine.ops, FILE).projection

        def tokens(vector: F32) -> F32:
            return np.asarray(projection.tokens(engine.ops, vector[None]), np.float32)

        vectors = widen(styles.array("styles"), "styles")
        return cls(branch, tuple(map(tokens, vectors)), tokens(widen(styles.array("null"), "null").reshape(-1)))

    def register(self, house: Any, count: int, name: str = BRANCH) -> list[str]:
        """Add the branch to an engine or a studio, with `count` of its styles and the null reference ("NAME-null");
        return the styles' names."""
        house.add_branch(self.branch, BRANCH)
        house.register_adapter(f"{name}-null", self.null, branch=BRANCH)
        names = [f"{name}-{k}" for k in range(count)]
        for number, each in enumerate(names):
            house.register_adapter(each, self.tokens[number % len(self.tokens)], branch=BRANCH)
        return names


def random_branch(layers: int, width: int, token_width: int) -> dict[str, Any]:
    """Make a random branch in diffusers' Flux IP-Adapter layout. It moves the picture, so no op can skip it."""
    random = np.random.default_rng(3)
    weights: dict[str, Any] = {}
    for layer in range(layers):
        for name in ("to_k_ip", "to_v_ip"):
            shape = (width, token_width)
            weights[f"{layer}.{name}.weight"] = random.standard_normal(shape, np.float32) / token_width**0.5
            weights[f"{layer}.{name}.bias"] = np.zeros(width, np.float32)
    return weights


def random_tokens(engine: Engine, counts: Sequence[int], scale: float = 1.0, seed: int = 5) -> list[F32]:
    """Make random tokens of adapters of `random_branch`, one array for each count of rows."""
    random = np.random.default_rng(seed)
    width = engine.model.architecture.adapter_width
    return [np.float32(scale) * random.standard_normal((count, width), np.float32) for count in counts]
