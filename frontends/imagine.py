"""Run `salon imagine`: a prompt becomes PNG files, in this process or (`commands/remote.py`) on a server."""

from __future__ import annotations

import argparse
import json
import sys
import time

from .. import __version__
from ..bounds import MAX_PROMPT, random_seed
from ..engine.errors import PromptError
from ..errors import complaint
from ..parameters.request import fields_of
from .commands import remote, words
from .commands.connection import server_of
from .commands.flags_parameters import given, references, sent
from .outputs import Destination, slug
from .progress import progress


def imagine(options: argparse.Namespace) -> int:
    """Run the command with the namespace of `arguments.parse`. Every refusal is a `SalonError`, before any step.

    The order matters. The words and the place of the pictures are checked before the model is loaded, and no file gets
    its final name before everything is on disk.
    """
    started = time.perf_counter()
    _check_text("prompt", options.prompt)
    if options.no is not None:
        _check_text("--no", options.no)
    remote.refuse_misplaced(options)
    asked = given(options)
    files = references(asked)
    asked = sent(asked, {path: picture.digest for path, picture in files.items()})
    if server_of(options) is not None:
        return remote.imagine(options, asked, tuple(files))
    seed = random_seed() if options.seed is None else options.seed
    stem = f"{slug(options.prompt)}-{seed}"
    destination = Destination.of(options.output, stem, options.n, force=options.force)
    destination.check(1)

    from ..engine.engine import Engine
    from ..studio.service.mosaic import mosaic
    from ..studio.service.recipe import plain, recipe_of
    from ..studio.service.recipe_files import encode_png

    engine = Engine.load(
        options.model,
        backend=options.backend,
        isa=options.isa,
        dtype=options.dtype,
        threads=options.threads,
        require_text=True,
    )
    styles = engine.model.styles
    fields = fields_of(asked | {"seed": seed}, styles is not None and styles.default is not None)
    spec = engine.make_spec(options.prompt, **fields)
    for picture in files.values() if styles is not None else ():
        defaults, unit = engine.model.defaults, engine.model.architecture.granularity
        engine.add_style_picture(picture.digest, picture.pixels(defaults["width"] * defaults["height"], unit))
    generation = engine.open(spec)
    destination.check(_bytes_at_most(spec.width * spec.height, spec.images))
    loaded = time.perf_counter()
    if not options.quiet:
        for warning in (*getattr(engine.ops, "notes", ()), *map(words.typed, generation.warnings)):
            print(f"salon: note: {warning}", file=sys.stderr)
        pictures, steps = words.plural(spec.images, "picture"), words.plural(spec.steps, "step")
        print(
            f"{pictures}, {spec.width} x {spec.height}, {steps}, seed {seed}, on {engine.ops.name}",
            file=sys.stderr,
            flush=True,
        )
    with progress(len(generation.evaluations), quiet=options.quiet) as advance:
        while not (report := engine.step([generation])[0]).done:
            if report.error is not None:
                raise report.error
            advance(report.position)
        advance(report.position)
    images = engine.finish(generation)
    made = time.perf_counter()

    info = engine.info
    shown = list(enumerate(images)) if len(images) == 1 else [(None, mosaic(images)), *enumerate(images)]
    recipes = [recipe_of(info, generation.spec, generation, index, pixels, __version__) for index, pixels in shown]
    contents = [encode_png(pixels, recipe) for (_, pixels), recipe in zip(shown, recipes, strict=True)]
    written = [str(path) for path in destination.write(contents)]
    engine.close(generation)
    seconds = {
        "load": round(loaded - started, 3),
        "make": round(made - loaded, 3),
        "write": round(time.perf_counter() - made, 3),
    }
    if options.json:
        print(json.dumps({"files": written, "seed": seed, "seconds": seconds, "recipe": plain(recipes[0])}))
    elif not options.quiet:
        print(f"made in {seconds['make']:.2f} s (and {seconds['load']:.2f} s to load)", file=sys.stderr, flush=True)
        print("\n".join(written))
    return 0


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(complaint(name, "bytes that are no UTF-8", "text", "type it again")) from error
    if len(text) > MAX_PROMPT:
        raise PromptError(complaint(name, f"{len(text):,} characters", f"up to {MAX_PROMPT:,}", "shorten it"))
    if not text.strip():
        raise PromptError(complaint(name, repr(text), "some words", 'write some, like "a red apple"'))


def _bytes_at_most(pixels: int, images: int) -> int:
    """Return the most bytes that the pictures and their grid take, uncompressed, with the recipes."""
    return 2 * images * (3 * pixels + 64 * 1024)
