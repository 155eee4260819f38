"""Run `salon`, the command line. `commands/exits.py` has the exit codes.

An error that the user can cause is one line on standard error, with the remedy. A command imports numpy, the engine,
ZeroMQ and the rest only after its arguments were read.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import FrameType
from typing import Final, NoReturn

from .. import __version__
from ..errors import SalonError
from ..parameters.errors import PromptRefused
from ..system import explain
from . import streams
from .arguments import parse
from .commands import exits
from .commands.flags_make import draws
from .commands.words import clean, typed

PROFILE: Final = (
    *("list", "new", "show", "public", "private", "delete", "events", "switch", "undo", "report", "codes", "revoke"),
)
MOODBOARD: Final = ("list", "new", "add", "remove", "show", "delete")
FOLDER: Final = ("list", "new", "rename", "delete", "add", "remove")
COMMANDS: Final[Mapping[str, str]] = {  # the module that has each command's function of a namespace
    "imagine": "imagine",
    "plan": "plan",
    "settings": "commands.settings",
    "doctor": "doctor",
    "recipe": "reproduce",
    "reproduce": "reproduce",
    "jobs": "commands.jobs",
    "show": "commands.show",
    "again": "again",
    "cancel": "commands.jobs",
    "delete": "commands.jobs",
    "info": "commands.account",
    "words": "commands.vocabulary",
    "wildcards": "commands.wildcards",
    "keys": "commands.account",
    **{f"account {name}": "commands.entry" for name in ("link", "token", "list", "revoke")},
    "ops status": "commands.ops",
    "ops top": "commands.top",
    "ops workers": "commands.ops",
    "ops pause": "commands.ops",
    "ops resume": "commands.ops",
    "ops drain": "commands.ops",
    "ops retry": "commands.ops",
    "ops accounts": "commands.books",
    "ops accounts set": "commands.books",
    "ops grant": "commands.books",
    "ops ledger": "commands.books",
    "ops blocks": "commands.books",
    "ops lift": "commands.books",
    "chat": "commands.chat",
    "rank": "commands.rank",
    "tune": "commands.tune",
    "like": "commands.like",
    "pick": "commands.like",
    **{f"profile {name}": "commands.profile" for name in PROFILE},
    **{f"moodboard {name}": "commands.moodboard" for name in MOODBOARD},
    **dict.fromkeys(("find", "publish", "hide"), "commands.organize"),
    **{f"folder {name}": "commands.organize" for name in FOLDER},
    **{f"preset {name}": "commands.organize" for name in ("list", "put", "delete")},
    "download": "commands.download",
    "serve": "commands.serve",
    "export": "commands.export",
    "build-plan": "commands.build_plan",
    "completion": "commands.completion",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: that of this process) and return its exit code."""
    streams.prepare()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        try:
            code = _run(sys.argv[1:] if argv is None else argv)
        except SystemExit as done:  # help or version was printed, or a signal ended the command
            code = int(done.code or 0)
        print(end="", flush=True)
        return code
    except KeyboardInterrupt as stop:
        return _refuse(str(stop) or "interrupted", exits.INTERRUPTED)
    except SalonError as error:
        code = _refuse(typed(str(error)), exits.code_of(error))
        place = error if isinstance(error, PromptRefused) else error.__cause__
        if isinstance(place, PromptRefused) and place.prompt:
            print(place.pointer(), file=sys.stderr)
        return code
    except MemoryError:
        return _refuse("out of memory; make fewer or smaller pictures, or free some memory")
    except ImportError as error:
        return _refuse(_of_import(error))
    except OSError as error:
        return _of_system(error)


def _of_system(error: OSError) -> int:
    """Print an error of the system with its own number. A lower floor should have raised a clearer one."""
    if streams.is_output(error):
        streams.silence()
        if isinstance(error, BrokenPipeError):  # the reader of our output is gone
            return 128 + signal.SIGPIPE
        return _refuse(f"{streams.STDOUT}: {explain(error).got}; send it somewhere else, or pass --quiet")
    got, _, remedy = explain(error)
    return _refuse(f"{got}: {error.filename}; {remedy}" if error.filename is not None else f"{got}; {remedy}")


def _of_import(error: ImportError) -> str:
    """Print a missing module, or one that the system could not load. dlopen gives its reason in words only."""
    for number in (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EACCES, errno.EPERM):
        if os.strerror(number) in str(error):
            return f"a module could not be loaded ({error}); {explain(OSError(number, os.strerror(number))).remedy}"
    if "failed to map segment" in str(error):
        return f"a module could not be loaded ({error}); free some memory, and try again"
    return f"the installation is incomplete ({error}); install Salon again: pip install ."


def _run(argv: Sequence[str]) -> int:
    options = parse(argv, __version__)
    command = options.command
    if command not in COMMANDS:  # another kind of job
        command = "imagine" if draws(command) else "inquire"
    module = import_module(f".{COMMANDS.get(command, command)}", __package__)
    code: int = getattr(module, function_of(command))(options)
    return code


def function_of(command: str) -> str:
    """Return the name of a command's function in its module: "ops accounts set" is `accounts_set`."""
    return command.removeprefix("ops ").replace(" ", "_").replace("-", "_")


def _refuse(message: str, code: int = exits.REFUSED) -> int:
    print("salon: error:", clean(message), file=sys.stderr)
    return code


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    """Unwind the stack on SIGTERM, so that temporary files are removed."""
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
