"""A candidate in a process of its own: it answers commands, one JSON object a line, on stdin and stdout.

Separate processes keep the candidates' thread pools and allocators apart, and make peak memory and cold start true.
Only the standard library, numpy and the candidate itself are imported here, so that the cold start is the candidate's.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from .answers import serve
from .peers.base import Job, Peer, Setting


def peer_class(spec: str) -> type[Peer]:
    """Return the class of `module:class`: a module of peers/, or, with a dot in its name, of any package."""
    module, _, name = spec.partition(":")
    home = importlib.import_module(module if "." in module else f".peers.{module}", __package__)
    found: type[Peer] = getattr(home, name)
    return found


def peak_rss_mib() -> float:
    """Return the high-water mark of resident memory, MiB.

    It is VmHWM rather than ru_maxrss, which a child inherits from its parent.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Worker:
    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.images = 0

    def prepare(self) -> dict[str, Any]:
        self.peer.prepare()
        return {}

    def cold(self, images: int, save: str = "") -> dict[str, Any]:
        """Load, then make one grid.

        Return when (monotonic clock) the first step and the pictures were there, and peak memory.

        With `save`, pictures and final latents go to that .npz afterwards."""
        self.peer.load()
        self.begin(images)
        self.peer.step()
        first = time.monotonic()
        for _ in range(self.peer.job.steps - 1):
            self.peer.step()
        pictures = self.peer.finish()
        done = time.monotonic()
        memory = peak_rss_mib()
        self.images = 0
        if save:
            latents = self.peer.final_latents()
            np.savez(save, pictures=pictures, latents=np.zeros(0, np.float32) if latents is None else latents)
        return {"first_step_at": first, "image_at": done, "peak_rss_mib": memory}

    def begin(self, images: int) -> None:
        self.peer.begin(images)
        self.images = images

    def steps(self, images: int, count: int, warmup: int) -> dict[str, Any]:
        """Return the milliseconds of `count` steps, after `warmup` untimed ones (the turn before was another
        process's)."""
        values = []
        for number in range(warmup + count):
            if self.images != images or self.peer.position >= self.peer.job.steps:
                self.begin(images)
            start = time.perf_counter()
            self.peer.step()
            if number >= warmup:
                values.append((time.perf_counter() - start) * 1e3)
        return {"ms": values}

    def decode(self, images: int, count: int, warmup: int) -> dict[str, Any]:
        """Return the milliseconds of `count` decodes of `images` pictures (the first call may have to take steps
        before)."""
        if self.images != images:
            self.begin(images)
        values = []
        for number in range(warmup + count):
            start = time.perf_counter()
            self.peer.decode()
            if number >= warmup:
                values.append((time.perf_counter() - start) * 1e3)
        return {"ms": values}

    def grid(self, images: int) -> dict[str, Any]:
        """Return the milliseconds of a whole grid, start to pictures."""
        start = time.perf_counter()
        self.begin(images)
        for _ in range(self.peer.job.steps):
            self.peer.step()
        self.peer.finish()
        elapsed = (time.perf_counter() - start) * 1e3
        self.images = 0
        return {"ms": [elapsed]}


def main() -> None:
    spec, model, cache, job, threads = sys.argv[1:6]
    setting = Setting(Path(model), Path(cache), Job.load(Path(job)), int(threads))
    serve(Worker(peer_class(spec)(setting)))


if __name__ == "__main__":
    main()
