"""Flags of the commands that compute here: `imagine` (also on a server) and `doctor`."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any, Final

from ...bounds import MAX_THREADS
from ...engine.errors import SpecError
from ...errors import complaint
from ...kernels import backends
from ...plugins import folder
from ...studio.devices import read_devices
from ...system import expand_home
from . import flags_parameters
from .parsing import FILE, Names, Parser, PathName, UsageError, json_flag, server_flags, shown, whole

OWN_COMMAND: Final = ("imagine", "reproduce")  # kinds whose commands are not made from the list of them
KINDS: Final = folder("job kind", "salon.studio.jobs", "imagine")  # the names alone: no engine is loaded for them
REMAKES: Final = tuple(name for name in KINDS.names() if name not in OWN_COMMAND)  # commands that are
DTYPES: Final = ("bfloat16", "float32")


def add(commands: Any) -> None:
    """Add the parsers of these commands."""
    imagine = commands.add_parser(
        "imagine",
        help="make pictures of a prompt",
        usage="salon imagine PROMPT ... [FLAGS]",
        description="Make a grid of pictures of a prompt, as PNG with the recipe inside, here or on a server.",
        epilog="Example: salon imagine 'a red apple, 3d render, on a teal background' --n 2 --seed 7",
    )
    _imagine(imagine, "imagine")
    for name in REMAKES:
        what = str(KINDS.constant(name, "HELP"))
        if not draws(name):
            _inquiry(commands, name, what)
            continue
        whole = " [N]" if KINDS.constant(name, "WHOLE") else " N"
        kind = commands.add_parser(
            name,
            help=what,
            usage=f"salon {name} JOB{whole} | FILE ... [PROMPT] [FLAGS]",
            description=f"Make of a picture: {what}. The picture is one of a job's, counted from 1, or a file; a "
            "prompt, where there is one, takes the place of its own. A file that Salon did not make needs one.",
        )
        _imagine(kind, name, "PICTURE", "the picture, and perhaps a prompt")
    plan = commands.add_parser(
        "plan",
        help="what a prompt would do, and what it would cost",
        usage="salon plan PROMPT ... [FLAGS]",
        description="Show what `salon imagine` would do with a prompt, here or on a server: its jobs, every value and "
        "where it comes from, and the cost. Nothing is made or charged. FLAGS are those of `salon imagine` that say "
        "what to make, and these.",
        epilog="Example: salon plan 'a {red, green} apple --ar 3:2'",
    )
    _plan(plan)
    doctor = commands.add_parser(
        "doctor",
        help="what this machine has, and whether Salon works on it",
        usage="salon doctor [MODEL] [FLAGS]",
        description="Show CPU, backend and versions, what a model's files are and whether they fit, and try all of it. "
        "Exit code 1 if something does not work.",
        epilog="Example: salon doctor flux1-dev.safetensors",
    )
    place = doctor.add_argument(
        "place", nargs="?", type=PathName("MODEL", FILE), metavar="MODEL", help="same as --model"
    )
    place.completes = FILE
    engine_flags(doctor)
    json_flag(doctor)
    wildcards = commands.add_parser(
        "wildcards",
        help="the lists of words for __name__ in prompts",
        usage="salon wildcards [NAME] [FLAGS]",
        description="List the lists that prompts name as __NAME__, or the words of one: the server's, if there is a "
        "server, else the text files NAME.txt in $SALON_WILDCARDS (~/.config/salon/wildcards).",
        epilog="Example: salon wildcards colour",
    )
    wildcards.add_argument("name", nargs="?", default="", metavar="NAME", help="a list, to see its words")
    server_flags(wildcards)
    json_flag(wildcards)
    words = commands.add_parser(
        "words",
        help="what the model can draw",
        description="List the things, styles, palettes, backgrounds and finishes that the model knows by name.",
        epilog="Example: salon words --like lighthouse",
    )
    words.add_argument("--like", metavar="WORD", help="only the names that are near to this word, the nearest first")
    model = PathName("--model", FILE)
    words.add_argument("--model", type=model, metavar="PATH", help="a model's folder or file, here (the embedded one)")
    server_flags(words)
    json_flag(words)


def draws(name: str) -> bool:
    """Return whether a kind of job makes pictures, and no texts."""
    try:
        return bool(KINDS.constant(name, "DRAWS"))
    except ValueError:
        return True


def _inquiry(commands: Any, name: str, what: str) -> None:
    """Add the parser of a kind of job that makes texts."""
    of_picture = bool(KINDS.constant(name, "SOURCES")[1])
    metavar, text = ("PICTURE", "JOB N or FILE") if of_picture else ("PROMPT", "words (quotes are optional)")
    parser = commands.add_parser(
        name,
        help=what,
        usage=f"salon {name} {'JOB N | FILE' if of_picture else 'PROMPT ...'} [FLAGS]",
        description=f"Answer with texts: {what}, by the model itself, here or on a server."
        + (" The picture is one of a job's, counted from 1, or any picture's file." if of_picture else ""),
    )
    parser.add_argument("prompt", nargs="+", metavar=metavar, help=text)
    flags_parameters.add(parser, of_job=False, only=KINDS.constant(name, "PARAMETERS"))
    engine_flags(parser, "how to compute it, here")
    remote = parser.add_argument_group("how to have it made, on a server")
    flags_parameters.add(remote, of_job=True)
    remote.add_argument("--detach", action="store_true", help="print the job's id and do not wait")
    server_flags(parser)
    talk = parser.add_argument_group("what to print")
    talk.add_argument("--quiet", action="store_true", help="print errors and the texts only")
    json_flag(talk, "print one JSON object with the texts and times")
    parser.set_defaults(output=None, preview=None, force=False)


def _imagine(
    parser: Parser, job_kind: str, metavar: str = "PROMPT", text: str = "what to draw (words; quotes are optional)"
) -> None:
    parser.add_argument("prompt", nargs="+", metavar=metavar, help=text)
    what = parser.add_argument_group("what to make")
    flags_parameters.add(what, of_job=False, job_kind=job_kind)
    where = parser.add_argument_group("where to put it")
    output_flag(where, "a folder, or a name ending in .png, .jpg or .webp (outputs/WORDS-SEED.png)")
    where.add_argument("--force", action="store_true", help="overwrite the file that -o names")
    engine_flags(parser, "how to compute it, here")
    links_flag(parser)
    remote = parser.add_argument_group("how to have it made, on a server")
    flags_parameters.add(remote, of_job=True)
    preview = PathName("--preview", FILE)
    remote.add_argument("--preview", type=preview, metavar="FILE", help="keep the unfinished grid there, as JPEG")
    remote.add_argument("--detach", action="store_true", help="print the job's id and do not wait")
    server_flags(parser)
    talk = parser.add_argument_group("what to print")
    talk.add_argument("--quiet", action="store_true", help="print errors only")
    json_flag(talk, "print one JSON object with files, recipe and times")


def _plan(parser: Parser) -> None:
    parser.add_argument("prompt", nargs="+", metavar="PROMPT", help="what to draw (words; quotes are optional)")
    flags_parameters.add(parser, told=False)
    engine_flags(parser, "by which model, here")
    links_flag(parser)
    server_flags(parser)
    json_flag(parser, "print one JSON object with the jobs and the cost")


def links_flag(parser: Any) -> None:
    """Add the flag that says whether links of pictures are followed here."""
    text = "fetch pictures by links, here, from public addresses only"
    parser.add_argument("--image-links", action="store_true", help=text)


def output_flag(parser: Any, text: str) -> None:
    """Add the flag that says where pictures go.

    It is no `PathName`: `outputs` has its own wording for the empty name.
    """

    def path(text: str) -> str:
        return expand_home(text, "-o")

    action = parser.add_argument("-o", "--output", type=path, metavar="PATH", help=text)
    action.completes = FILE


def model_flags(group: Any) -> None:
    """Add the flags that say which model, and where its parts lie."""
    text = "a model's folder, in diffusers' layout, or single file (the embedded one)"
    group.add_argument("--model", type=PathName("--model", FILE), metavar="PATH", help=text)
    part_flags(group)


def part_flags(group: Any) -> None:
    """Add the flags that say where parts of a model lie."""
    flags = ("--text-encoder", "--vae", "--ip-adapter", "--image-encoder")
    encoder, vae, adapter, sees = (PathName(flag, FILE) for flag in flags)
    text = "a text encoder or tokenizer, may be repeated (the model's own)"
    group.add_argument("--text-encoder", type=encoder, action="append", metavar="PATH", help=text)
    group.add_argument("--vae", type=vae, metavar="PATH", help="an autoencoder (the model's own)")
    group.add_argument("--ip-adapter", type=adapter, metavar="FILE", help="an IP-Adapter, which --sref then uses")
    group.add_argument("--image-encoder", type=sees, metavar="PATH", help="its image encoder (the folder beside it)")


def parts_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the parts of a model that were named apart, as `Engine.load` and `ModelPath.of` take them."""
    return {
        "text_encoder": tuple(options.text_encoder or ()),
        "vae": options.vae,
        "ip_adapter": options.ip_adapter,
        "image_encoder": options.image_encoder,
    }


def engine_flags(parser: Any, title: str = "how to compute it", *, several: bool = False) -> None:
    """Add the flags that `Engine.load` takes; with `several` devices, for as many engines."""
    group = parser.add_argument_group(title)
    model_flags(group)
    backend = Names("--backend", backends.names())
    known = ", ".join(backends.names())
    group.add_argument("--backend", type=backend, default=backends.DEFAULT, metavar="NAME", help=f"{known} (cpu)")
    text = "like cuda:0,cuda:1, a worker on each" if several else "like cuda:0"
    device = partial(_device, several=several)
    group.add_argument("--device", type=device, metavar="NAME", help=f"{text} (the first, see `salon doctor`)")
    group.add_argument("--isa", metavar="NAME", help="instruction set, see `salon doctor` (SALON_ISA, else the best)")
    dtype = Names("--dtype", DTYPES)
    group.add_argument("--dtype", type=dtype, metavar="NAME", help=f"{' or '.join(DTYPES)} (bfloat16 where it is fast)")
    threads = whole("--threads", 1, MAX_THREADS, "leave it out to use every core")
    group.add_argument(
        "--threads", type=threads, metavar="N", help=f"1 to {MAX_THREADS} (SALON_THREADS, else one a core)"
    )


def _device(text: str, several: bool) -> str:
    try:
        names = read_devices(text)
    except SpecError as error:
        raise UsageError(f"--{error}") from error
    if len(names) > 1 and not several:
        raise UsageError(complaint("--device", shown(text), "one device", "start salon serve on several"))
    return ",".join(names)
