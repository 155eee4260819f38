"""`salon like` and `salon pick`: say which pictures of a job are liked."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from . import exits
from .connection import connected
from .rank import summary
from .tables import print_json

if TYPE_CHECKING:
    from ..wire.messages import TasteTaught


def like(options: argparse.Namespace) -> int:
    """Like a picture, or no longer."""
    with connected(options) as client:
        taught = client.like(options.job, options.number - 1, on=not options.off)
    liked = "no longer liked" if options.off else "liked"
    return _tell(options, taught, f"picture {options.number} of job {options.job} is {liked}")


def pick(options: argparse.Namespace) -> int:
    """Pick the liked pictures of a job."""
    numbers = sorted(set(options.numbers))
    with connected(options) as client:
        taught = client.taste.pick(options.job, [number - 1 for number in numbers], options.profile or "")
    what = f"picture{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    return _tell(options, taught, f"picked {what} of job {options.job}")


def _tell(options: argparse.Namespace, taught: TasteTaught, done: str) -> int:
    if options.json:
        print_json(taught)
    else:
        teaches = "" if taught.teaches else ", which teaches nothing"
        print(f"{done}{teaches} (event {taught.event}); {summary(taught.events, taught.needed)}")
    return exits.DONE
