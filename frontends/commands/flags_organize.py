"""Flags of the commands about many jobs at once: `find`, `publish`, `hide`, `folder`, `preset`, `download`, ..."""

from __future__ import annotations

import re
from datetime import date
from typing import Any, Final

from ...bounds import LANES, MAX_LABEL, PRESET
from ...errors import complaint
from . import flags_parameters
from .flags_jobs import STATES, page_flags
from .parsing import FILE, ListOfNames, Parser, PathName, UsageError, job_id, json_flag, matching, server_flags, shown

MANY: Final = {  # what is done to many jobs at once: help, description, and what --off does
    "publish": (
        "let everybody see jobs, or with --off nobody else",
        "Let everybody see jobs of one's own, and like them; or with --off only oneself.",
        "let no other account see them",
    ),
    "hide": (
        "leave jobs out of one's own lists",
        "Leave jobs out of one's own lists, or with --off take them back. Others see what they saw.",
        "take them back",
    ),
}
NAME: Final = rf"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{{1,{MAX_LABEL}}}"


def add(commands: Any) -> None:
    """Add the parsers of these commands."""
    find = commands.add_parser(
        "find",
        help="search one's jobs, or everybody's public ones",
        description="Find jobs by words of their prompts, by seed, id or taste code, newest first. All words have to "
        "be there; the beginning of one is enough.",
        epilog="Example: salon find lighthouse --liked --from 2026-11-01",
    )
    _filters(find)
    page_flags(find, 20)
    find.add_argument("--ids", action="store_true", help="print ids alone, for `salon publish` and the like")
    _ends(find, "print one JSON array")
    for name, (text, description, off) in MANY.items():
        many = commands.add_parser(name, help=text, description=description)
        _jobs(many)
        many.add_argument("--off", action="store_true", help=off)
        _ends(many)
    _folder(commands)
    _preset(commands)
    download = commands.add_parser(
        "download",
        help="many pictures, or those of a day, as one zip",
        description="Write the pictures of jobs into a zip file, with a list of them (manifest.jsonl), which "
        "names those that were deleted meanwhile. Without ids: what `salon find` finds with the same words and flags.",
        epilog="Example: salon download --day 2026-11-30 -o day.zip",
    )
    _filters(download)
    download.add_argument(
        "--job", action="append", type=job_id("--job"), metavar="JOB", help="this one; may be repeated"
    )
    zip_ = download.add_argument(
        "-o", "--output", type=PathName("-o", FILE), metavar="FILE", required=True, help="where to, like day.zip"
    )
    zip_.completes = FILE
    download.add_argument("--force", action="store_true", help="overwrite the file")
    _ends(download)


def _filters(parser: Any) -> None:
    parser.add_argument("words", nargs="*", metavar="WORD", help="to be found, all of them")
    group = parser.add_argument_group("which jobs")
    whose = group.add_mutually_exclusive_group()
    whose.add_argument("--public", action="store_true", help="everybody's that are not private, in place of one's own")
    whose.add_argument("--all", action="store_true", help="one's own, and everybody's that are not private")
    group.add_argument("--private", action="store_true", help="only private ones")
    group.add_argument("--liked", action="store_true", help="only those of which one likes a picture")
    group.add_argument("--rated", action="store_true", help="only those of which one has judged a picture")
    group.add_argument("--hidden", action="store_true", help="only those that one hides")
    group.add_argument("--folder", type=_name("--folder"), metavar="NAME", help="only those in this folder")
    days = group.add_mutually_exclusive_group()
    days.add_argument("--day", type=_day("--day"), metavar="DATE", help="only those of this day, like 2026-11-30")
    days.add_argument("--from", dest="from_", type=_day("--from"), metavar="DATE", help="from this day on")
    group.add_argument("--to", type=_day("--to"), metavar="DATE", help="up to this day, with it")
    group.add_argument("--kind", metavar="NAMES", type=_names("--kind"), help="only these kinds, with commas")
    group.add_argument("--lane", type=ListOfNames("--lane", LANES), metavar="NAMES", help=", ".join(LANES))
    states = ListOfNames("--state", STATES)
    group.add_argument("--state", type=states, metavar="NAMES", help=f"only these: {', '.join(STATES[3:])}, ...")
    group.add_argument("--model", type=_name("--model"), metavar="NAME", help="drawn by this model (name and version)")
    group.add_argument("--oldest", action="store_true", help="oldest first")


def _folder(commands: Any) -> None:
    folder = commands.add_parser(
        "folder", help="folders of jobs", description="Look after folders. A job may be in several of them."
    )
    below = folder.commands()

    def command(name: str, text: str, what: str = "print one JSON object") -> Parser:
        parser: Parser = below.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name != "list":
            parser.add_argument("name", type=_name("NAME"), metavar="NAME", help="id or name of the folder")
        _ends(parser, what)
        return parser

    command("list", "list all folders", "print one JSON array")
    command("new", "make one, unless it is there")
    to = command("rename", "give one another name")
    to.add_argument("to", type=_name("NEW"), metavar="NEW", help="the new name")
    command("delete", "delete one; its jobs stay")
    for name, text in (("add", "put jobs into one"), ("remove", "take jobs out of one")):
        _jobs(command(name, text))


def _preset(commands: Any) -> None:
    preset = commands.add_parser(
        "preset",
        help="parameters under a name, for --preset",
        description="Look after presets: parameters that the account keeps under a name, which `--preset NAME` stands "
        "for. What a prompt says wins over them, and they over the settings.",
    )
    below = preset.commands()
    list_ = below.add_parser("list", help="list all presets", description="List all presets.")
    _ends(list_, "print one JSON array")
    put = below.add_parser(
        "put",
        help="keep parameters under a name",
        usage="salon preset put NAME PARAMETERS [FLAGS]",
        description="Keep parameters under a name, in place of any that it had.",
        epilog="Example: salon preset put wide --ar 21:9 --s 250",
    )
    delete = below.add_parser("delete", help="forget one", description="Forget a preset.")
    name = matching("NAME", PRESET, "letters, digits, _ and -, up to 64", "`salon preset list` lists them")
    for parser in (put, delete):
        parser.add_argument("name", type=name, metavar="NAME", help="its name")
    flags_parameters.add(put, told=False)
    for parser in (put, delete):
        _ends(parser)


def _jobs(parser: Any) -> None:
    parser.add_argument("jobs", nargs="+", type=job_id(), metavar="JOB", help="their ids")


def _name(flag: str) -> Any:
    return matching(flag, NAME, f"1 to {MAX_LABEL} characters on one line", "correct it")


def _names(flag: str) -> Any:
    return matching(flag, r"[a-z0-9_.-]+(,[a-z0-9_.-]+)*", "names of kinds, like imagine,vary", "see docs/jobs.md")


def _day(flag: str) -> Any:
    def read(text: str) -> date:
        try:
            if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
                raise ValueError
            return date.fromisoformat(text)
        except ValueError:
            raise UsageError(complaint(flag, shown(text), "a day, like 2026-11-30", "correct it")) from None

    return read


def _ends(parser: Any, what: str = "print one JSON object") -> None:
    json_flag(parser, what)
    server_flags(parser)
