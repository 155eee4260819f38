"""`salon reproduce` on a server: a picture is made again there, and compared here."""

from __future__ import annotations

import argparse
import io
from typing import TYPE_CHECKING, Any

from . import exits, remote, tables
from .connection import Contact, connected, server_of

if TYPE_CHECKING:
    from ...studio.service.recipe import Recipe
    from ..outputs import Destination


def reproduce(options: argparse.Namespace, data: bytes, found: Recipe, target: Destination | None) -> int:
    """Have a picture made again, and say whether it has the same pixels. Ctrl-C and SIGTERM cancel the job.

    Args:
        data: the picture's file.
        found: the recipe inside it.
        target: where what was made goes; None: nowhere.
    """
    from ...studio.service.recipe_files import read_png, transcode

    options.preview = None
    with connected(options, contact=Contact(server_of(options) or "", quiet=options.quiet)) as client:
        for path in options.reference:
            client.add_reference(path)
        for path in options.lora:
            client.add_lora(path)
        job = client.make("reproduce", sources=[client.add_reference(data)])
        try:
            remote.follow(job, options)
        except (KeyboardInterrupt, SystemExit) as stop:
            remote.cancel([job], stop)
        job.wait()
        file = job.grid() if found.image is None else job.picture(found.image)
        info = job.refresh()
    again = read_png(io.BytesIO(file))[1]
    same = again.pixels == found.pixels
    files = [] if target is None else [str(path) for path in target.write([transcode(file, target.format)])]
    told: dict[str, Any] = {"same": same, "expected": found.pixels, "made": again.pixels, "files": files}
    if options.json:
        from ...studio.service.recipe import plain

        tables.print_json({**told, "recipe": plain(again), "job": tables.plain(info)})
    elif not options.quiet:
        print("the same pixels" if same else f"other pixels: {again.pixels}, in the recipe {found.pixels}")
        print("\n".join(files), end="\n" if files else "")
    return exits.DONE if same else exits.BROKEN
