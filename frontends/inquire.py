"""Run the commands that answer with texts (`salon describe`, `salon shorten`), in this process or on a server."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..bounds import FINAL
from ..errors import SalonError, complaint
from ..parameters.errors import PromptRefused
from ..studio.prompt.presets import left_open
from ..studio.prompt.resolve import Facts, resolve
from .commands import exits, remote, words
from .commands.connection import Contact, connected, server_of
from .commands.flags_make import parts_of
from .commands.flags_parameters import read_typed, sent
from .commands.tables import plain, print_json
from .progress import progress
from .remaking import remade_here, want_files

if TYPE_CHECKING:
    from ..engine.inquiries import Text
    from .client.client import RemoteJob
    from .wire.messages import JobText


def inquire(options: argparse.Namespace) -> int:
    """Run the command with the namespace of `arguments.parse`. Every refusal is a `SalonError`, before any work."""
    started = time.perf_counter()
    remote.refuse_misplaced(options)
    if len(options.prompts) > 1:
        got = f"{len(options.prompts)} prompts"
        raise PromptRefused(complaint(options.command, got, "one", "ask about each by itself"), options.prompt, 0)
    files = {path: read_typed(path, options.command) for path in (one.path for one in options.sources) if path}
    digests = {path: file.digest for path, file in files.items()}
    facts = Facts(default_style=True, job_kind=options.command, remakes=True)
    request = resolve(options.prompts[0], facts, presets=left_open)
    if server_of(options) is not None:
        return _there(options, digests, started)
    want_files(options.sources, options.command)

    from ..engine.engine import Engine
    from ..engine.generation import State
    from ..studio.references import pictures_of
    from ..studio.resources import References

    engine = Engine.load(
        options.model,
        **parts_of(options),
        backend=options.backend,
        isa=options.isa,
        dtype=options.dtype,
        threads=options.threads,
        device=options.device,
        require_text=True,
    )
    by_digest = dict(files.values())
    spec = remade_here(options, request.text, request.fields_for(False), 0, by_digest, digests, engine.info)
    for form, pixels in pictures_of(spec, by_digest.get, References(), engine.info).items():
        engine.add_picture(form, pixels)
    loaded = time.perf_counter()
    generation = engine.open(spec)
    if not options.quiet:
        for warning in map(words.typed, generation.warnings):
            remote.say(f"salon: note: {warning}")
    with progress(engine.info.steps(spec), quiet=options.quiet) as advance:
        while generation.state is State.RUNNING:
            engine.inquire(generation)
            advance(generation.position)
    texts = generation.texts
    engine.close(generation)
    seconds = {"load": round(loaded - started, 3), "make": round(time.perf_counter() - loaded, 3)}
    _tell(options, texts, {"seconds": seconds})
    if not options.json and not options.quiet:
        remote.say(f"made in {seconds['make']:.2f} s (and {seconds['load']:.2f} s to load)")
    return exits.DONE


def _there(options: argparse.Namespace, digests: Mapping[str, str], started: float) -> int:
    """Have it answered on a server. Ctrl-C and SIGTERM cancel the job on their way out."""
    contact = Contact(server_of(options) or "", quiet=options.quiet)
    with connected(options, contact=contact) as client:
        for path in digests:
            client.add_reference(path)
        prompt, beside = sent(options, digests)
        sources = [(one.job, one.index) if one.job else digests[one.path] for one in options.sources]
        job = client.inquire(options.command, prompt, sources=sources, **beside)
        accepted = time.perf_counter()
        if options.detach:
            return remote.detached([job.info], json=options.json)
        return finish(job, options, contact, (started, accepted))


def finish(job: RemoteJob, options: argparse.Namespace, contact: Contact, times: tuple[float, float]) -> int:
    """Follow a job that makes texts, and print them. Return the exit code. `times`: of the command's start and of
    acceptance."""
    started, accepted = times
    contact.meanwhile = f"job {job.id} goes on there; Ctrl-C leaves it, salon show {job.id} --follow shows it"
    try:
        if not options.quiet:
            remote.say(f"{job.info.kind}, job {job.id}, lane {job.info.lane}")
        remote.follow(job, options)
        info = job.refresh()
    except (KeyboardInterrupt, SystemExit) as stop:
        if contact.silent:
            remote.leave(stop, f"interrupted; job {job.id} goes on; later: salon show {job.id}")
        remote.cancel([job], stop)
    except SalonError as error:
        if exits.code_of(error) == exits.UNREACHABLE:
            remote.say(f"salon: note: job {job.id} goes on; later: salon show {job.id}")
        raise
    if info.state != "done":
        assert info.state in FINAL, "followed to its end"
        remote.say(f"salon: error: job {info.job} {info.state}: {info.reason or info.failure or 'no reason given'}")
        if options.json:
            print_json({"texts": [], "job": plain(info)})
        return exits.BROKEN
    seconds = {"accept": round(accepted - started, 3), "make": round(time.perf_counter() - accepted, 3)}
    _tell(options, info.texts, {"seconds": seconds, "job": plain(info)})
    if not options.json and not options.quiet:
        cost = f", {words.span(info.charged_ms)} of GPU time" if info.charged_ms else ""
        remote.say(f"made in {seconds['make']:.2f} s{cost}")
    return exits.DONE


def _tell(options: argparse.Namespace, texts: Sequence[Text | JobText], beside: Mapping[str, Any]) -> None:
    """Print the texts, the best first."""
    if options.json:
        told = [{"text": one.text, "score": one.score, "role": one.role, "note": one.note} for one in texts]
        print_json({"texts": told, **beside})
        return
    for line in words.texts(texts):
        print(line)
    sys.stdout.flush()
