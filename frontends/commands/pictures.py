"""A remote job's pictures, fetched and put where `imagine` would put its own."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ...errors import complaint
from ..outputs import Destination, slug
from . import words
from .parsing import UsageError

if TYPE_CHECKING:
    from ...studio.prompt.request import ResolvedRequest
    from ..client.client import RemoteJob
    from ..wire.messages import JobInfo

_CHUNK: Final = b"iTXtsalon\0\0\0"


def destination_of(output: str | None, info: JobInfo, *, force: bool) -> Destination:
    """Return where the files of a job go. OutputError: as `Destination.of`."""
    return Destination.of(output, f"{slug(info.prompt)}-{info.seed}", max(1, info.images), force=force)


def destinations_of(
    options: argparse.Namespace, requests: Sequence[ResolvedRequest], seeds: Sequence[int]
) -> list[Destination]:
    """Return where the pictures of every request go, checked as far as that can be before they are made. OutputError;
    UsageError: one file for several jobs."""
    found = []
    for request, seed in zip(requests, seeds, strict=True):
        stem = f"{slug(request.text)}-{seed}"
        one = Destination.of(options.output, stem, int(request.fields.get("images", 4)), force=options.force)
        if one.fixed and len(requests) > 1:
            got = f"{options.output!r} for {len(requests)} jobs"
            raise UsageError(complaint("-o", got, "a folder", "name one, or ask for one job"))
        found.append(one)
    found[0].check(1)
    return found


def fetch(job: RemoteJob, info: JobInfo, destination: Destination) -> tuple[list[str], Any]:
    """Fetch the pictures of a job that is done and write them, as they come: all of them, or on any error none.

    Returns: their paths, the grid first if there are several, and the recipe of the first one.

    Raises:
        UsageError: the job has no pictures (any more).
        OutputError: as `Destination.write`.
        ClientError: as `RemoteJob.picture`.
    """
    if words.is_hidden(info):
        got, remedy = "somebody else's private one", "ask its owner"
        raise UsageError(complaint(f"job {info.job}", got, "one whose pictures this account may see", remedy))
    indexes = {picture.index for picture in info.pictures}
    if not indexes.issuperset(range(info.images)) or not info.images:
        got = f"{info.state}, with {len(indexes - {-1})} of {info.images} pictures"
        remedy = "wait for it with --follow" if info.state in ("queued", "running", "paused") else "make it again"
        raise UsageError(complaint(f"job {info.job}", got, "one that is done, and was not deleted", remedy))
    destination.check(max(1, sum(picture.size for picture in info.pictures)))
    contents = [] if info.images == 1 else [job.grid()]
    contents += [job.picture(index) for index in range(info.images)]
    recipe = recipe_in(contents[0])
    if destination.format != "PNG":
        from ...studio.service.recipe_files import transcode  # Pillow and numpy: not for others

        contents = [transcode(content, destination.format) for content in contents]
    return [str(path) for path in destination.write(contents)], recipe


def recipe_in(png: bytes) -> Any:
    """Return the recipe in a PNG file, as JSON has it; None if the file has no recipe.

    `recipe.read_png` reads the pixels, too, and for that loads the engine.
    """
    start = png.find(_CHUNK)  # type, keyword, and no compression, as `recipe.encode_png` writes them
    if start < 4:
        return None
    length = int.from_bytes(png[start - 4 : start])
    text = png[start + len(_CHUNK) : start + 4 + length].split(b"\0", 2)[-1]  # after language and translated keyword
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
