"""The pictures that a request starts from: of jobs that the account may see, or files that it has brought."""

from __future__ import annotations

import io

from ...engine.errors import SpecError
from ...errors import complaint
from ...parameters.job_request import JobRequest, Source
from ..kinds import Input
from ..references import read_picture
from ..store.rows import GRID
from . import packing
from .lookups import Found
from .recipe import RecipeError
from .recipe_files import read_picture_file


def job_input(source: Source, found: Found) -> Input:
    """Return a picture of a job as what a request starts from.

    Raises:
        SpecError: the job has not made it.
    """
    row, pictures = found
    shown = next((picture for picture in pictures if picture.index == source.index), None)
    if shown is None:
        most = sum(picture.index != GRID for picture in pictures)
        if row.state != "done":
            got, allowed, remedy = f"job {row.job!r}, which is {row.state}", "one that is done", "wait for its pictures"
        else:
            got, allowed = f"picture {source.index} of job {row.job!r}", f"0 to {most - 1}"
            remedy = "name one of its pictures"
        raise SpecError(complaint("source", got, allowed, remedy))
    return Input(
        source=source, digest=shown.digest, width=shown.width, height=shown.height, kind=row.kind,
        spec=packing.spec_of(row) if row.spec else None,
    )  # fmt: skip


def file_input(source: Source, data: bytes) -> Input:
    """Return a file that was brought as what a request starts from; a recipe inside it is read, if it has one.

    Raises:
        ReferenceRefused: the file is no picture.
    """
    picture = read_picture(data, f"source {source.digest[:12]}")
    width, height = picture.image.size
    try:
        recipe = read_picture_file(io.BytesIO(data))[1]
    except RecipeError:
        return Input(source=source, digest=source.digest, width=width, height=height)
    return Input(source=source, digest=source.digest, width=width, height=height, spec=recipe.spec, model=recipe.model)


def check_sources(request: JobRequest) -> None:
    """Raise SpecError for a source that names no picture, or two."""
    for source in request.sources:
        if bool(source.job) == bool(source.digest):
            got = "a job and a digest" if source.job else "neither a job nor a digest"
            raise SpecError(complaint("source", got, "one of them", "name the picture by one"))
