"""Run `salon imagine`: a prompt becomes PNG files, in this process or (`commands/remote.py`) on a server."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..bounds import random_seed
from ..studio.prompt import presets
from ..studio.prompt.resolve import Facts, resolve
from ..studio.prompt.wildcards import left_open
from .commands import remote, words
from .commands.connection import server_of
from .commands.flags_make import parts_of
from .commands.flags_parameters import lora_files, read_typed, references
from .commands.pictures import destinations_of
from .commands.wildcards import own_words
from .drawing import draw
from .outputs import Destination
from .remaking import remade_here, want_files

if TYPE_CHECKING:
    from ..engine.engine import Engine
    from ..engine.generation import Generation
    from ..studio.service.recipe import Recipe


@dataclass(frozen=True)
class _Made:
    """What became of one request: its files and their recipe, and seconds of making and of writing."""

    files: list[str]
    recipe: Recipe
    seed: int
    make_s: float
    write_s: float


def imagine(options: argparse.Namespace) -> int:
    """Run the command with the namespace of `arguments.parse`. Every refusal is a `SalonError`, before any step.

    The order matters. The words and the place of the pictures are checked before the model is loaded, and no file gets
    its final name before everything is on disk.
    """
    started = time.perf_counter()
    remote.refuse_misplaced(options)
    files = references(options.prompts, links=None if server_of(options) is not None else options.image_links)
    files |= {path: read_typed(path, options.command) for path in (one.path for one in options.sources) if path}
    loras = lora_files(options.prompts)
    digests = {path: file.digest for path, file in files.items()} | loras
    facts = Facts(default_style=True, job_kind=options.command, remakes=bool(options.sources))
    there = server_of(options) is not None  # then the server has the words
    lists = left_open if there else own_words
    requests = [
        resolve(prompt, facts, digests=digests, lists=lists, presets=presets.left_open) for prompt in options.prompts
    ]
    if there:
        return remote.imagine(options, requests, digests, loras)
    if options.sources:
        want_files(options.sources, options.command)
    seeds = [int(request.fields.get("seed", random_seed())) for request in requests]
    destinations = destinations_of(options, requests, seeds)

    from ..engine.engine import Engine
    from ..studio.kinds import want_family
    from ..studio.references import aspect_of, pictures_of, with_sizes
    from ..studio.resources import References

    engine = Engine.load(
        options.model,
        **parts_of(options),
        backend=options.backend,
        isa=options.isa,
        dtype=options.dtype,
        threads=options.threads,
        device=options.device,
        require_text=True,
    )
    styles = engine.model.styles
    has_default = styles is not None and styles.default is not None
    by_digest = dict(files.values())
    for path, digest in loras.items():
        engine.add_lora(digest, path)
    specs, forms = [], References()
    for request, seed in zip(requests, seeds, strict=True):
        want_family(request.values, engine.model.family)
        fields = request.fields_for(has_default)
        if options.sources:
            spec = remade_here(options, request.text, fields, seed, by_digest, digests, engine.info)
        else:
            fields["seed"] = seed
            aspect = fields.pop("aspect", aspect_of(fields, by_digest.get, engine.model.references))
            spec = engine.make_spec(request.text, aspect=aspect, **with_sizes(fields, by_digest.get))
        for form, pixels in pictures_of(spec, by_digest.get, forms, engine.info).items() if files else ():
            engine.add_picture(form, pixels)
        specs.append(spec)
    destinations = [replace(one, images=spec.images) for one, spec in zip(destinations, specs, strict=True)]
    for spec in specs[1:]:  # all are taken, or none is begun
        engine.close(engine.open(spec))
    made: list[_Made] = []
    loaded = time.perf_counter()
    for spec, destination in zip(specs, destinations, strict=True):
        opening = time.perf_counter()
        generation = engine.open(spec)
        loaded += time.perf_counter() - opening if not made else 0.0
        made.append(_make(engine, generation, destination, options))
    load_s = round(loaded - started, 3)
    told = [
        {"files": one.files, "seed": one.seed, "seconds": _seconds(one, load_s), "recipe": _plain(one.recipe)}
        for one in made
    ]
    if options.json:
        print(json.dumps(told[0] if len(told) == 1 else {"jobs": told}))
    elif not options.quiet:
        make_s = sum(one.make_s for one in made)
        print(f"made in {make_s:.2f} s (and {load_s:.2f} s to load)", file=sys.stderr, flush=True)
        print("\n".join(path for one in made for path in one.files))
    return 0


def _make(engine: Engine, generation: Generation, destination: Destination, options: argparse.Namespace) -> _Made:
    from ..studio.service.mosaic import mosaic
    from ..studio.service.recipe import recipe_of
    from ..studio.service.recipe_files import encode

    started = time.perf_counter()
    spec = generation.spec
    destination.check(_bytes_at_most(spec.width * spec.height, spec.images))
    if not options.quiet:
        for warning in (*getattr(engine.ops, "notes", ()), *map(words.typed, generation.warnings)):
            print(f"salon: note: {warning}", file=sys.stderr)
        pictures, steps = words.plural(spec.images, "picture"), words.plural(spec.steps_taken, "step")
        print(
            f"{pictures}, {spec.width} x {spec.height}, {steps}, seed {spec.seed}, on {engine.ops.name}",
            file=sys.stderr,
            flush=True,
        )
    images = draw(engine, generation, quiet=options.quiet)
    made = time.perf_counter()

    info = engine.info
    shown = list(enumerate(images)) if len(images) == 1 else [(None, mosaic(images)), *enumerate(images)]
    recipes = [recipe_of(info, generation.spec, generation, index, pixels, __version__) for index, pixels in shown]
    contents = [encode(pixels, recipe, destination.format) for (_, pixels), recipe in zip(shown, recipes, strict=True)]
    written = [str(path) for path in destination.write(contents)]
    engine.close(generation)
    return _Made(written, recipes[0], spec.seed, made - started, time.perf_counter() - made)


def _seconds(made: _Made, load_s: float) -> dict[str, float]:
    return {"load": load_s, "make": round(made.make_s, 3), "write": round(made.write_s, 3)}


def _plain(recipe: Recipe) -> dict[str, Any]:
    from ..studio.service.recipe import plain

    whole: dict[str, Any] = plain(recipe)
    return whole


def _bytes_at_most(pixels: int, images: int) -> int:
    """Return the most bytes that the pictures and their grid take, uncompressed, with the recipes."""
    return 2 * images * (3 * pixels + 64 * 1024)
