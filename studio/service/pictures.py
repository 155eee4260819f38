"""Turn the pixels of a finished job into files with their recipes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from ..store.rows import GRID, PictureRow
from .mosaic import mosaic
from .recipe import UInt8, recipe_of
from .recipe_files import encode_png

if TYPE_CHECKING:
    from ...engine.info import ModelInfo
    from ..job import Job
    from ..store.blobs import Blobs

PREVIEW_QUALITY: Final = 80  # quality of JPEG files
Files = list[tuple[int, UInt8, bytes]]
MakeFiles = Callable[["ModelInfo", "Job", UInt8, str], Files]  # the type of `files_of`


def files_of(info: ModelInfo, job: Job, pixels: UInt8, version: str) -> list[tuple[int, UInt8, bytes]]:
    """Return (index, pixels, PNG) of the pictures of a job, and of its grid (`GRID`).

    Pixels are uint8 [height, width, 3].
    """
    shown = [*enumerate(pixels), (GRID, mosaic(pixels))]
    files = []
    for index, shot in shown:
        image = None if index == GRID else index
        recipe = recipe_of(info, job.spec, job.reading, image, shot, version)
        files.append((index, shot, encode_png(shot, recipe)))
    return files


def store_files(blobs: Blobs, job: str, files: list[tuple[int, UInt8, bytes]]) -> tuple[PictureRow, ...]:
    """Store the files, and return their rows. Raise StoreError if the disk does not take them."""
    rows = []
    for index, shot, data in files:
        digest = blobs.put(data)
        height, width = shot.shape[:2]
        rows.append(PictureRow(job=job, index=index, digest=digest, size=len(data), width=width, height=height))
    return tuple(rows)


def preview_of(pixels: UInt8) -> bytes:
    """Return a JPEG of an unfinished job's grid, of pixels uint8 [images, height, width, 3]."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(mosaic(pixels))).save(buffer, "JPEG", quality=PREVIEW_QUALITY)
    return buffer.getvalue()
