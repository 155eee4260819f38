"""Jobs that make something of a picture, in this process: the picture is a file, best with its recipe inside."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import complaint
from .commands.parsing import UsageError
from .commands.sources import TypedSource

if TYPE_CHECKING:
    from ..engine.info import ModelInfo
    from ..engine.spec import GenerationSpec


def want_files(sources: Sequence[TypedSource], command: str) -> None:
    """Raise UsageError for a picture of a job: only a server knows jobs."""
    for source in sources:
        if source.job:
            got, remedy = f"job {source.job!r} without a server", "name the picture's file, or pass --server ADDRESS"
            raise UsageError(complaint(command, got, "a picture's file", remedy))


def remade_here(
    options: argparse.Namespace,
    text: str,
    fields: Mapping[str, Any],
    seed: int,
    files: Mapping[str, bytes],
    digests: Mapping[str, str],
    model: ModelInfo,
) -> GenerationSpec:
    """Return what is to be drawn, by the kind of job that the command names.

    Args:
        options: of the command line, with its `sources`.
        text: of the prompt; empty: the picture's own.
        fields: parameters by name, as they were said.
        seed: of the picture, where the kind takes one and none was said.
        files: contents by digest.
        digests: of the files, by path.
        model: of the engine.

    Raises:
        SpecError, ParameterError: as `JobKind.spec`; or the picture was drawn beside others, which are not here.
    """
    from ..engine.errors import SpecError
    from ..parameters.job_request import JobRequest, Source
    from ..scheduler.tickets import Lane
    from ..studio.kinds import Asked, kind_of, named
    from ..studio.service.inputs import file_input

    sources = [digests[source.path] for source in options.sources]
    inputs = [file_input(Source(digest=digest), files[digest]) for digest in sources]
    takes = named(options.command).PARAMETERS
    if takes is None or "seed" in takes:
        fields = {"seed": seed, **fields}
    request = JobRequest(
        key="here",
        prompt=text,
        parameters=dict(fields),
        kind=options.command,
        sources=tuple(each.source for each in inputs),
    )
    spec = kind_of(request).spec(Asked(request=request, lane=Lane.FAST, inputs=tuple(inputs)), model)
    if missing := [use.picture for use in spec.references if use.picture not in files]:
        got = f"one that was drawn beside picture {missing[0][:12]}, which is not here"
        remedy = "draw from both: salon imagine WORDS --image FILE --oref PICTURE"
        raise SpecError(complaint("picture", got, "one that was not, or a job of a server", remedy))
    return spec
