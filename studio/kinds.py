"""What a kind of job is, and how a request finds its kind.

Every module of `studio/jobs/` is a kind, and its name is the kind's. To add one is to add a module with

    HELP: str                                      # what it makes, in a few words
    SOURCES: tuple[int, int]                       # how many pictures it starts from, at least and at most
    WHOLE: bool                                    # whether a job as a whole is one of them
    PARAMETERS: Collection[str] | None             # those that it takes, by name; None: all
    def spec(asked, model) -> GenerationSpec       # what the engine is to make
    def work(asked, spec, model) -> Work           # what that is on the price list (`pricing.work_of`)
    def stages(spec, model) -> tuple[StageWork, ...]   # what it does besides drawing, after it
    DRAWS: bool                                    # may be left out; False: its spec is an inquiry, and it makes texts

What is checked, priced, stored and told of its jobs follows. All of this is worked out from plain data, before there is
a job; no kind sees a worker. `studio/remake.py` has what kinds share that make something of a picture of before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from ..bounds import GRID
from ..engine.errors import SpecError
from ..engine.info import ModelIdentity, ModelInfo
from ..engine.spec import GenerationSpec
from ..errors import complaint
from ..parameters.job_request import IMAGINE, JobRequest, Source
from ..parameters.known import parameters
from ..plugins import Plugins, folder
from ..scheduler.admission import Work
from ..scheduler.tickets import Lane, StageWork


@dataclass(frozen=True, kw_only=True)
class Input:
    """A picture that a request starts from.

    Attributes:
        source: how the request calls it.
        digest: sha256 (hex) of its file.
        width, height: pixels.
        kind: of the job that made it; "": no job did that is known here.
        spec: what it was drawn with, if that is known.
        model: that drew it, if its file says so.
    """

    source: Source
    digest: str
    width: int
    height: int
    kind: str = ""
    spec: GenerationSpec | None = None
    model: ModelIdentity | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a kind decides by.

    Attributes:
        request: as it came.
        lane: that is wanted.
        inputs: its sources, in their order.
    """

    request: JobRequest
    lane: Lane
    inputs: tuple[Input, ...] = ()


class JobKind(Protocol):
    """What a module of this folder has."""

    HELP: str
    SOURCES: tuple[int, int]
    WHOLE: bool
    PARAMETERS: Collection[str] | None

    def spec(self, asked: Asked, model: ModelInfo) -> GenerationSpec:
        """Return what the engine is to make, every default filled in.

        Raises:
            SpecError, ParameterError: the request says what this kind or the model does not take.
        """

    def work(self, asked: Asked, spec: GenerationSpec, model: ModelInfo) -> Work:
        """Return what the job is on the price list."""

    def stages(self, spec: GenerationSpec, model: ModelInfo) -> tuple[StageWork, ...]:
        """Return the stages that follow those of drawing; each needs a handler in `studio/workers/stages.py`."""


PLUGINS: Final[Plugins[JobKind]] = folder("job kind", "salon.studio.jobs", IMAGINE)
names = PLUGINS.names


def draws(name: str) -> bool:
    """Return whether jobs of a kind make pictures; of a kind that does not exist, True."""
    return name not in names() or bool(getattr(PLUGINS.get(name), "DRAWS", True))


def named(name: str) -> JobKind:
    """Return the kind of this name. SpecError: there is none."""
    if name not in names():
        raise SpecError(complaint("kind", repr(name)[:60], ", ".join(names()), "name one of these"))
    return PLUGINS.get(name)


def want_family(names: Iterable[str], family: str) -> None:
    """Raise SpecError for a parameter that a model of this family does not take; empty: it is unknown."""
    known = parameters()
    for name in names:
        takes = known[name].families if name in known else ()
        if takes and family and family not in takes:
            got = f"it for a model of family {family}"
            raise SpecError(complaint(known[name].label, got, " or ".join(takes), "leave it out"))


def kind_of(request: JobRequest, family: str = "") -> JobKind:
    """Return the kind of a request, which takes so many sources and these parameters.

    Args:
        request: as it came.
        family: of the model; empty: unknown, and every family's parameters are taken.

    Raises:
        SpecError: there is no such kind, or it does not take what the request says.
    """
    kind = named(request.kind)
    least, most = kind.SOURCES
    if not least <= len(request.sources) <= most:
        allowed = f"{least}" if least == most else f"{least} to {most}"
        got = f"{len(request.sources)} for {request.kind!r}"
        remedy = "name the pictures to start from" if len(request.sources) < least else "leave the others out"
        raise SpecError(complaint("sources", got, allowed, remedy))
    for source in request.sources:
        if source.job and source.index == GRID and not kind.WHOLE:
            raise SpecError(complaint("source", f"{source} as a whole", "one of its pictures, from 0", "name one"))
    known = parameters()
    want_family(request.parameters or {}, family)
    for name in request.parameters or {}:
        kinds = known[name].job_kinds if name in known else ()
        if kinds and request.kind not in kinds:
            got = f"one for {request.kind!r}"
            raise SpecError(complaint(known[name].label, got, f"only for {' or '.join(kinds)}", "leave it out"))
    if kind.PARAMETERS is not None:
        for name in request.parameters or {}:
            if name not in kind.PARAMETERS:
                takes = ", ".join(known[each].label for each in known if each in kind.PARAMETERS) or "none"
                label = known[name].label if name in known else name
                raise SpecError(complaint(label, f"one for {request.kind!r}", f"{takes} there", "leave it out"))
    return kind
