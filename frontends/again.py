"""`salon again`: a job of before once more, on its server."""

from __future__ import annotations

import argparse
import time
from typing import Any

from ..errors import complaint
from . import inquire
from .commands import remote
from .commands.connection import Contact, connected, server_of
from .commands.flags_make import draws
from .commands.parsing import UsageError
from .commands.pictures import destination_of
from .commands.tables import print_json


def again(options: argparse.Namespace) -> int:
    """Ask for the job once more, follow it, and fetch its pictures. Ctrl-C and SIGTERM cancel it on their way out."""
    started = time.perf_counter()
    contact = Contact(server_of(options) or "", quiet=options.quiet)
    if options.preview is not None:
        remote.check_preview(options.preview)
    with connected(options, contact=contact) as client:
        before = client.job(options.job).info
        drawn = draws(before.kind)
        for flag, value in (("-o", options.output), ("--preview", options.preview)):
            if value is not None and not drawn:
                got = f"it for {before.kind!r}, which answers with texts"
                raise UsageError(complaint(flag, got, "it for jobs that draw", "leave it out"))
        if drawn and not options.detach:
            destination_of(options.output, before, force=options.force).check(1)
        every = remote.PREVIEWS if options.preview is not None else None
        job = client.again(options.job, seed=options.seed, previews=every)
        times = started, time.perf_counter()
        if options.detach:
            return remote.detached([job.info], json=options.json)
        if not drawn:
            return inquire.finish(job, options, contact, times)
        told: list[dict[str, Any]] = []
        code = remote.finish(job, [job], options, contact, times, told)
    if options.json:
        print_json(told[0])
    elif told[0]["files"] and not options.quiet:
        print("\n".join(told[0]["files"]))
    return code
