"""`salon find`, `publish`, `hide`, `folder` and `preset`: many jobs at once."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ...bounds import MAX_NAMES
from ...errors import complaint
from ...parameters.language.printing import print_said
from . import exits, words
from .connection import connected
from .flags_parameters import said
from .jobs import COLUMNS, job_row
from .parsing import UsageError
from .tables import print_json, print_pairs, print_table

if TYPE_CHECKING:
    from ..wire.messages import Folder, JobsChanged, Preset

DONE = {
    "publish": "published",
    "unpublish": "private",
    "hide": "hidden",
    "unhide": "no longer hidden",
    "add": "added",
    "remove": "removed",
}


def wanted_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `OrganizeCommands.names` takes, of the flags that say which jobs are wanted. Days are those of this
    machine's clock. UsageError: the last day is before the first."""
    wanted: dict[str, Any] = {"search": " ".join(options.words), "oldest": options.oldest}
    wanted |= {"liked": options.liked, "rated": options.rated, "folder": options.folder or ""}
    wanted["whose"] = "public" if options.public else "all" if options.all else "own"
    wanted["hidden"], wanted["private"] = options.hidden, True if options.private else None
    wanted["model"] = options.model or ""
    for name, text in (("kinds", options.kind), ("lanes", options.lane), ("states", options.state)):
        wanted[name] = tuple(text.split(",")) if text else ()
    first, last = options.day or options.from_, options.to or options.day
    if options.day and options.to:
        raise UsageError(complaint("--to", "it with --day", "it with --from", "drop one"))
    if first and last and last < first:
        raise UsageError(complaint("--to", str(last), f"{first} or later", "correct it"))
    wanted["from_ms"] = _begins_ms(first) if first else 0
    wanted["until_ms"] = _begins_ms(last + timedelta(days=1)) if last else 0
    return wanted


def _begins_ms(day: date) -> int:
    try:
        begin = datetime(day.year, day.month, day.day).astimezone()
        return max(0, round((begin - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000))
    except (OverflowError, OSError, ValueError):  # the clock's own bounds
        raise UsageError(complaint("--day", str(day), "a day between 1970 and 3000", "correct it")) from None


def find(options: argparse.Namespace) -> int:
    """List the jobs that fit."""
    wanted = wanted_of(options)
    with connected(options) as client:
        limit = MAX_NAMES if options.all_pages else options.limit
        page = client.organize.names(limit=limit, **wanted)
        total, pictures = page.total, page.total_pictures
        ids = list(page.jobs)
        while options.all_pages and page.next:
            page = client.organize.names(limit=limit, after=page.next, **wanted)
            ids += page.jobs
        found = [] if options.ids else client.organize.show(ids)
    if options.ids:
        print_json(ids) if options.json else print("\n".join(ids), end="\n" if ids else "")
        return exits.DONE
    if options.json:
        print_json(list(found))
        return exits.DONE
    own = wanted["whose"] == "own"
    columns = COLUMNS if own else (COLUMNS[0], "?account", *COLUMNS[1:])
    rows = [(row[0], *(() if own else (words.short_account(info.account),)), *row[1:])
            for info in found for row in [job_row(info)]]  # fmt: skip
    print_table(columns, rows, "no jobs")
    if page.next:
        print(f"salon: note: these are {len(ids)} of {total:,}; pass --all-pages, or say more", file=sys.stderr)
    elif ids:
        print(f"salon: note: {words.plural(total, 'job')}, {words.plural(pictures, 'picture')}", file=sys.stderr)
    return exits.DONE


def publish(options: argparse.Namespace) -> int:
    """Let everybody see jobs, or only their owner."""
    return _many(options, "unpublish" if options.off else "publish")


def hide(options: argparse.Namespace) -> int:
    """Leave jobs out of one's own lists, or take them back."""
    return _many(options, "unhide" if options.off else "hide")


def _many(options: argparse.Namespace, act: str) -> int:
    with connected(options) as client:
        changed: JobsChanged = getattr(client.organize, act)(options.jobs)
    return _tell(options, act, changed)


def _tell(options: argparse.Namespace, act: str, changed: JobsChanged) -> int:
    """Say what became of a change. The exit code says whether it was refused for a job."""
    for one in changed.refused:
        print(f"salon: error: job {one.job}: {words.clean(one.text)}", file=sys.stderr, flush=True)
    if options.json:
        print_json(changed)
    else:
        rest = len(dict.fromkeys(options.jobs)) - changed.changed - len(changed.refused)
        so = f", {rest} {'was' if rest == 1 else 'were'} so before" if rest else ""
        print(f"{words.plural(changed.changed, 'job')} {DONE[act]}{so}")
    return exits.REFUSED if changed.refused else exits.DONE


# ---- folders ------------------------------------------------------------------------------------------------------


def folder_list(options: argparse.Namespace) -> int:
    """List folders."""
    with connected(options) as client:
        folders = client.organize.folders()
    if options.json:
        print_json(list(folders))
    else:
        rows = [(one.folder, str(one.jobs), words.age(one.made_ms), one.name) for one in folders]
        print_table(("folder", ">jobs", "?>age", "name"), rows, "no folders")
    return exits.DONE


def folder_new(options: argparse.Namespace) -> int:
    """Make a folder."""
    with connected(options) as client:
        return _show_folder(options, client.organize.new_folder(options.name))


def folder_rename(options: argparse.Namespace) -> int:
    """Rename a folder."""
    with connected(options) as client:
        return _show_folder(options, client.organize.rename_folder(options.name, options.to))


def folder_delete(options: argparse.Namespace) -> int:
    """Delete a folder."""
    with connected(options) as client:
        there = client.organize.delete_folder(options.name)
    if not there:
        raise UsageError(complaint("folder", options.name, "one of yours", "see `salon folder list`"))
    return _deleted(options, f"folder {options.name}")


def folder_add(options: argparse.Namespace) -> int:
    """Put jobs into a folder."""
    with connected(options) as client:
        return _tell(options, "add", client.organize.add(options.name, options.jobs))


def folder_remove(options: argparse.Namespace) -> int:
    """Take jobs out of a folder."""
    with connected(options) as client:
        return _tell(options, "remove", client.organize.remove(options.name, options.jobs))


def _show_folder(options: argparse.Namespace, folder: Folder) -> int:
    if options.json:
        print_json(folder)
    else:
        print_pairs([("folder", folder.folder), ("name", folder.name), ("jobs", str(folder.jobs))])
    return exits.DONE


def _deleted(options: argparse.Namespace, what: str) -> int:
    print_json({"deleted": True}) if options.json else print(f"{words.clean(what)} deleted")
    return exits.DONE


# ---- presets ------------------------------------------------------------------------------------------------------


def preset_list(options: argparse.Namespace) -> int:
    """List presets."""
    with connected(options) as client:
        presets = client.organize.presets()
    if options.json:
        print_json(list(presets))
    else:
        print_table(("name", "parameters"), [(one.name, one.parameters) for one in presets], "no presets")
    return exits.DONE


def preset_put(options: argparse.Namespace) -> int:
    """Keep parameters under a name."""
    typed = " ".join(filter(None, map(print_said, said(options).values())))
    if not typed:
        raise UsageError(complaint("preset", "no parameters", "some, like --ar 3:2 --s 250", "write them"))
    with connected(options) as client:
        kept: Preset = client.organize.put_preset(options.name, typed)
    if options.json:
        print_json(kept)
    else:
        print_pairs([("preset", kept.name), ("parameters", kept.parameters)])
    return exits.DONE


def preset_delete(options: argparse.Namespace) -> int:
    """Forget a preset."""
    with connected(options) as client:
        there = client.organize.delete_preset(options.name)
    if not there:
        raise UsageError(complaint("preset", options.name, "one of yours", "see `salon preset list`"))
    return _deleted(options, f"preset {options.name}")
