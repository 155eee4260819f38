"""A benchmark leaves torch as it was."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from salon.bench.torch_mode import torch_as_rival


def test_torch_is_as_it_was() -> None:
    """The recipe's tests could not train any more in a process in which `ops` had run."""
    threads = torch.get_num_threads()
    with torch_as_rival(threads + 1):
        assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads + 1, False)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, True)
