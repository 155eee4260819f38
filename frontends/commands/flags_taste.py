"""Flags of the commands about what an account likes: `rank`, `profile`, `moodboard`, `tune`, `like` and `pick`."""

from __future__ import annotations

from typing import Any, Final

from ...bounds import LANES, MAX_LABEL, MAX_PAGE, MAX_SEED
from .parsing import FILE, Names, Parser, PathName, job_id, json_flag, matching, server_flags, whole

GRAPHICS: Final = ("kitty", "iterm2", "sixel", "blocks", "shades")  # of `terminal/graphics.py`
TUNED: Final = 8  # pairs that `tune` shows
SHEET: Final = 4  # prompts of a report's pictures
NAME: Final = rf"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{{1,{MAX_LABEL}}}"


def add(commands: Any) -> None:
    """Add the parsers of these commands."""
    rank = commands.add_parser(
        "rank",
        help="choose between pictures, to teach a profile",
        description="Show two pictures at a time: 1 and 2 choose, 3 skips, u takes the last answer back and shows its "
        "pair again, q ends. What was answered stays, and the next time goes on from there.",
    )
    rank.add_argument("--profile", type=_name("--profile"), metavar="NAME", help="teach this one (the account's own)")
    graphics_flag(rank)
    _ends(rank, "print one JSON object at the end")
    _profile(commands)
    _moodboard(commands)
    tune = commands.add_parser(
        "tune",
        help="find styles for a prompt by choosing",
        description="Draw a prompt in numbered styles, two at a time, and make a profile of the styles that are "
        "chosen, whose code `--sref` and `--p` take. The pictures are ordinary jobs.",
        epilog="Example: salon tune 'a castle' --pairs 12",
    )
    tune.add_argument("prompt", nargs="+", metavar="PROMPT", help="what to draw (words; quotes are optional)")
    pairs = whole("--pairs", 1, 64, "8 is usual")
    tune.add_argument("--pairs", type=pairs, default=TUNED, metavar="N", help=f"how many choices, 1 to 64 ({TUNED})")
    tune.add_argument("--name", type=_name("--name"), metavar="NAME", help="of the profile (the prompt)")
    seed = whole("--seed", 0, MAX_SEED, "leave it out for a random one")
    tune.add_argument("--seed", type=seed, metavar="N", help="of all pictures, and of the styles that are tried")
    tune.add_argument("--lane", type=Names("--lane", LANES), metavar="NAME", help=f"{', '.join(LANES)} (the account's)")
    graphics_flag(tune)
    _ends(tune, "print one JSON object at the end")
    like = commands.add_parser(
        "like",
        help="like a picture",
        description="Like a picture of a job. Pictures of others teach the profile a little; one's own never do.",
    )
    like.add_argument("job", type=job_id(), metavar="JOB", help="its id")
    number = whole("N", 1, 1000, "count from 1")
    like.add_argument("number", type=number, metavar="N", help="which of its pictures, from 1")
    like.add_argument("--off", action="store_true", help="no longer")
    _ends(like)
    pick = commands.add_parser(
        "pick",
        help="pick the liked pictures of a job, to teach a profile",
        description="Pick the pictures of a job that you like; the others of it are weak evidence.",
    )
    pick.add_argument("job", type=job_id(), metavar="JOB", help="its id")
    pick.add_argument("numbers", nargs="+", type=number, metavar="N", help="which of its pictures, from 1")
    pick.add_argument("--profile", type=_name("--profile"), metavar="NAME", help="teach this one (the account's own)")
    _ends(pick)


def graphics_flag(parser: Any) -> None:
    """Add the flag that says how the terminal shows pictures."""
    graphics = Names("--graphics", GRAPHICS)
    parser.add_argument(
        "--graphics", type=graphics, metavar="NAME", help=f"{', '.join(GRAPHICS)} (the best that the terminal has)"
    )


def _profile(commands: Any) -> None:
    profile = commands.add_parser(
        "profile",
        help="what the account likes: profiles, codes, reports",
        description="Look after the profiles that answers, likes and picks have taught, and after their codes.",
    )
    below = profile.commands()

    def command(name: str, text: str, description: str, what: str = "print one JSON object") -> Parser:
        parser: Parser = below.add_parser(name, help=text, description=description)
        _ends(parser, what)
        return parser

    array = "print one JSON array"
    command("list", "all profiles", "List the profiles, moodboards and tuners of the account.", array)
    new = command("new", "make one", "Make a profile, for `salon rank --profile NAME`.")
    new.add_argument("name", type=_name("NAME"), metavar="NAME", help="of the profile")
    new.add_argument("--public", action="store_true", help="other accounts may name it")
    _one(command("show", "one of them", "Show a profile: how much it was taught, its kind and its last code."))
    events = command("events", "what taught it", "List the events of the log, newest first.", array)
    _one(events, optional="all")
    limit = whole("--limit", 1, MAX_PAGE, "or pass --all-pages")
    events.add_argument("--limit", type=limit, default=20, metavar="N", help=f"lines of a page, 1 to {MAX_PAGE} (20)")
    events.add_argument("--all-pages", action="store_true", help="go on to the end")
    switch = command("switch", "switch an event off or on", "Switch an event of the log off, or on again.")
    event = whole("EVENT", 1, 2**63 - 1, "`salon profile events` lists them")
    switch.add_argument("event", type=event, metavar="EVENT", help="its number")
    switch.add_argument("to", type=Names("STATE", ("off", "on")), metavar="STATE", help="off or on")
    undo = command("undo", "switch the last event off", "Switch off the last event that is on.")
    _one(undo, optional="of all profiles")
    report = command(
        "report",
        "whether it works",
        "Say how well a profile predicts choices that it did not learn from. With -o or --png, also draw the same "
        "prompts and seeds without it, with it, with its opposite and with a control; these are ordinary jobs.",
    )
    report.add_argument("name", nargs="?", type=_name("NAME"), metavar="NAME", help="a name or a code (the own one)")
    page = report.add_argument("-o", "--output", type=PathName("-o", FILE), metavar="FILE", help="write an HTML page")
    page.completes = FILE  # type: ignore[attr-defined]
    report.add_argument("--png", type=PathName("--png", FILE), metavar="FILE", help="write the pictures as one sheet")
    prompts = whole("--prompts", 1, 16, "4 is usual")
    report.add_argument(
        "--prompts", type=prompts, default=SHEET, metavar="N", help=f"things that are drawn, 1 to 16 ({SHEET})"
    )
    seed = whole("--seed", 0, MAX_SEED, "leave it out")
    report.add_argument("--seed", type=seed, default=1, metavar="N", help="of the first picture (1)")
    report.add_argument("--lane", type=Names("--lane", LANES), metavar="NAME", help="of the jobs (the account's)")
    report.add_argument("--force", action="store_true", help="overwrite these files")
    codes = command("codes", "their codes", "List codes, newest first. Of NAME the present state gets one.", array)
    _one(codes, optional="of all profiles, as they are")
    delete = command("delete", "delete one", "Delete a profile, after showing what names it.")
    _one(delete)
    _fate(delete)
    revoke = command("revoke", "make a code an error", "Make naming a code an error, for everybody, for ever.")
    code = matching("CODE", "[a-z2-7]{16}", "16 characters of a-z and 2-7", "`salon profile codes` lists them")
    revoke.add_argument("code", type=code, metavar="CODE", help="a code of one's own")
    _one(command("public", "let others name it", "Let other accounts name a profile."))
    _one(command("private", "let nobody else name it", "Let no other account name a profile. Its codes still work."))


def _moodboard(commands: Any) -> None:
    board = commands.add_parser(
        "moodboard",
        help="styles from pictures of one's own",
        description="Look after moodboards: collections of pictures, which `--p` takes as a profile.",
    )
    below = board.commands()

    def command(name: str, text: str, description: str) -> Parser:
        parser: Parser = below.add_parser(name, help=text, description=description)
        _ends(parser, "print one JSON array" if name == "list" else "print one JSON object")
        return parser

    new = command("new", "make one", "Make a moodboard of pictures' files. Files that are none are named and left out.")
    add_ = command("add", "add pictures", "Add pictures' files to a moodboard.")
    for parser in (new, add_):
        parser.add_argument("name", type=_name("NAME"), metavar="NAME", help="of the moodboard")
        files = parser.add_argument("files", nargs="+", type=PathName("FILE", FILE), metavar="FILE", help="pictures")
        files.completes = FILE  # type: ignore[attr-defined]
    new.add_argument("--public", action="store_true", help="other accounts may name it")
    remove = command("remove", "remove pictures", "Remove pictures from a moodboard.")
    remove.add_argument("name", type=_name("NAME"), metavar="NAME", help="of the moodboard")
    digest = matching("DIGEST", "[0-9a-f]{6,64}", "6 to 64 hex digits", "`salon moodboard show NAME` lists them")
    remove.add_argument("digests", nargs="+", type=digest, metavar="DIGEST", help="beginnings of their digests")
    _one(command("show", "one of them", "Show a moodboard and its pictures."))
    command("list", "all of them", "List the moodboards of the account.")
    delete = command("delete", "delete one", "Delete a moodboard, after showing what names it.")
    _one(delete)
    _fate(delete)


def _one(parser: Any, optional: str = "") -> None:
    """Add the name of a profile. `optional`: it may be left out, and what holds then."""
    text = f"id or name of one ({optional})" if optional else "its id or name"
    parser.add_argument("name", nargs="?" if optional else None, type=_name("NAME"), metavar="NAME", help=text)


def _fate(parser: Any) -> None:
    group = parser.add_mutually_exclusive_group()
    keep, revoke = "its codes go on working", "its codes become an error, for everybody"
    group.add_argument("--keep-codes", dest="codes", action="store_const", const="keep", default="", help=keep)
    group.add_argument("--revoke-codes", dest="codes", action="store_const", const="revoke", default="", help=revoke)


def _name(flag: str) -> Any:
    return matching(flag, NAME, f"1 to {MAX_LABEL} characters on one line", "`salon profile list` lists them")


def _ends(parser: Any, what: str = "print one JSON object") -> None:
    json_flag(parser, what)
    server_flags(parser)
