"""Flags of the commands that look after one's own jobs: `jobs`, `show`, `again`, `cancel`, `delete`, `info`, `keys`."""

from __future__ import annotations

from typing import Any, Final

from ...bounds import FINAL, MAX_PAGE, MAX_SEED, TASTE
from . import flags_parameters
from .flags_make import output_flag
from .flags_taste import graphics_flag
from .parsing import FILE, ListOfNames, PathName, account_id, job_id, json_flag, server_flags, whole

STATES: Final = ("queued", "running", "paused", *FINAL)


def add(commands: Any) -> None:
    """Add the parsers of these commands."""
    jobs = commands.add_parser(
        "jobs", help="list jobs on the server", description="List jobs on the server, newest first."
    )
    page_flags(jobs, 20)
    states = ListOfNames("--state", STATES)
    jobs.add_argument(
        "--state", type=states, metavar="NAMES", help=f"only these, with commas: {', '.join(STATES[:4])}, ..."
    )
    account = account_id("--account", TASTE, "*")
    jobs.add_argument("--account", type=account, metavar="ID", help="of another, or '*' (operators only)")
    jobs.add_argument(
        "--public", action="store_true", help="of all accounts (or --account), those that are not private"
    )
    json_flag(jobs, "print one JSON array")
    server_flags(jobs)

    show = commands.add_parser(
        "show",
        help="what became of a job, and its pictures",
        description="Show a job; with -o fetch its pictures, with --follow tell what happens until it has ended.",
    )
    show.add_argument("job", type=job_id(), metavar="JOB", help="its id")
    output_flag(show, "put its pictures there: a folder, or a file name ending in .png, .jpg or .webp")
    show.add_argument("--force", action="store_true", help="overwrite the file that -o names")
    show.add_argument("--follow", action="store_true", help="tell what happens; exit code 1 if it fails")
    show.add_argument("--pictures", action="store_true", help="show its pictures in the terminal, side by side")
    graphics_flag(show)
    json_flag(show, "print one JSON object (with --follow: a line for each event, then the job)")
    server_flags(show)

    again = commands.add_parser(
        "again",
        help="make a job once more",
        description="Make a job of one's own once more on the server, of any kind, as a new job: its words, "
        "parameters, styles and pictures. One that ended without pictures has the same seed then, others a new one.",
    )
    again.add_argument("job", type=job_id(), metavar="JOB", help="its id")
    seed = whole("--seed", 0, MAX_SEED, "leave it out for a random one")
    again.add_argument("--seed", type=seed, metavar="N", help="by this seed")
    output_flag(again, "a folder, or a name ending in .png, .jpg or .webp (outputs/WORDS-SEED.png)")
    again.add_argument("--force", action="store_true", help="overwrite the file that -o names")
    preview = PathName("--preview", FILE)
    again.add_argument("--preview", type=preview, metavar="FILE", help="keep the unfinished grid there, as JPEG")
    again.add_argument("--detach", action="store_true", help="print the job's id and do not wait")
    again.add_argument("--quiet", action="store_true", help="print errors, and texts, only")
    json_flag(again, "print one JSON object with files or texts, recipe and times")
    server_flags(again)

    cancel = commands.add_parser(
        "cancel", help="end jobs", description="End jobs, queued or running. Pictures that are done stay."
    )
    delete = commands.add_parser(
        "delete",
        help="remove ended jobs' pictures and prompts",
        description="Remove the pictures of ended jobs from the server's disk, and their prompts from its books.",
    )
    for parser in (cancel, delete):
        parser.add_argument("jobs", nargs="+", type=job_id(), metavar="JOB", help="their ids")
        json_flag(parser, "print one JSON array")
        server_flags(parser)

    info = commands.add_parser(
        "info", help="the account: plan and GPU time", description="Show the own account: plan, GPU time, storage."
    )
    info.add_argument(
        "--account", type=account_id("--account", TASTE), metavar="ID", help="another one (operators only)"
    )
    json_flag(info)
    server_flags(info)

    settings = commands.add_parser(
        "settings",
        help="what the account's prompts mean where they say nothing",
        usage="salon settings [PARAMETERS] [FLAGS]",
        description="Show the settings of the account on the server, or change them: parameters as prompts have them, "
        "like --s 250, and a suffix, which wins over them. What a prompt says wins over both.",
        epilog="Example: salon settings --ar 3:2 --suffix '--raw'",
    )
    flags_parameters.add(settings, told=False)
    settings.add_argument("--suffix", metavar="TEXT", help="parameters as they are typed; '' for none")
    settings.add_argument("--drop", metavar="NAMES", help="parameters to forget, like ar,s")
    settings.add_argument("--reset", action="store_true", help="forget all of them first")
    json_flag(settings)
    server_flags(settings)

    keys = commands.add_parser(
        "keys",
        help="the key that names the account",
        description="Print the public key, which is the account's id. Makes a key pair if there is none. The secret "
        "key stays in its file ($SALON_KEY, or salon/key in $XDG_CONFIG_HOME or ~/.config).",
    )
    keys.add_argument("--show", action="store_true", help="make nothing: refuse if there is none")
    json_flag(keys)


def page_flags(parser: Any, usual: int) -> None:
    """Add the flags that say how much of a list is wanted."""
    limit = whole("--limit", 1, MAX_PAGE, "or pass --all-pages")
    parser.add_argument(
        "--limit", type=limit, default=usual, metavar="N", help=f"lines of a page, 1 to {MAX_PAGE} ({usual})"
    )
    parser.add_argument("--all-pages", action="store_true", help="go on to the end")
