"""Views of very many pictures: the names of 100,000 jobs, and the page over 100,000 pictures in a browser.

`python -m salon.bench.web [--quick] [--out DIR]`

Names: the jobs are made straight in a store of its own (SQLite), with prompts of some ten words, and asked for in every
way that lists and searches do. What is timed is what the service asks of the store; the wire adds what `bench.wire`
measures.

The page: Debian's chromium without a screen, driven by Playwright, over the real server with a worker without a model,
so that nothing is drawn beside what is measured. First paint counts from the navigation, in a browser that has nothing
of the page yet, to the first frame with a picture in it. Frames are counted by requestAnimationFrame, while the wall is
scrolled by 40 pixels a frame, as one leafs through it, and by 240, where rows fly past without their pictures. In
Personalize it is the time from a key until the next pair is painted, whose pictures were loaded while one looked.
Streams are read by a program, not by browsers. Without chromium this half is left out.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from ..runner import Bench, run
from . import names, page


def body(bench: Bench) -> None:
    bench.use("sqlalchemy", "playwright", "uvicorn", "starlette")
    bench.columns = [*names.COLUMNS, *page.COLUMNS]
    with tempfile.TemporaryDirectory(prefix="salon-web-", ignore_cleanup_errors=True) as folder:
        names.measure(bench, Path(folder) / "names")
        page.measure(bench, Path(folder) / "page")


main = partial(run, "web", (__doc__ or "").splitlines()[0], body, tied_to="nothing")


if __name__ == "__main__":
    sys.exit(main())
