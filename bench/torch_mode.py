"""How torch is run while it is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torch_as_rival(threads: int) -> Iterator[None]:
    """Let torch compute on so many threads and without gradients, and restore both afterwards.

    They hold for the whole process, and a benchmark that runs inside of another program must not change it.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(before)
