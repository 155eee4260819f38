"""Views of very many pictures: the names of 100,000 jobs, asked of the store in every way that lists and searches do.

`python -m salon.bench.web [--quick] [--out DIR]`

The jobs are made straight in a store of its own (SQLite), with prompts of some ten words. What is timed is what the
service asks of the store; the wire adds what `bench.wire` measures.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from ..runner import Bench, run
from . import names


def body(bench: Bench) -> None:
    bench.use("sqlalchemy")
    with tempfile.TemporaryDirectory(prefix="salon-web-", ignore_cleanup_errors=True) as folder:
        names.measure(bench, Path(folder))


main = partial(run, "web", (__doc__ or "").splitlines()[0], body, tied_to="nothing")


if __name__ == "__main__":
    sys.exit(main())
