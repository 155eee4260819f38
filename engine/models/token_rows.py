"""Look up the words of texts, which every text encoder begins with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Ops
from ...kernels.segments import Int32


def gather_words(
    ops: Ops[Any, Any], words: NDArray[Any], tokens: Sequence[Int32], positions: NDArray[Any] | None = None
) -> Any:
    """Return the words' rows of all texts one after another, float32 [T, D], which the caller may write.

    Args:
        words: [V, D], any float dtype, or bfloat16 bits as uint16. Only the rows that are used are read.
        tokens: int32 ids of each text.
        positions: [P, D], added by the place of each token in its text; None: nothing is added.

    Raises:
        ValueError: an id is outside the vocabulary, or a text has more tokens than there are positions.
    """
    ids = np.concatenate([np.empty(0, np.int32), *tokens]).astype(np.int32)
    if len(ids) and (ids.min() < 0 or ids.max() >= len(words)):
        raise ValueError(f"tokens: got {ids.min()}..{ids.max()}, want ids in 0..{len(words) - 1}")
    rows = np.arange(len(ids), dtype=np.int32)
    indices, tables = [rows], [ops.array(words[ids], "float32")]
    if positions is not None:
        longest = max((len(part) for part in tokens), default=0)
        if longest > len(positions):
            raise ValueError(f"tokens: got a text of {longest}, want at most {len(positions)}, the positions")
        places = [np.empty(0, np.int32), *(np.arange(len(part), dtype=np.int32) for part in tokens)]
        indices.append(np.concatenate(places).astype(np.int32))
        tables.append(ops.array(positions[:longest], "float32"))
    return ops.embed(ops.vectors(*indices), tables)
