"""Flags of `export`, which writes a model for other runtimes."""

from __future__ import annotations

from typing import Any

from .flags_make import DTYPES
from .parsing import FILE, FOLDER, Names, PathName, json_flag


def add(commands: Any) -> None:
    """Add the parser of the command."""
    export = commands.add_parser(
        "export",
        help="write a model as ONNX graphs",
        usage="salon export [MODEL] -o DIR [FLAGS]",
        description="Write a model's evaluation as ONNX graphs, for runtimes that read these. A graph takes any batch: "
        "pictures of any sizes and texts of any lengths side by side. docs/onnx.md says what its inputs are.",
        epilog="Example: salon export flux1-dev -o flux1-dev-onnx",
    )
    model = export.add_argument(
        "model", nargs="?", type=PathName("MODEL", FILE), metavar="MODEL",
        help="a model's folder or file (the embedded one)",
    )  # fmt: skip
    model.completes = FILE
    output = export.add_argument(
        "-o", "--output", type=PathName("-o", FOLDER), required=True, metavar="DIR", help="a new or empty folder"
    )
    output.completes = FOLDER
    dtype = Names("--dtype", DTYPES)
    text = f"what products read: {' or '.join(DTYPES)} (float32)"
    export.add_argument("--dtype", type=dtype, default="float32", metavar="NAME", help=text)
    export.add_argument("--quiet", action="store_true", help="print errors only")
    json_flag(export)
