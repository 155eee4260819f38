"""`salon download`: the pictures of many jobs as one zip file."""

from __future__ import annotations

import argparse

from . import exits, words
from .connection import connected
from .organize import wanted_of
from .parsing import UsageError
from .tables import print_json


def download(options: argparse.Namespace) -> int:
    """Write a zip file."""
    wanted = wanted_of(options)
    if options.job and any(value not in ("", "own", False, None, (), 0) for value in wanted.values()):
        raise UsageError("--job: got it beside words or filters, allowed one or the other; drop one")
    with connected(options) as client:
        jobs = options.job or [job for job, pictures in client.organize.all_names(**wanted) if pictures]
        if not jobs:
            raise UsageError("download: got no jobs with pictures, allowed some; see `salon find` with the same flags")
        told = client.organize.download(options.output, jobs, force=options.force)
    if options.json:
        print_json({"file": options.output, **told})
    else:
        missing = (
            f"; {words.plural(told['missing'], 'job')} left out, see its manifest.jsonl" if told["missing"] else ""
        )
        size = words.size(told["bytes"])
        print(f"{words.clean(options.output)}: {words.plural(told['pictures'], 'picture')}, {size}{missing}")
    return exits.DONE
