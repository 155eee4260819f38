"""Move latents: the solver's update and the mixture, for the triton backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..ops import GuidanceTerms
from ..segments import Int32, Segments
from .arrays import DeviceVector
from .base import Base
from .checks import refuse
from .jit import solver as kernels
from .tiles import TILE, power


class SolverOps(Base):
    """`solver_step` and `blend` of `TritonOps`. `Ops` documents them."""

    def solver_step(
        self,
        latents: torch.Tensor,
        velocity: torch.Tensor,
        segments: Segments,
        guidance: GuidanceTerms,
        a: Any,
        b: Any,
        base: torch.Tensor | None = None,
        previous: torch.Tensor | None = None,
        keep: torch.Tensor | None = None,
    ) -> None:
        op = "solver_step"
        self._want(op, "latents", latents, dtype="float32")
        self._want(op, "velocity", velocity, width=latents.shape[1], dtype="float32")
        self._want_segments(op, "segments", segments, len(latents))
        a, b = (self._vector(op, name, x, np.float32, len(segments)) for name, x in (("a", a), ("b", b)))
        for name, array in (("base", base), ("previous", previous), ("keep", keep)):
            if array is not None:
                self._want(op, name, array, latents.shape[0], latents.shape[1], "float32")
        origins, offsets, rows, weights = self._want_guidance(op, guidance, segments.lengths(), len(velocity))
        if previous is None and (b.host != 0).any():
            refuse(op, "previous", None, "an array where b is not zero")
        base = latents if base is None else base
        width = latents.shape[1]
        block = min(power(width), 128)
        tables = self.tables(segments)
        tiles = tables.tiles(TILE)
        self.launch(
            kernels.solver_step,
            (len(tiles), -(-width // block)),
            latents,
            velocity,
            base,
            previous,
            keep,
            latents.stride(0),
            velocity.stride(0),
            base.stride(0),
            0 if previous is None else previous.stride(0),
            0 if keep is None else keep.stride(0),
            tiles.table,
            tables.offsets,
            origins.data,
            offsets.data,
            rows.data,
            weights.data,
            a.data,
            b.data,
            width,
            PREVIOUS=previous is not None,
            KEEP=keep is not None,
            BM=TILE,
            BC=block,
        )

    def blend(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        z: torch.Tensor,
        weights: torch.Tensor,
        segments: Segments,
        a: Any,
        b: Any,
    ) -> None:
        op = "blend"
        self._want(op, "x", x, dtype="float32")
        self._want(op, "y", y, x.shape[0], x.shape[1], "float32")
        self._want(op, "z", z, x.shape[0], x.shape[1], "float32")
        self._want(op, "weights", weights, len(x), 1, "float32")
        self._want_segments(op, "segments", segments, len(x))
        a, b = (self._vector(op, name, v, np.float32, len(segments)) for name, v in (("a", a), ("b", b)))
        width = x.shape[1]
        block = min(power(width), 128)
        tables = self.tables(segments)
        tiles = tables.tiles(TILE)
        self.launch(
            kernels.blend,
            (len(tiles), -(-width // block)),
            x,
            y,
            z,
            weights,
            x.stride(0),
            y.stride(0),
            z.stride(0),
            weights.stride(0),
            tiles.table,
            tables.offsets,
            a.data,
            b.data,
            width,
            BM=TILE,
            BC=block,
        )

    def _want_guidance(
        self, op: str, guidance: GuidanceTerms, lengths: Int32, rows: int
    ) -> tuple[DeviceVector, DeviceVector, DeviceVector, DeviceVector]:
        """Return origins, offsets, rows and weights. Raise ValueError for rows beyond the `rows` of velocity."""
        origins = self._vector(op, "guidance.origins", guidance.origins, np.int32, len(lengths))
        offsets = self._vector(op, "guidance.offsets", guidance.offsets, np.int32, len(lengths) + 1)
        terms = self._vector(op, "guidance.rows", guidance.rows, np.int32)
        weights = self._vector(op, "guidance.weights", guidance.weights, np.float32, len(terms))
        ends = offsets.host
        if ends[0] != 0 or ends[-1] != len(terms) or (np.diff(ends) < 0).any():
            refuse(op, "guidance.offsets", ends.tolist(), f"0 to {len(terms)}, never falling")
        of_terms = np.repeat(lengths, np.diff(ends))
        for name, starts, many in (("origins", origins.host, lengths), ("rows", terms.host, of_terms)):
            if ((starts < 0) | (starts.astype(np.int64) + many > rows)).any():
                refuse(op, f"guidance.{name}", starts.tolist(), f"rows that end within the {rows} of velocity")
        return origins, offsets, terms, weights
