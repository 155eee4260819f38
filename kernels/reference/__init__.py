"""Provide the reference backend: every op in plain numpy float32, the readable definition and the test oracle.

Arrays are numpy float32 [T, D], views are numpy views. Each sample (or row, or image) is computed by calls whose shapes
depend on that sample alone. BLAS rounds a row by its place in a block, so a product over the whole batch would break
batch invariance. Norms and activations run in float64 and round once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bfloat16 import widen
from ..ops import Activation, Dtype, DtypeName, Float32, GuidanceTerms
from ..segments import Int32, Segments, bound_segments
from ..vectors import HostVector, host_vectors
from .attention import AttentionOps
from .checks import (
    refuse,
    want_array,
    want_choice,
    want_dtype_name,
    want_indices,
    want_segments,
    want_vector,
)
from .dense import GATES, DenseOps, ReferenceLinear, activate
from .image import ImageOps, ReferenceConv

__all__ = ["ReferenceConv", "ReferenceLinear", "ReferenceOps"]


class ReferenceOps(DenseOps, AttentionOps, ImageOps):
    """The op table in numpy. `Ops` documents every method."""

    @property
    def name(self) -> str:
        return "reference"

    @property
    def compute(self) -> Dtype:
        return "float32"

    # ---- edges

    def array(self, values: NDArray[Any], dtype: DtypeName = "compute") -> Float32:
        want_dtype_name("array", dtype)
        if values.ndim not in (1, 2):
            refuse("array", "values", f"{values.ndim} dimensions", "[T, D], or [D] taken as [1, D]")
        return widen(values[None] if values.ndim == 1 else values, "array: values")

    def numpy(self, x: Float32) -> Float32:
        want_array("numpy", "x", x)
        return np.array(x, order="C")

    def vectors(self, *values: NDArray[Any]) -> list[HostVector]:
        return host_vectors(values)

    def segments(
        self, lengths: Sequence[int], owners: Sequence[int] | None = None, num_samples: int | None = None
    ) -> Segments:
        return bound_segments(tuple(lengths), None if owners is None else tuple(owners), num_samples)

    def empty(self, rows: int, width: int, dtype: DtypeName = "compute") -> Float32:
        self._want_shape("empty", rows, width, dtype)
        return np.empty((rows, width), np.float32)

    def zeros(self, rows: int, width: int, dtype: DtypeName = "compute") -> Float32:
        self._want_shape("zeros", rows, width, dtype)
        return np.zeros((rows, width), np.float32)

    @np.errstate(all="ignore")
    def cast(self, x: Float32, dtype: DtypeName = "compute", *, activation: Activation = "none") -> Float32:
        want_array("cast", "x", x)
        want_dtype_name("cast", dtype)
        want_choice("cast", "activation", activation, GATES)
        return np.array(activate(x, activation), order="C")

    def rows(self, x: Float32, start: int, stop: int) -> Float32:
        want_array("rows", "x", x)
        if not 0 <= start <= stop <= len(x):
            refuse("rows", "start, stop", f"{start}, {stop}", f"0 <= start <= stop <= {len(x)}")
        return x[start:stop]

    def columns(self, x: Float32, start: int, stop: int) -> Float32:
        want_array("columns", "x", x)
        if not 0 <= start <= stop <= x.shape[1]:
            refuse("columns", "start, stop", f"{start}, {stop}", f"0 <= start <= stop <= {x.shape[1]}")
        return x[:, start:stop]

    def concat(self, parts: Sequence[Float32]) -> Float32:
        if not parts:
            refuse("concat", "parts", "none", "at least one")
        for part in parts:
            want_array("concat", "parts", part, width=parts[0].shape[1])
        return np.concatenate(parts)

    def split(self, x: Float32, sizes: Sequence[int]) -> list[Float32]:
        want_array("split", "x", x)
        if sum(sizes) != len(x) or min(sizes, default=0) < 0:
            refuse("split", "sizes", list(sizes), f"sizes that sum to {len(x)}")
        ends = np.cumsum([0, *sizes]).tolist()
        return [x[start:stop] for start, stop in pairwise(ends)]

    @np.errstate(all="ignore")
    def add(
        self,
        x: Float32,
        y: Float32,
        segments: Segments | None = None,
        only: Int32 | None = None,
        gate: Float32 | None = None,
    ) -> None:
        want_array("add", "x", x)
        want_array("add", "y", y, *x.shape)
        if segments is not None:
            want_segments("add", "segments", segments, len(x))
        if gate is not None:
            want_array("add", "gate", gate, width=x.shape[1])
            if segments is None:
                refuse("add", "segments", None, "the segments that choose gate's rows")
            want_segments("add", "segments", segments, len(x), len(gate))
            y = gate[segments.row_owners()] * y
        if only is None:
            x += y
            return
        if segments is None:
            refuse("add", "segments", None, "the segments that `only` chooses from")
        want_indices("add", "only", only, len(segments))
        if len(np.unique(only)) != len(only):
            refuse("add", "only", only.tolist(), "each segment once")
        for j in only:
            mine = slice(int(segments.offsets[j]), int(segments.offsets[j + 1]))
            x[mine] += y[mine]

    def finite(self, x: Float32, segments: Segments) -> Float32:
        want_array("finite", "x", x)
        want_segments("finite", "segments", segments, len(x))
        parts = [x[start:stop] for start, stop in pairwise(segments.offsets.tolist())]
        return np.array([np.isfinite(part).all() for part in parts], np.float32).reshape(-1, 1)

    # ---- solver

    @np.errstate(all="ignore")
    def solver_step(
        self,
        latents: Float32,
        velocity: Float32,
        segments: Segments,
        guidance: GuidanceTerms,
        a: Float32,
        b: Float32,
        base: Float32 | None = None,
        previous: Float32 | None = None,
        keep: Float32 | None = None,
    ) -> None:
        op = "solver_step"
        want_array(op, "latents", latents)
        want_array(op, "velocity", velocity, width=latents.shape[1])
        want_segments(op, "segments", segments, len(latents))
        for name, vector in (("a", a), ("b", b)):
            want_vector(op, name, vector, np.float32, len(segments))
        for name, array in (("base", base), ("previous", previous), ("keep", keep)):
            if array is not None:
                want_array(op, name, array, *latents.shape)
        lengths = segments.lengths()
        self._want_guidance(op, guidance, lengths, len(velocity))
        if previous is None and (b != 0).any():
            refuse(op, "previous", None, "an array where b is not zero")

        for j, n in enumerate(lengths.tolist()):
            mine = slice(int(segments.offsets[j]), int(segments.offsets[j + 1]))
            origin = velocity[guidance.origins[j] : guidance.origins[j] + n]
            v = origin
            for k in range(guidance.offsets[j], guidance.offsets[j + 1]):
                v = v + guidance.weights[k] * (velocity[guidance.rows[k] : guidance.rows[k] + n] - origin)
            if keep is not None:
                keep[mine] = v
            x = (latents if base is None else base)[mine] + a[j] * v
            if previous is not None and b[j] != 0:
                x = x + b[j] * previous[mine]
            latents[mine] = x

    @np.errstate(all="ignore")
    def blend(
        self, x: Float32, y: Float32, z: Float32, weights: Float32, segments: Segments, a: Float32, b: Float32
    ) -> None:
        op = "blend"
        want_array(op, "x", x)
        want_array(op, "y", y, *x.shape)
        want_array(op, "z", z, *x.shape)
        want_array(op, "weights", weights, len(x), 1)
        want_segments(op, "segments", segments, len(x))
        want_vector(op, "a", a, np.float32, len(segments))
        want_vector(op, "b", b, np.float32, len(segments))
        for j in range(len(segments)):
            mine = slice(int(segments.offsets[j]), int(segments.offsets[j + 1]))
            w = weights[mine]
            x[mine] = w * x[mine] + (1 - w) * (a[j] * y[mine] + b[j] * z[mine])

    @staticmethod
    def _want_guidance(op: str, guidance: GuidanceTerms, lengths: Int32, rows: int) -> None:
        """Terms of every image, whose rows all lie within the `rows` of velocity."""
        origins, offsets, terms = guidance.origins, guidance.offsets, guidance.rows
        want_vector(op, "guidance.origins", origins, np.int32, len(lengths))
        want_vector(op, "guidance.offsets", offsets, np.int32, len(lengths) + 1)
        want_vector(op, "guidance.rows", terms, np.int32)
        want_vector(op, "guidance.weights", guidance.weights, np.float32, len(terms))
        if offsets[0] != 0 or offsets[-1] != len(terms) or (np.diff(offsets) < 0).any():
            refuse(op, "guidance.offsets", offsets.tolist(), f"0 to {len(terms)}, never falling")
        of_terms = np.repeat(lengths, np.diff(offsets))
        for name, starts, many in (("origins", origins, lengths), ("rows", terms, of_terms)):
            if ((starts < 0) | (starts.astype(np.int64) + many > rows)).any():
                refuse(op, f"guidance.{name}", starts.tolist(), f"rows that end within the {rows} of velocity")

    @staticmethod
    def _want_shape(op: str, rows: int, width: int, dtype: str) -> None:
        want_dtype_name(op, dtype)
        if rows < 0 or width < 0:
            refuse(op, "rows, width", f"{rows}, {width}", "no negative number")
