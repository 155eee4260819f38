"""Check arguments of the reference ops: each ValueError names the op, the argument, its value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..ops import Float32, LowRankTerm
from ..segments import Int32, Segments


def refuse(op: str, argument: str, got: object, want: object) -> NoReturn:
    raise ValueError(f"{op}: {argument}: got {got}, want {want}")


def describe(x: object) -> str:
    """Return shape and dtype for a message: "[3, 384] float32"."""
    return f"{list(x.shape)} {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__


def want_array(op: str, argument: str, x: Float32, rows: int | None = None, width: int | None = None) -> None:
    """Raise ValueError unless this is float32 [rows, width] with contiguous rows. None allows any number."""
    fits = isinstance(x, np.ndarray) and x.dtype == np.float32 and x.ndim == 2
    if not fits or rows not in (None, x.shape[0]) or width not in (None, x.shape[1]):
        sides = ", ".join("any" if n is None else str(n) for n in (rows, width))
        refuse(op, argument, describe(x), f"[{sides}] float32")


def want_choice(op: str, argument: str, got: str, choices: Sequence[str]) -> None:
    if got not in choices:
        refuse(op, argument, repr(got), "one of " + ", ".join(choices))


def want_dtype_name(op: str, got: str) -> None:
    want_choice(op, "dtype", got, ("compute", "float32"))


def want_eps(op: str, eps: float) -> None:
    if not (np.isfinite(eps) and eps > 0):
        refuse(op, "eps", eps, "a positive finite number")


def want_segments(op: str, argument: str, segments: Segments, rows: int, samples: int | None = None) -> None:
    """Raise ValueError unless the segments cover exactly `rows` rows and, if given, no sample from `samples` on."""
    if segments.num_rows != rows:
        refuse(op, argument, f"{segments.num_rows} rows", f"{rows} rows")
    if samples is not None and len(segments) and int(segments.owners.max()) >= samples:
        refuse(op, argument, f"owner {int(segments.owners.max())}", f"owners below {samples}")


def want_vector(op: str, argument: str, x: NDArray[Any], dtype: type[Any], length: int | None = None) -> None:
    fits = isinstance(x, np.ndarray) and x.dtype == dtype and x.ndim == 1
    if not fits or length not in (None, len(x)):
        size = "any" if length is None else length
        refuse(op, argument, describe(x), f"[{size}] {np.dtype(dtype).name}")


def want_indices(op: str, argument: str, x: Int32, stop: int) -> None:
    """Raise ValueError unless this is an int32 vector with every element in 0..stop-1."""
    want_vector(op, argument, x, np.int32)
    if len(x) and (x.min() < 0 or x.max() >= stop):
        refuse(op, argument, f"{int(x.min())}..{int(x.max())}", f"indices in 0..{stop - 1}")


def want_grids(op: str, grids: Int32, pixels: int, smallest: int = 1) -> None:
    """Raise ValueError unless this is int32 [B, 2] with each side at least `smallest` and areas summing to `pixels`."""
    if not isinstance(grids, np.ndarray) or grids.dtype != np.int32 or grids.ndim != 2 or grids.shape[1] != 2:
        refuse(op, "grids", describe(grids), "[B, 2] int32")
    if grids.size and grids.min() < smallest:
        refuse(op, "grids", f"a side of {int(grids.min())}", f"sides of at least {smallest}")
    total = int(np.prod(grids.astype(np.int64), axis=1).sum())
    if total != pixels:
        refuse(op, "grids", f"{total} pixels", f"{pixels} pixels, the rows of x")


def want_low_rank(
    op: str, term: LowRankTerm, rows: int, shape: tuple[int, ...], swiglu: bool, packed: type[Any]
) -> None:
    """Raise ValueError unless a low-rank term fits a linear of [N, K] over so many rows.

    Args:
        packed: what the backend's `pack_low_rank` returns, with the `shape` [N, K] and `swiglu` that it is for.
    """
    if not 0 <= term.start <= term.stop <= rows:
        refuse(op, "low_rank", f"rows {term.start} to {term.stop}", f"rows within 0 to {rows}")
    if not isinstance(term.factors, packed):
        refuse(op, "low_rank", f"factors {type(term.factors).__name__}", "the result of pack_low_rank")
    if term.factors.shape != tuple(shape) or term.factors.swiglu != swiglu:
        got = f"factors of {list(term.factors.shape)}"
        refuse(op, "low_rank", got, f"{list(shape)}, packed as the weight is")
    if not np.isfinite(term.weight):
        refuse(op, "low_rank", f"weight {term.weight}", "a finite number")
