"""Training in several processes. Needs the `train` extra."""

import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from salon.models.mini.recipe.parallel import average_gradients, rank, run_in, world


def job(folder: Path) -> tuple[int, int, list[float]]:
    """Gradients 1, 2, ... by process; what each process holds afterwards goes into a file."""
    torch.set_num_threads(1)
    parts: list[Any] = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1, 3))]
    for p in parts:
        p.grad = torch.full_like(p, rank() + 1.0)
    unused = torch.nn.Parameter(torch.zeros(2))
    average_gradients([*parts, unused])
    out = [float(x) for p in parts for x in p.grad.flatten()]
    (folder / f"{rank()}.txt").write_text(repr(out))
    return rank(), world(), out


def test_one_process_is_just_a_call(tmp_path: Path) -> None:
    assert run_in(1, job, tmp_path) == (0, 1, [1.0] * 5)


def test_two_processes_share_their_gradients(tmp_path: Path) -> None:
    assert run_in(2, job, tmp_path) == (0, 2, [1.5] * 5)
    assert (tmp_path / "1.txt").read_text() == repr([1.5] * 5)
    assert (rank(), world()) == (0, 1)


def leave(rank_of_the_leaver: int) -> None:
    if rank() == rank_of_the_leaver:
        os._exit(3)
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    average_gradients([parameter])


def test_a_process_that_dies_is_an_error_not_a_wait():
    with pytest.raises(RuntimeError):  # torch's DistError is one, as is gloo's own
        run_in(2, leave, 1)
