"""All kinds of jobs, measured: costs and prices, company, seams, doubled pictures, inpainting; and reading of prompts.

`python -m salon.bench.jobs [--quick] [--threads N] [--only PART ...]`

Every kind of job is made by an embedded durable studio as a program makes it. Its time is from the request until its
pictures are on disk, alone, in turns; beside it stands its price, and the unit of both is a grid from a prompt. Then
all kinds are made one after another and all at once, and every pixel is compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from ..runner import Bench, run
from . import company, inpainting, parser, seams
from .house import House

PARTS = ("parser", "costs", "company", "seams", "inpainting")
COLUMNS = [
    ["prompts", "a_second", "read_ms", "times_of_half"],
    ["job", "ms", "best", "of_grid", "price", "times"],
    ["picture", "pictures", "kinds", "seam", "psnr", "laplacian_of_bicubic"],
]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=PARTS, help="these parts alone")


def body(bench: Bench) -> None:
    chosen = bench.options.only or PARTS
    bench.columns = COLUMNS
    if "parser" in chosen:
        parser.body(bench)
    if not set(chosen) - {"parser"}:
        return
    with tempfile.TemporaryDirectory(prefix="salon-bench-jobs-") as folder:
        house = House(Path(folder) / "data", bench.threads, 2 if bench.tiny else None)
        try:
            if "costs" in chosen:
                company.costs(bench, house)
            if "company" in chosen:
                company.company(bench, house)
            if "seams" in chosen:
                seams.body(bench, house)
                seams.upscales(bench, house)
            if "inpainting" in chosen:
                inpainting.body(bench, house)
        finally:
            house.close()


main = partial(run, "jobs", (__doc__ or "").splitlines()[0], body, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
