"""Flags of the commands that read what is inside a picture: `recipe` and `reproduce`."""

from __future__ import annotations

from typing import Any

from .flags_make import engine_flags, output_flag
from .parsing import FILE, PathName, json_flag, server_flags


def add(commands: Any) -> None:
    """Add the parsers of these commands."""
    recipe = commands.add_parser(
        "recipe",
        help="what made a picture",
        description="Show the recipe inside a picture that Salon made: a PNG, JPEG or WebP.",
    )
    _file(recipe)
    recipe.add_argument("--text", action="store_true", help="print it as other tools read it")
    json_flag(recipe, "print the whole recipe as one JSON object")

    reproduce = commands.add_parser(
        "reproduce",
        help="make a picture again, and compare",
        description="Make a picture again from the recipe inside it, here or on a server, and compare pixels. The exit "
        "code is 1 if they differ.",
        epilog="Example: salon reproduce outputs/a-red-apple-7.png",
    )
    _file(reproduce)
    picture = PathName("--reference", FILE)
    action = reproduce.add_argument(
        "--reference", type=picture, nargs="+", default=[], metavar="FILE",
        help="the pictures that it starts from, looks at or has the style of, where there are any",
    )  # fmt: skip
    action.completes = FILE
    action = reproduce.add_argument(
        "--lora", type=PathName("--lora", FILE), nargs="+", default=[], metavar="FILE",
        help="the LoRAs that it was made with",
    )  # fmt: skip
    action.completes = FILE
    where = reproduce.add_argument_group("where to put it")
    output_flag(where, "keep what was made: a folder, or a file name ending in .png, .jpg or .webp")
    where.add_argument("--force", action="store_true", help="overwrite the file that -o names")
    engine_flags(reproduce, "how to compute it, here")
    server_flags(reproduce)
    talk = reproduce.add_argument_group("what to print")
    talk.add_argument("--quiet", action="store_true", help="print errors only")
    json_flag(talk)


def _file(parser: Any) -> None:
    action = parser.add_argument("file", type=PathName("FILE", FILE), metavar="FILE", help="a picture that Salon made")
    action.completes = FILE
