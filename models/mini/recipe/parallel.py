"""Training in several processes of one machine, one thread each, with averaged gradients.

On a machine that other jobs share, two single-threaded processes that meet once a step get far more done than one
process with two threads, whose every operation waits for the slower core.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import os
import socket
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

MEETING = timedelta(minutes=3)  # for all processes to start and import torch


def _child(rank: int, number: int, port: int, target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    _join(rank, number, port)
    target(*arguments)


def _join(rank: int, number: int, port: int) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    # Meeting has a short deadline: one that died on its way would be waited for in vain. Later a dead process is
    # noticed at once (its connection closes), and a long deadline lets a process be paused from outside.
    meeting = dist.TCPStore("127.0.0.1", port, number, rank == 0, timeout=MEETING, wait_for_workers=True)
    dist.init_process_group("gloo", store=meeting, rank=rank, world_size=number, timeout=timedelta(days=2))


def run_in(number: int, target: Callable[..., Any], *arguments: Any) -> Any:
    """Call `target(*arguments)` in `number` processes; this one is the first, and its result is returned.

    torch's DistError if a process does not come within `MEETING` or dies later."""
    if number == 1:
        return target(*arguments)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_child, args=(r, number, port, target, arguments), daemon=True) for r in range(1, number)
    ]
    for process in others:
        process.start()
    try:
        _join(0, number, port)
        out = target(*arguments)
        for process in others:
            process.join()
        return out
    finally:
        for process in others:
            process.terminate()
        if dist.is_initialized():
            dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes."""
    if world() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= world()
    for g, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        g.copy_(mean.view_as(g))
