"""`salon profile report`: how well a profile works, in numbers, as a page and as a sheet of pictures."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...bounds import MAX_SEED
from ...engine.errors import OutputError
from ...errors import SalonError, complaint
from ...system import explain
from ..progress import Advance, progress
from . import exits, words
from .connection import connected
from .parsing import UsageError
from .remote import cancel, say
from .tables import plain, print_json, print_pairs, print_table

if TYPE_CHECKING:
    from ..client.client import Client, RemoteJob
    from ..wire.messages import Share, TasteReport

THINGS: Final = ("a castle", "a cat", "a teapot", "a tree")  # where a model has no list of what it draws
MOST_LIKED: Final = 5  # classes that are printed
AT_ONCE: Final = 8  # jobs that have not ended: a plan may allow no more
NONE, PROFILE, ANTI, RANDOM = "none", "profile", "anti", "random"  # rows of pictures


def profile_report(options: argparse.Namespace) -> int:
    """Report on a profile; with -o or --png, draw pictures with and without it."""
    targets = [Path(path) for path in (options.output, options.png) if path is not None]
    for target in targets:
        _check(target, force=options.force)
    with connected(options) as client:
        report = client.taste.report(options.name or "")
        drawn = _Rows(client, report, options)
        if targets:
            drawn.draw()
        files = drawn.files
    if options.output is not None:
        from ..report.page import html

        _write(Path(options.output), html(report, files).encode())
    if options.png is not None:
        from ..report.sheet import png

        _write(Path(options.png), png(report, files))
    if options.json:
        jobs = {row: [job.id for job in jobs] for row, jobs in drawn.jobs.items()}
        print_json({**plain(report), "files": [str(target) for target in targets], "jobs": jobs})
        return exits.DONE
    print_pairs(_pairs(report))
    if report.pulls:
        rows = [[str(event.event), event.kind, words.age(event.at_ms), f"{event.pull:.3f}"]
                for event in report.pulls]  # fmt: skip
        print_table((">event", "kind", ">age", ">pull"), rows, "")
    if targets:
        print("\n".join(map(str, targets)))
    return exits.DONE


def _pairs(report: TasteReport) -> list[tuple[str, str]]:
    profile = report.profile
    return [
        ("profile", f"{profile.name or 'the own one'} ({profile.profile})"),
        ("verdict", report.verdict),
        ("predicts", _share(report.held_out, "choices that it was not told") if report.verdict else ""),
        ("agrees", f"with {words.share(report.consistency)} of the choices" if report.verdict else ""),
        ("effect", f"{words.share(report.effect)} chance against any style" if report.verdict else ""),
        ("calibration", f"chances are off by {words.share(report.calibration)}" if report.verdict else ""),
        ("likes", _classes(report, 1)),
        ("dislikes", _classes(report, -1)),
        ("missing", f"{words.plural(report.missing, 'event')} whose pictures are gone" if report.missing else ""),
        ("taught", f"{profile.events:,} events" if profile.events else ""),
        ("learner", f"version {report.algorithm}" + (f", for {report.model_name}" if report.model_name else "")),
        ("code", report.code),
        ("opposite", report.anti_code),
        ("control", report.random_code),
    ]


def _classes(report: TasteReport, sign: int) -> str:
    """Write what is liked (1) or disliked (-1) for certain, the most first."""
    sure = [one for one in report.liked if sign * one.utility > one.deviation]
    return ", ".join(f"{one.name} ({one.factor})" for one in sure[::sign][:MOST_LIKED])


def _share(share: Share, what: str) -> str:
    if not share.count:
        return "not known yet"
    interval = f"{100 * share.low:.0f} to {100 * share.high:.0f} %"
    return f"{100 * share.value:.0f} % of {share.count:,} {what} ({interval})"


class _Rows:
    """The pictures of a report: a row without the profile, with it, with its opposite, and with the control.

    Attributes:
        jobs: row -> its jobs, one a prompt.
        files: row -> the files of their pictures.
    """

    def __init__(self, client: Client, report: TasteReport, options: argparse.Namespace) -> None:
        self.jobs: dict[str, list[RemoteJob]] = {}
        self.files: Mapping[str, Sequence[bytes]] = {}
        self._done = 0
        self._client, self._report, self._options = client, report, options

    def draw(self) -> None:
        """Submit the jobs, wait for them, and fetch their pictures. Ctrl-C and SIGTERM cancel them."""
        client, options = self._client, self._options
        prompts = things(client, options.prompts)
        codes = {NONE: "", PROFILE: self._report.code, ANTI: self._report.anti_code, RANDOM: self._report.random_code}
        beside: dict[str, Any] = {"lane": options.lane, "images": 1}
        codes = {row: code for row, code in codes.items() if row == NONE or code}
        plans = {row: client.plan(_with(prompts[0], code), **beside) for row, code in codes.items()}
        if plans[NONE].jobs[0].parameters.get("profile"):
            got, remedy = (
                "--p in the account's settings, so that no picture is without",
                "`salon settings --drop p`",
            )
            raise UsageError(complaint("report", got, "none there", remedy))
        cost, count = sum(plan.total_cost_ms for plan in plans.values()) * len(prompts), len(codes) * len(prompts)
        said = f"{words.span(cost)} of GPU time" if cost else "no GPU time"
        say(f"drawing {words.plural(count, 'picture')}, {said}")
        begun: list[RemoteJob] = []
        try:
            with progress(count, quiet=options.json) as advance:
                for row, code in codes.items():
                    self.jobs[row] = []
                    for i, prompt in enumerate(prompts):
                        self._wait(begun, len(begun) - AT_ONCE + 1, advance)
                        seed = (options.seed + i) % (MAX_SEED + 1)
                        begun.append(client.imagine(_with(prompt, code), seed=seed, **beside))
                        self.jobs[row].append(begun[-1])
                self._wait(begun, len(begun), advance)
        except (KeyboardInterrupt, SystemExit) as stop:
            cancel(begun[self._done :], stop)
        except SalonError:
            for job in begun[self._done :]:
                with suppress(SalonError):  # the first error says more
                    job.cancel()
            raise
        self.files = {row: [job.picture() for job in jobs] for row, jobs in self.jobs.items()}

    def _wait(self, jobs: Sequence[RemoteJob], count: int, advance: Advance) -> None:
        """Wait until the first `count` jobs are done."""
        while self._done < count:
            jobs[self._done].wait()
            self._done += 1
            advance(self._done)


def _with(prompt: str, code: str) -> str:
    return f"{prompt} --p {code}" if code else prompt


def things(client: Client, count: int) -> list[str]:
    """Return prompts of one thing each, spread over what the server's model draws; always the same ones."""
    from ..client.errors import Invalid

    known = list(THINGS)
    with suppress(Invalid):  # the model has no list of its words
        known = [entry[0] for entry in client.words().slots.get("things", ())] or known
    chosen = [known[i * len(known) // count] for i in range(min(count, len(known)))]
    return [thing if thing.startswith("a ") else f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}" for thing in chosen]


def _check(path: Path, *, force: bool) -> None:
    """Check where a file goes, before any work. OutputError."""
    there = os.path.lexists(path)
    if path.is_dir():
        got, remedy = "a folder", "name a file in it"
    elif there and not force:
        got, remedy = "a file that is there", "pass --force to overwrite it, or choose another name"
    elif not path.parent.is_dir():
        got, remedy = "in a folder that does not exist", "make it first"
    else:
        return
    raise OutputError(complaint(f"output {str(path)!r}", got, "the name of a new file", remedy))


def _write(path: Path, content: bytes) -> None:
    spare = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        spare.write_bytes(content)
        os.replace(spare, path)
    except OSError as error:
        raise OutputError(f"output {str(path)!r}: {explain(error).got}; {explain(error).remedy}") from error
    finally:
        spare.unlink(missing_ok=True)
