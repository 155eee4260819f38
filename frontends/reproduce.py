"""`salon recipe` and `salon reproduce`: what made a picture, and the same picture made again."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..bounds import WHOLE_INTERVAL
from ..errors import complaint
from .commands import exits, reproducing, words
from .commands.connection import server_of
from .commands.flags_make import parts_of
from .commands.flags_parameters import read_lora
from .commands.parsing import UsageError
from .commands.remote import refuse_misplaced
from .commands.tables import print_json, print_pairs
from .drawing import draw
from .outputs import Destination, slug

if TYPE_CHECKING:
    from ..engine.engine import Engine
    from ..studio.service.recipe import Recipe


def recipe(options: argparse.Namespace) -> int:
    """Show what made a picture. RecipeError: nothing says."""
    from ..studio.service.infotext import infotext
    from ..studio.service.recipe import plain
    from ..studio.service.recipe_files import read_picture_file

    _, found = read_picture_file(options.file)
    if options.json:
        print_json(plain(found))
    elif options.text:
        print("\n".join(map(words.clean, infotext(found).split("\n"))))
    else:
        print_pairs(_pairs(found))
    return exits.DONE


def reproduce(options: argparse.Namespace) -> int:
    """Make a picture again from the recipe inside it, here or on a server, and compare pixels. The exit code is 1 where
    they differ.

    Raises:
        RecipeError: the file has no recipe.
        UsageError: the recipe is of another model; it names both.
        SpecError: a picture or a LoRA that the recipe refers to was not given.
    """
    from ..engine.engine import Engine
    from ..engine.start import PictureForm, PictureUse, path_bytes
    from ..studio.references import digest_of, pictures_of, read_file, read_picture
    from ..studio.resources import References, needed
    from ..studio.service.mosaic import mosaic
    from ..studio.service.recipe import pixel_hash, plain, recipe_of
    from ..studio.service.recipe_files import encode, read_picture_file

    options.prompts = []
    refuse_misplaced(options)
    data = read_file(options.file, "FILE")
    _, found = read_picture_file(options.file)
    spec = found.spec
    target = None
    if options.output is not None:
        target = Destination.of(options.output, f"{slug(spec.prompt)}-{spec.seed}", 1, force=options.force)
        target.check(1)
    if server_of(options) is not None:
        return reproducing.reproduce(options, data, found, target)
    loras = {read_lora(path): path for path in options.lora}
    files = [read_file(path, "--reference") for path in options.reference]
    for path, file in zip(options.reference, files, strict=True):
        read_picture(file, f"--reference {path!r}")
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
    _check_model(found, engine)
    kept = References()
    for digest, path in loras.items():
        kept.put(PictureForm(digest, PictureUse.LORA), path_bytes(path))
    pictures = pictures_of(spec, {digest_of(file): file for file in files}.get, kept, engine.info)
    remedy = "name its file: --reference FILE, of a LoRA --lora FILE"
    for form, fitted in needed(spec, pictures, engine.info, remedy=remedy).items():
        engine.add_picture(form, fitted)
    generation = engine.open(spec)
    here = engine.info.backend
    told = "" if (found.backend, found.dtype) == (here.name, here.compute) else _elsewhere(found, engine)
    if told and not options.quiet:
        print(words.clean(f"salon: note: {told}"), file=sys.stderr, flush=True)
    images = draw(engine, generation, quiet=options.quiet)
    pixels = mosaic(images) if found.image is None else images[found.image]
    made = pixel_hash(pixels)
    same = made == found.pixels
    own = recipe_of(engine.info, spec, generation, found.image, pixels, __version__)
    engine.close(generation)
    written = [str(path) for path in target.write([encode(pixels, own, target.format)])] if target is not None else []
    if options.json:
        print_json({"same": same, "expected": found.pixels, "made": made, "files": written, "recipe": plain(own)})
    elif not options.quiet:
        print("the same pixels" if same else f"other pixels: {made}, in the recipe {found.pixels}")
        print("\n".join(written), end="\n" if written else "")
    return exits.DONE if same else exits.BROKEN


def _check_model(found: Recipe, engine: Engine) -> None:
    model = engine.info.identity
    if found.model.digest != model.digest:
        got, allowed = f"one of {found.model} ({found.model.digest})", f"one of {model} ({model.digest})"
        raise UsageError(complaint("recipe", got, allowed, "name the model that made it: --model FOLDER"))


def _elsewhere(found: Recipe, engine: Engine) -> str:
    here = engine.info.backend
    return f"it was made on {found.backend} {found.dtype}; on {here} pixels may differ"


def _pairs(found: Recipe) -> list[tuple[str, str]]:
    spec: Any = found.spec
    low, high = spec.guidance_interval
    guidance = f"guidance {spec.guidance_scale:g}"
    if (low, high) != WHOLE_INTERVAL:
        guidance += f" from {low:g} to {high:g} of the steps"
    guidance += "" if spec.embedded_guidance is None else f", embedded guidance {spec.embedded_guidance:g}"
    shown = "grid of " + words.plural(spec.images, "picture") if found.image is None else f"picture {found.image + 1}"
    return [
        ("prompt", spec.prompt),
        ("without", spec.negative_prompt),
        ("weights", words.weights(spec.prompt_weight, ((term.text, term.weight) for term in spec.terms))),
        ("what", f"{shown}, {spec.width} x {spec.height}, seed {spec.seed}"),
        ("how", f"{words.plural(spec.steps, 'step')}, {spec.solver}, {guidance}"),
        ("from", "" if spec.start is None else f"picture {spec.start.picture}, strength {spec.start.strength:g}"),
        ("knobs", ", ".join(f"{name} {value:g}" for name, value in spec.knobs.items())),
        ("style", ", ".join(f"{use.adapter} {use.weight:g}" for use in spec.adapters)),
        ("looks at", ", ".join(f"picture {use.picture} at {use.width} x {use.height}" for use in spec.references)),
        ("lora", ", ".join(f"{use.digest} {use.weight:g}" for use in spec.loras)),
        ("read", ", ".join(f"{slot}: {text}" for slot, text in found.clauses.items())),
        ("note", "; ".join(found.warnings)),
        ("model", f"{found.model} ({found.model.digest})"),
        ("on", f"{found.backend} {found.dtype}, Salon {found.salon}"),
        ("pixels", found.pixels),
    ]
