"""Flags of the commands that write a model for other runtimes: `export` and `build-plan`."""

from __future__ import annotations

from typing import Any, Final

from .flags_make import DTYPES, part_flags
from .parsing import FILE, FOLDER, Names, PathName, json_flag, whole

MAX_SAMPLES: Final = 64


def add(commands: Any) -> None:
    """Add the parsers of these commands."""
    export = commands.add_parser(
        "export",
        help="write a model as ONNX graphs",
        usage="salon export [MODEL] -o DIR [FLAGS]",
        description="Write a model's evaluation as ONNX graphs, for runtimes that read these. A graph takes any batch: "
        "pictures of any sizes and texts of any lengths side by side. docs/onnx.md says what its inputs are.",
        epilog="Example: salon export flux1-dev -o flux1-dev-onnx",
    )
    _shared(export, "a new or empty folder")
    export.add_argument("--quiet", action="store_true", help="print errors only")
    json_flag(export)
    plan = commands.add_parser(
        "build-plan",
        help="build a TensorRT-RTX plan of a model",
        usage="salon build-plan [MODEL] -o DIR --shapes SIZES [FLAGS]",
        description="Build a plan of a model's graph by TensorRT for RTX, which needs no GPU for that, or find the one "
        "that was built of the same model for the same shapes and GPU.",
        epilog="Example: salon build-plan flux1-dev -o plans --shapes 512x512,1024x1024",
    )
    _shared(plan, "where plans are kept")
    text = "sizes like 512x512,1024x1024: all between the smallest and the largest, fastest at the last"
    plan.add_argument("--shapes", required=True, metavar="SIZES", help=text)
    samples = whole("--samples", 1, MAX_SAMPLES, "a guided picture is two samples")
    plan.add_argument("--samples", type=samples, default=2, metavar="N", help="samples of a step at most (2)")
    plan.add_argument("--gpu", default="any", metavar="NAME", help="a compute capability like sm89 (any)")
    json_flag(plan)


def _shared(parser: Any, output: str) -> None:
    """Add what both commands take. `output`: what the folder is."""
    model = parser.add_argument(
        "model", nargs="?", type=PathName("MODEL", FILE), metavar="MODEL",
        help="a model's folder or file (the embedded one)",
    )  # fmt: skip
    model.completes = FILE
    part_flags(parser)
    folder = parser.add_argument(
        "-o", "--output", type=PathName("-o", FOLDER), required=True, metavar="DIR", help=output
    )
    folder.completes = FOLDER
    dtype = Names("--dtype", DTYPES)
    text = f"what products read: {' or '.join(DTYPES)} (float32)"
    parser.add_argument("--dtype", type=dtype, default="float32", metavar="NAME", help=text)
