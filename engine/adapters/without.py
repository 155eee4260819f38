"""Refuse adapters for families whose models take none yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from numpy.typing import NDArray

from ...kernels.ops import Ops
from ..config import Config
from ..errors import UnknownArchitecture


class WithoutAdapters:
    """The part of a `Denoiser` that reads adapters, of a model without.

    Attributes:
        source: config of the model, which errors name.
    """

    source: Config

    def adapter_branch(self, ops: Ops[Any, Any], weights: Mapping[str, NDArray[Any]]) -> NoReturn:
        """See `Denoiser`."""
        self._refuse(self.source.path, f"an adapter branch of {len(weights)} arrays")

    def adapter_file(self, ops: Ops[Any, Any], path: str | Path) -> NoReturn:
        """See `Denoiser`."""
        self._refuse(Path(path), "an adapter file")

    def _refuse(self, path: Path, found: str) -> NoReturn:
        raise UnknownArchitecture(
            "an adapter for a model that takes none", path=path, expected=f"none with {self.source.architecture}",
            found=found, remedy="leave it out, or use a model of the adapter's family",
        )  # fmt: skip
