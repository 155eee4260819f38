"""A studio with a picture to start from, and one request of every kind of job."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ...parameters.job_request import Source
from ...studio.kinds import PLUGINS
from ...studio.service.durable_job import DurableJob
from ...studio.service.embedded import DurableStudio

PARENT: Final = "a cat, flat cartoon, on a teal background"
PATIENCE_S: Final = 600.0
Pixels = NDArray[np.uint8]  # [H, W, 3]


@dataclass(frozen=True)
class Request:
    """A request for a job.

    Attributes:
        kind: of job.
        prompt: empty: that of the picture.
        sources: pictures of the parent that it starts from; "whole": the job; "file": the file of the first picture.
        said: its parameters.
    """

    kind: str
    prompt: str = ""
    sources: tuple[int, ...] | str = (0,)
    said: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        names = [f"{name}={value}" if value is not True else name for name, value in self.said.items()]
        return " ".join([self.kind, *(name for name in names if not name.startswith("mask"))])


class House:
    """A durable studio of one engine in this process, in a folder of its own.

    Attributes:
        short: whether it takes as little time as it can: a tiny run.
        steps, size: what a request says to take as little: of steps and of pixels.
        parent: the job whose pictures are started from.
        draft: a draft.
        mask: digest of a mask for the parent's pictures.
    """

    def __init__(self, folder: Path, threads: int, steps: int | None) -> None:
        self.short = steps is not None
        self.steps: dict[str, Any] = {} if steps is None else {"steps": steps}
        self.studio = DurableStudio(folder, threads=threads)
        self.size: dict[str, Any] = {"width": 64, "height": 64} if self.short else {}
        self.few: dict[str, Any] = {"images": 1} if self.short else {}
        two: dict[str, Any] = {"images": 2} if self.short else {}  # a blend has two sources
        self.parent = self.studio.make("imagine", PARENT, seed=1, **self.steps, **self.size, **two)
        self.draft = self.studio.make("imagine", PARENT, seed=1, draft=True, **self.size, **self.few)
        for job in (self.parent, self.draft):
            self.pictures(job)
        width, height = self.pictures(self.parent)[0].shape[1::-1]
        self.mask = self.studio.add_reference(mask(width, height))

    def close(self) -> None:
        self.studio.close()

    def requests(self, seed: int = 7) -> list[Request]:
        """Return one request of every kind, and a second where it has two ways."""
        fixed = {"seed": seed, **self.steps}
        drawn = {**fixed, **self.few}
        own: dict[str, list[Request]] = {
            "imagine": [Request("imagine", "a red apple", (), drawn | self.size)],
            "reroll": [Request("reroll", sources="whole", said=fixed)],
            "vary": [Request("vary", said=drawn), Request("vary", said={"strong": True, **drawn})],
            "region": [Request("region", "a cat with a crown", said={"mask": self.mask, **drawn})],
            "zoom": [Request("zoom", said=drawn)],
            "pan": [Request("pan", said=drawn)],
            "take": [Request("take")],
            "upscale": [Request("upscale", said=fixed), Request("upscale", said={"creative": True, **fixed})],
            "enhance": [Request("enhance", said=fixed)],
            "edit": [Request("edit", said={"place": (16, 32, 96, 96), **drawn})],
            "retexture": [Request("retexture", "a cat, woodcut, sepia tones", said=drawn)],
            "reproduce": [Request("reproduce", sources="file")],
            "describe": [Request("describe")],
            "shorten": [Request("shorten", f"a very beautiful {PARENT.removeprefix('a ')}", ())],
            "blend": [Request("blend", sources=(0, 1), said=drawn)],
        }
        kinds = [kind for kind in PLUGINS.names() if not (self.short and kind == "describe")]  # that takes its time
        return [each for kind in kinds for each in own[kind]]

    def sources(self, request: Request) -> tuple[Source, ...]:
        """Return what a request starts from, as requests name it."""
        job = self.draft if request.kind == "enhance" else self.parent
        if request.sources == "file":
            return (Source(digest=self.studio.add_reference(job.pictures(PATIENCE_S)[0])),)
        if isinstance(request.sources, str):
            return (Source(job=job.id),)
        return tuple(Source(job=job.id, index=index) for index in request.sources)

    @staticmethod
    def sources_of(job: DurableJob) -> tuple[Source, ...]:
        """Return the first picture of a job as what requests start from."""
        return (Source(job=job.id, index=0),)

    def make(self, request: Request) -> DurableJob:
        """Ask for a job."""
        return self.studio.make(request.kind, request.prompt, sources=self.sources(request), **request.said)

    def price(self, request: Request) -> int:
        """Return the ms that a job counts as by the price list."""
        plan = self.studio.plan(request.prompt, kind=request.kind, sources=self.sources(request), **request.said)
        return sum(job.list_ms for job in plan.jobs)

    def timed(self, request: Request) -> float:
        """Return the milliseconds of one job, from the request until its pictures are on disk."""
        start = time.perf_counter()
        self.make(request).wait(PATIENCE_S)
        return (time.perf_counter() - start) * 1e3

    def result(self, job: DurableJob) -> list[bytes]:
        """Wait for a job, and return what it made, as bytes to compare: pixels of pictures, or texts."""
        record = job.wait(PATIENCE_S)
        if record.texts:
            return [repr(text).encode() for text in record.texts]
        return [each.tobytes() for each in self.pictures(job)]

    def pictures(self, job: DurableJob) -> list[Pixels]:
        """Wait for a job, and return its pictures."""
        return [pixels(file) for file in job.pictures(PATIENCE_S)]


def pixels(file: bytes) -> Pixels:
    """Return the pixels of a picture's file."""
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"))


def file_of(pixels: Pixels) -> bytes:
    """Return the file of a picture."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def mask(width: int, height: int) -> bytes:
    """Return the file of a mask whose upper right quarter is white."""
    image, buffer = Image.new("L", (width, height)), io.BytesIO()
    ImageDraw.Draw(image).rectangle((width // 2, 0, width, height // 2), fill=255)
    image.save(buffer, "PNG")
    return buffer.getvalue()
