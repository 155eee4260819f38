"""`salon show`: a job, what happens to it, and its pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ...bounds import FINAL
from ...errors import complaint
from ...parameters.known import parameters
from ...scheduler.calendar import spoken
from . import exits, words
from .connection import Contact, connected, server_of
from .parsing import UsageError
from .pictures import destination_of, fetch
from .tables import plain, print_json, print_pairs

if TYPE_CHECKING:
    from ..client.client import RemoteJob
    from ..client.steps import JobEvent
    from ..wire.messages import JobInfo

ACROSS: Final = 24  # columns of a picture, at least, where several stand side by side
GAP: Final = 2  # columns between them, as `terminal.pictures` has them


def show(options: argparse.Namespace) -> int:
    """Show a job. The exit code is 1 only if the job was followed and ended without pictures."""
    if options.pictures:
        _want_terminal(json=options.json)
    contact = Contact(server_of(options) or "", quiet=not options.follow)
    contact.meanwhile = f"job {options.job} goes on there; Ctrl-C leaves it, the same command shows it again"
    with connected(options, contact=contact) as client:
        job = client.job(options.job)
        info = job.info
        target = None
        if options.output is not None:
            target = destination_of(options.output, info, force=options.force)
            target.check(1)
        if options.follow:
            _follow(job, json=options.json)
            info = job.refresh()
        files = None
        if target is not None and (info.state == "done" or not options.follow):
            files, _ = fetch(job, info, target)
        looks = _pictures(job, info) if options.pictures else []
    if options.json:
        found = plain(info)
        if words.is_hidden(info):
            del found["seed"]  # it is not 0
        if files is not None:
            found["files"] = files
        print_json({"type": "job", **found} if options.follow else found)
    else:
        print_pairs(job_pairs(info))
        if files:
            print("\n".join(files))
        if options.pictures:
            look(looks, options.graphics)
    ended_well = info.state == "done" or not options.follow
    return exits.DONE if ended_well else exits.BROKEN


def _want_terminal(*, json: bool) -> None:
    if json or not sys.stdout.isatty():
        got = "it with --json" if json else "it with standard output that is no terminal"
        raise UsageError(complaint("--pictures", got, "a terminal", "drop it, or fetch the pictures with -o"))


def _pictures(job: RemoteJob, info: JobInfo) -> list[bytes]:
    """Return the files of the pictures that the job has now."""
    return [job.picture(picture.index) for picture in info.pictures if picture.index >= 0]


def look(files: Sequence[bytes], graphics: str | None) -> None:
    """Show pictures side by side in the terminal, several rows of them where the window is narrow."""
    from ..terminal.pictures import canvas_of

    if not files:
        print("no pictures yet")
        return
    canvas = canvas_of(graphics)
    window = canvas.window()
    across = max(1, min(len(files), window.columns // ACROSS, 4))
    for start in range(0, len(files), across):
        row = canvas.row(files[start : start + across], max(2, window.lines - 2), least=across)
        if row is None:
            got = f"a window of {window.columns} by {window.lines} characters"
            raise UsageError(complaint("--pictures", got, "a larger one", "make it larger, or fetch them with -o"))
        drawn, place = row
        numbers = "".join(f"{start + i + 1:<{place.columns + GAP}}" for i in range(len(files[start : start + across])))
        print(f"{drawn}{numbers.rstrip()}", flush=True)


def _follow(job: RemoteJob, *, json: bool) -> None:
    """Tell every event on a line, from the first to the last."""
    for event in job.events():
        if json:
            print_json(event_record(event))
        else:
            print(event_line(event), file=sys.stderr, flush=True)


def event_record(event: JobEvent) -> dict[str, Any]:
    """Return an event for programs."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__ if name != "preview"}
    return {"type": "event", **plain(fields)}


def event_line(event: JobEvent) -> str:
    """Write an event for people."""
    text = event.kind
    if event.kind == "step":
        text = f"step {event.step}/{event.steps}"
    elif event.picture is not None:
        number = "grid" if event.picture.index < 0 else f"picture {event.picture.index + 1}"
        text = f"{number}, {event.picture.width} x {event.picture.height}, {words.size(event.picture.size)}"
    clock = words.moment(event.at_ms).partition(" ")[2]
    return words.clean(f"{clock} {text}" + (f": {event.reason}" if event.reason else ""))


def style_name(adapter: str) -> str:
    """Return what people call a style: its number, its code, or the beginning of its picture's digest."""
    kind, _, what = adapter.removeprefix("style:").partition(":")
    return kind if not what else f"{kind} {what if kind == 'taste' else what[:12]}"  # a code is short and to be typed


def _flag(name: str) -> str:
    """Return the name of a parameter as it is typed."""
    known = parameters().get(name)  # the server may be newer
    return name if known is None else known.label.lstrip("-")


def job_pairs(info: JobInfo) -> list[tuple[str, str]]:
    """Return all that is known of a job, by name."""
    lane = info.lane if info.lane == info.asked_lane else f"{info.lane}, asked for {info.asked_lane}"
    guidance = f", guidance {info.guidance_scale:g}" if info.guidance_scale else ""
    waited = info.started_ms - info.made_ms if info.started_ms else -1
    ran = info.ended_ms - info.started_ms if info.started_ms and info.ended_ms else -1
    spans = [f"waited {words.span(waited)}" if waited >= 0 else "", f"ran {words.span(ran)}" if ran >= 0 else ""]
    seed = "" if words.is_hidden(info) else f", seed {info.seed}"
    number = len([picture for picture in info.pictures if picture.index >= 0])
    return [
        ("job", info.job),
        ("state", info.state + (f", step {info.step} of {info.steps}" if info.state not in FINAL else "")),
        ("why", ": ".join(part for part in (info.failure, info.reason) if part)),
        ("account", info.account),
        ("lane", lane + (f": {info.note}" if info.note else "")),
        ("private", "yes" if info.private else ""),
        ("kind", info.kind + "".join(f", of {source}" for source in info.sources)),
        ("prompt", "(somebody else's private one)" if words.is_hidden(info) else info.prompt),
        ("without", info.negative_prompt),
        *[("note", words.typed(note)) for note in info.notes],
        ("weights", words.weights(info.prompt_weight, info.terms.items())),
        *[("text", line.strip()) for line in words.texts(info.texts) if line],
        ("what", "" if info.texts else f"{words.plural(info.images, 'picture')}, {info.width} x {info.height}{seed}"),
        (
            "how",
            ""
            if info.texts
            else f"{words.plural(info.steps, 'step')}{f', {info.solver}' if info.solver else ''}{guidance}",
        ),
        ("style", ", ".join(f"{style_name(name)} {weight:g}" for name, weight in info.styles.items())),
        ("from", ", ".join(f"picture {digest[:12]}" for digest in info.starts)),
        ("knobs", ", ".join(f"{_flag(name)} {value:g}" for name, value in info.knobs.items())),
        ("made", f"{words.moment(info.made_ms)} ({words.age(info.made_ms)})" if info.made_ms else ""),
        ("ended", words.moment(info.ended_ms)),
        ("time", ", ".join(part for part in spans if part)),
        ("gpu time", f"{spoken(info.charged_ms)} by the price list" if info.charged_ms else ""),
        (
            "stored",
            ""
            if info.texts
            else f"{words.plural(number, 'picture')}, {words.size(sum(p.size for p in info.pictures))}",
        ),
    ]
