"""`salon`: the command line. Exit codes: 0 done, 1 `doctor` found something broken, 2 refused, 130 interrupted.

An error that the user can cause is one line on standard error, with the remedy. Numpy, the engine and the rest are
imported by the command that needs them, after its arguments were read.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Final, NoReturn

from .. import __version__
from ..engine.errors import SalonError
from .arguments import parse

REFUSED: Final = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: that of this process) and return its exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        try:
            code = _run(sys.argv[1:] if argv is None else argv)
        except SystemExit as done:  # help or version was printed, or we were told to end
            code = int(done.code or 0)
        print(end="", flush=True)
        return code
    except KeyboardInterrupt:
        return _refuse("interrupted", 128 + signal.SIGINT)
    except BrokenPipeError:
        # Whoever read our output is gone. Python would complain again while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except SalonError as error:
        return _refuse(str(error))
    except MemoryError:
        return _refuse("out of memory; make fewer or smaller pictures, or free some memory")
    except ImportError as error:
        return _refuse(f"the installation is incomplete ({error}); install Salon again: pip install .")
    except OSError as error:
        if error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _refuse(f"standard output: {error.strerror}; send it somewhere else, or pass --quiet")


def _run(argv: Sequence[str]) -> int:
    options = parse(argv, __version__)
    if options.command == "imagine":
        from .imagine import imagine

        return imagine(options)
    from .doctor import doctor

    return doctor(options)


def _refuse(message: str, code: int = REFUSED) -> int:
    print("salon: error:", " ".join(message.split()), file=sys.stderr)
    return code


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM unwinds the stack, so that temporary files go."""
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
