"""`salon jobs`, `cancel` and `delete`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...bounds import MAX_PAGE
from ...errors import SalonError
from . import exits, words
from .connection import connected
from .tables import print_json, print_table

if TYPE_CHECKING:
    from ..client.client import RemoteJob
    from ..wire.messages import JobInfo

COLUMNS = ("job", "state", "kind", "?lane", "?>n", "?size", ">step", "?>age", "?>gpu time", "prompt")


def jobs(options: argparse.Namespace) -> int:
    """List jobs, newest first."""
    states = tuple(options.state.split(",")) if options.state else ()
    found: list[JobInfo] = []
    with connected(options) as client:
        before = 0
        while True:
            page = client.jobs(
                limit=options.limit,
                before=before,
                states=states,
                account=options.account or "",
                public=options.public,
            )
            found += page.jobs
            before = page.next
            if not options.all_pages or not before:
                break
    if options.json:
        print_json(found)
        return exits.DONE
    if options.account or options.public:
        rows = [[row[0], words.short_account(info.account), *row[1:]] for info in found for row in [job_row(info)]]
        print_table(("job", "?account", *COLUMNS[1:]), rows, "no jobs")
    else:
        print_table(COLUMNS, map(job_row, found), "no jobs")
    if before:
        print(f"salon: note: there are more; pass --all-pages, or --limit up to {MAX_PAGE}", file=sys.stderr)
    return exits.DONE


def job_row(info: JobInfo) -> list[str]:
    """Return the cells of `COLUMNS`."""
    lane = info.lane if info.lane == info.asked_lane else f"{info.lane} ({info.asked_lane})"
    return [
        info.job,
        info.state,
        info.kind,
        lane,
        str(info.images),
        f"{info.width}x{info.height}",
        f"{info.step}/{info.steps}",
        words.age(info.made_ms),
        words.span(info.charged_ms) if info.charged_ms else "",
        "(private)" if words.is_hidden(info) else ("private: " if info.private else "") + info.prompt,
    ]


def cancel(options: argparse.Namespace) -> int:
    """End jobs."""
    return _each(options, "cancelled", lambda job: job.cancel())


def delete(options: argparse.Namespace) -> int:
    """Remove ended jobs' pictures and prompts."""

    def remove(job: RemoteJob) -> bool:
        job.delete()
        return True

    return _each(options, "deleted", remove)


def _each(options: argparse.Namespace, done: str, act: Callable[[RemoteJob], bool]) -> int:
    """Do something to every job, also after one was refused. The exit code then says so."""
    results: list[dict[str, Any]] = []
    code = exits.DONE
    with connected(options) as client:
        for name in dict.fromkeys(options.jobs):
            try:
                changed = act(client.job(name))
            except SalonError as error:
                if exits.code_of(error) != exits.REFUSED:
                    raise
                print(f"salon: error: {words.clean(str(error))}", file=sys.stderr, flush=True)
                results.append({"job": name, done: False, "error": str(error)})
                code = exits.REFUSED
                continue
            results.append({"job": name, done: changed})
            if not options.json:
                print(f"{name} {done if changed else 'had ended before'}", flush=True)
    if options.json:
        print_json(results)
    return code
