"""`salon imagine` on a server: the same files as of one's own engine, made elsewhere."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ...bounds import RANDOM_SEEDS
from ...engine.errors import OutputError
from ...errors import SalonError
from ...system import explain
from ..progress import progress
from . import exits, words
from .connection import Contact, connected, server_of
from .flags_parameters import sent
from .parsing import UsageError
from .pictures import destination_of, destinations_of, fetch
from .tables import plain, print_json

if TYPE_CHECKING:
    from ...studio.prompt.request import ResolvedRequest
    from ..client.client import RemoteJob
    from ..wire.messages import JobInfo

HERE_ONLY: Final = (
    "model", "text_encoder", "vae", "ip_adapter", "image_encoder", "backend", "device", "isa", "dtype", "threads",
    "image_links",
)  # fmt: skip
OF_SERVER: Final = ("lane", "private", "profile", "preset")
PREVIEWS: Final = 4  # steps between two
TELL: Final = ("note", "paused", "resumed", "requeued")  # events that a person should hear of


def refuse_misplaced(options: argparse.Namespace, of_server: Sequence[str] = OF_SERVER) -> None:
    """Refuse flags that say how to compute where there is a server, and the other way round. UsageError.

    `of_server`: parameters that only a server takes."""
    server = server_of(options)
    given = options.given | {name for name in ("image_links", "text_encoder") if getattr(options, name, None)}
    here = next((name for name in HERE_ONLY if name in given), None)
    if server is not None and here is not None:
        way = "drop --server" if options.server is not None else "unset SALON_SERVER"
        remedy = f"drop it, or compute here: {way}"
        here = here.replace("_", "-")
        raise UsageError(f"--{here}: got it with a server, allowed without one; {remedy}")
    said = [prompt.said[name].flag for prompt in options.prompts for name in of_server if name in prompt.said]
    remote = said + [f"--{name}" for name in ("preview", "timeout") if name in options.given]
    if getattr(options, "detach", False):
        remote.append("--detach")
    if server is None and remote:
        remedy = "start one with salon serve and set SALON_SERVER, pass --server tcp://localhost:5599, or drop it"
        raise UsageError(f"{remote[0]}: got it without a server, allowed with one; {remedy}")


def imagine(
    options: argparse.Namespace,
    requests: Sequence[ResolvedRequest],
    digests: Mapping[str, str],
    loras: Collection[str] = (),
) -> int:
    """Submit the jobs, follow them, and fetch their pictures. Ctrl-C and SIGTERM cancel the jobs on their way out.

    Args:
        requests: what was asked for, as far as it can be known here.
        digests: of the files that it refers to, by path.
        loras: the paths among them that are LoRAs.
    """
    started = time.perf_counter()
    if not options.detach:
        # As far as it can be known before the server has chosen a seed.
        seeds = [int(request.fields.get("seed", RANDOM_SEEDS - 1)) for request in requests]
        destinations_of(options, requests, seeds)
    if options.preview is not None:
        check_preview(options.preview)
    contact = Contact(server_of(options) or "", quiet=options.quiet)
    with connected(options, contact=contact) as client:
        for path in digests:
            (client.add_lora if path in loras else client.add_reference)(path)
        prompt, beside = sent(options, digests)
        every = PREVIEWS if options.preview is not None else 0
        if options.sources:
            sources = [(one.job, one.index) if one.job else digests[one.path] for one in options.sources]
            jobs = [client.make(options.command, prompt, sources=sources, previews=every, **beside)]
        else:
            jobs = client.imagine_all(prompt, previews=every, **beside)
        accepted = time.perf_counter()
        if options.detach:
            return detached([job.info for job in jobs], json=options.json)
        told: list[dict[str, Any]] = []
        code = exits.DONE
        for i, job in enumerate(jobs):
            code = max(code, finish(job, jobs[i:], options, contact, (started, accepted), told))
    if options.json:
        print_json(told[0] if len(jobs) == 1 else {"jobs": told})
    elif not options.quiet:
        print("\n".join(path for one in told for path in one["files"]), end="\n" if any(map(_files, told)) else "")
    return code


def _files(told: Mapping[str, Any]) -> Any:
    return told["files"]


def finish(
    job: RemoteJob,
    left: Sequence[RemoteJob],
    options: argparse.Namespace,
    contact: Contact,
    times: tuple[float, float],
    told: list[dict[str, Any]],
) -> int:
    """Follow a job and fetch its pictures; what is to be printed goes to `told`. Return the exit code.

    `left`: the jobs that are not there yet, this one first. `times`: of the command's start and of acceptance."""
    started, accepted = times
    later = f"salon show {job.id} --follow -o {_place(options)}"
    contact.meanwhile = f"job {job.id} goes on there; Ctrl-C leaves it, {later} brings it back"
    try:
        if not options.quiet:
            say(_headline(job.info))
        follow(job, options)
        info = job.refresh()
    except (KeyboardInterrupt, SystemExit) as stop:
        if contact.silent:
            leave(stop, f"interrupted; job {job.id} goes on; later: {later}")
        cancel(left, stop)
    except SalonError as error:
        if exits.code_of(error) == exits.UNREACHABLE:
            say(f"salon: note: job {job.id} goes on; later: {later}")
        raise
    if info.state != "done":
        told.append({"files": [], "job": plain(info)})
        say(f"salon: error: job {info.job} {info.state}: {info.reason or info.failure or 'no reason given'}")
        return exits.BROKEN
    made = time.perf_counter()
    files, recipe = fetch(job, info, destination_of(options.output, info, force=options.force))
    if not options.quiet and not info.notes:  # a server that tells none: they are in its recipes
        for warning in (recipe or {}).get("warnings", ()):
            say(f"salon: note: {warning}")
    seconds = {
        "accept": round(accepted - started, 3),
        "make": round(made - accepted, 3),
        "fetch": round(time.perf_counter() - made, 3),
    }
    told.append({"files": files, "seed": info.seed, "seconds": seconds, "recipe": recipe, "job": plain(info)})
    if not options.json and not options.quiet:
        cost = f", {words.span(info.charged_ms)} of GPU time" if info.charged_ms else ""
        say(f"made in {seconds['make']:.2f} s{cost}")
    return exits.DONE


def _place(options: argparse.Namespace) -> str:
    """Return what was given as -o, as a shell takes it again; else the folder that pictures go to."""
    return shlex.quote("." if options.output is None else str(options.output))


def _headline(info: JobInfo) -> str:
    lane = info.lane if info.lane == info.asked_lane else f"{info.lane} instead of {info.asked_lane}"
    note = f" ({info.note})" if info.note else ""
    pictures, steps = words.plural(info.images, "picture"), words.plural(info.steps, "step")
    what = f"{pictures}, {info.width} x {info.height}, {steps}, seed {info.seed}"
    return f"{what}, job {info.job}, lane {lane}{note}"


def detached(infos: Sequence[JobInfo], *, json: bool) -> int:
    if json:
        print_json(infos[0] if len(infos) == 1 else infos)
    else:
        for note in dict.fromkeys(note for info in infos for note in info.notes):
            say(f"salon: note: {words.typed(note)}")
        print("\n".join(info.job for info in infos))
    return exits.DONE


def follow(job: RemoteJob, options: argparse.Namespace) -> None:
    """Show the bar, previews where --preview names a file, and what a person should hear of, until the final event."""
    path = None if options.preview is None else Path(options.preview)
    with progress(max(1, job.info.steps), quiet=options.quiet) as advance:
        for event in job.events(previews=path is not None):
            if event.kind == "step" and event.step:
                advance(min(event.step, max(1, job.info.steps)))
            elif event.kind == "preview" and event.preview and path is not None:
                _put_preview(path, event.preview)
            elif event.kind in TELL and not options.quiet:
                what = [] if event.kind == "note" else [event.kind]
                say(f"salon: note: {': '.join([*what, *([words.typed(event.reason)] if event.reason else [])])}")


def cancel(jobs: Sequence[RemoteJob], stop: BaseException) -> NoReturn:
    """Cancel the jobs, since we were told to end. A second Ctrl-C ends us at once."""
    told = []
    for job in jobs:
        try:
            job.cancel()
            told.append(f"job {job.id} is cancelled")
        except SalonError as error:
            told.append(f"job {job.id} could not be cancelled ({error}); later: salon cancel {job.id}")
    leave(stop, f"interrupted; {', '.join(told)}")


def leave(stop: BaseException, told: str) -> NoReturn:
    if isinstance(stop, SystemExit):
        say(f"salon: error: {told}")
        raise stop
    raise KeyboardInterrupt(told) from None


def check_preview(name: str) -> None:
    """Check where previews go, before any work, as far as that can be known."""
    path = Path(name)
    try:
        state = "a folder" if path.is_dir() else "" if path.parent.is_dir() else "in a folder that does not exist"
    except OSError as error:  # no right to look, a name that is too long
        raise OutputError(f"--preview {str(path)!r}: {explain(error).got}; {explain(error).remedy}") from error
    if state or not os.access(path.parent, os.W_OK):
        raise OutputError(f"--preview {str(path)!r}: {state or 'in a folder without write access'}; choose another")


def _put_preview(path: Path, data: bytes) -> None:
    """Write a preview in one step, so that a viewer never sees half of it.

    Losing a preview is no reason to lose the pictures.
    """
    spare = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        spare.write_bytes(data)
        os.replace(spare, path)
    except OSError as error:
        say(f"salon: note: preview {str(path)!r}: {explain(error).got}; {explain(error).remedy}")
    finally:
        with suppress(OSError):  # of the same kind as the one that was told
            spare.unlink(missing_ok=True)


def say(text: str) -> None:
    print(words.clean(text), file=sys.stderr, flush=True)
