"""Flags of a request's parameters, made from the one list of them: as options they say what they say in the prompt."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import SalonError
from ...parameters.kinds import OneOf, Switch
from ...parameters.known import Parameter, parameters
from ...parameters.language.data import files_in, pictures_of, plain, want_made
from ...parameters.language.options import as_typed
from ...parameters.language.printing import joined
from ...parameters.language.prompt import Prompt, Said
from ...parameters.loras import Loras, TypedLora
from ...parameters.pictures import Form, Named, is_link, named
from ...parameters.references import OmniReferences, Picture, References, Typed
from .parsing import FILE, Names, Once, UsageError


class PictureFile(NamedTuple):
    """A picture's file that was read: its SHA-256 (hex) and its bytes."""

    digest: str
    data: bytes


class _Unread(Names):
    """Names for completion; the action reads the value, since it knows which of the flags was typed."""

    def __call__(self, text: str) -> str:
        return text


class _Say(Once):
    """Store a parameter's value, read by its kind."""

    parameter: Parameter

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        parameter, flag = self.parameter, option_string or self.parameter.label
        kind = parameter.kind
        if isinstance(kind, Switch):
            value: Any = True
        else:
            try:
                read = [kind.read(flag, text, parameter.remedy) for text in (values if kind.many else [values])]
            except SalonError as error:
                raise UsageError(str(error)) from error
            value = tuple(read) if kind.many else read[0]
        super().__call__(parser, namespace, value, option_string)


class _Spell(Once):
    """Store the value that a flag stands for."""

    value: Any
    word: str

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if self.word and values != self.word:
            raise UsageError(f"{option_string}: got {values!r}, allowed {self.word}; write it, or drop {option_string}")
        super().__call__(parser, namespace, self.value, option_string)


def add(
    group: Any,
    *,
    of_job: bool | None = None,
    told: bool = True,
    only: Collection[str] | None = None,
    job_kind: str | None = None,
) -> None:
    """Add the flags of all parameters that have some.

    Args:
        group: of a parser.
        only: of these parameters, by name; None: of all.
        of_job: only those that say how a job is done, or only the others; None: all.
        told: help lists them.
        job_kind: of a command that makes this kind of job, whose help leaves out what only others take; None: of any.
    """
    for parameter in parameters().values():
        if (of_job is None or parameter.of_job is of_job) and (only is None or parameter.name in only):
            of_others = bool(job_kind and parameter.job_kinds and job_kind not in parameter.job_kinds)
            _add(group, parameter, told and not parameter.missing and not of_others)


def _add(group: Any, parameter: Parameter, told: bool) -> None:
    kind = parameter.kind
    spelled = [each.flag for each in parameter.spellings if not each.word]
    default = f" ({parameter.default})" if parameter.default else ""
    short = f"also {', '.join(spelled)}" if spelled else kind.short
    text = f"{', '.join(filter(None, [parameter.help, short]))}{default}".replace("%", "%%")
    if parameter.flags:
        nargs: Any = ("*" if getattr(kind, "none", False) else "+") if kind.many else None
        action = group.add_argument(
            *parameter.flags,
            dest=parameter.dest,
            action=_Say,
            type=_Unread(parameter.label, kind.names) if isinstance(kind, OneOf) else str,
            metavar=kind.metavar or None,
            nargs=0 if isinstance(kind, Switch) else nargs,
            help=text if told else argparse.SUPPRESS,
        )
        action.parameter = parameter
        if isinstance(kind, References | Picture | OmniReferences | Loras):
            action.completes = FILE
    for spelling in parameter.spellings:
        action = group.add_argument(
            spelling.flag,
            dest=parameter.dest,
            action=_Spell,
            nargs=None if spelling.word else 0,
            metavar=spelling.word or None,
            help=argparse.SUPPRESS,
        )
        action.value, action.word = spelling.value, spelling.word


def said(options: argparse.Namespace) -> dict[str, Said]:
    """Return the parameters that were typed as options, by name."""
    found = {}
    for parameter in parameters().values():
        if parameter.dest in options.given and parameter.all_flags:
            flag = options.typed[parameter.dest]
            found[parameter.name] = Said(parameter.name, flag, getattr(options, parameter.dest))
    return found


def references(prompts: Sequence[Prompt], *, links: bool | None = None) -> dict[str, PictureFile]:
    """Read the pictures that prompts refer to, by path or link, before any other work.

    Args:
        prompts: as they were read.
        links: whether links are followed; None: a server does that, and they are left as they are.

    Raises:
        ReferenceRefused: one cannot be read as a picture.
        PromptRefused: this version knows a parameter by name alone; the picture that it names is not read.
        LinkRefused: a link, and `links` is False; or see `links.fetch`.
    """
    found: dict[str, PictureFile] = {}
    for prompt in prompts:
        want_made(prompt)
        pictures = [one for one in prompt.said.values() if not _loras_in(one.value)]
        typed = [(path, one.flag) for one in pictures for path in files_in(one.value)]
        typed += [(each.source, "image prompt") for each in prompt.pictures if each.form is Form.FILE]
        for path, flag in typed:
            if path not in found:
                found[path] = read_typed(path, flag)
        for link, flag in () if links is None else _links(prompt):
            if link not in found:
                found[link] = _fetched(link, flag, allowed=links is True)
    return found


def lora_files(prompts: Sequence[Prompt]) -> dict[str, str]:
    """Return the digests of the LoRA files that prompts name, by path: of each the header is read, then all bytes.

    Raises:
        CheckpointError: one cannot be read, or is no LoRA.
    """
    found: dict[str, str] = {}
    said = [one.value for prompt in prompts for one in prompt.said.values()]
    for path in [str(typed.source) for value in said for typed in _loras_in(value)]:
        if path not in found:
            found[path] = read_lora(path)
    return found


def read_lora(path: str) -> str:
    """Return the digest of a LoRA's file. CheckpointError: it cannot be read, or is no LoRA."""
    from ...engine.files.lora import LoraFile  # numpy: not for other requests
    from ...studio.loras import digest_of_file

    LoraFile(Path(path))
    return digest_of_file(Path(path))


def _loras_in(value: Any) -> list[TypedLora]:
    """Return the LoRA files that a value names."""
    found = value if isinstance(value, tuple) else (value,)
    return [each for each in found if isinstance(each, TypedLora) and each.is_file]


def _links(prompt: Prompt) -> Iterator[tuple[str, str]]:
    """Yield the links of pictures that a prompt names, each with what names it."""
    for one in prompt.said.values():
        for each in one.value if isinstance(one.value, tuple) else (one.value,):
            if isinstance(each, Typed) and is_link(each.source):
                yield str(each.source), one.flag
    yield from ((each.source, "image prompt") for each in prompt.pictures if each.form is Form.LINK)


def _fetched(link: str, flag: str, *, allowed: bool) -> PictureFile:
    from ...studio.references import read_picture
    from ...studio.service import links

    if not allowed:
        raise links.off(link, "download the picture and give its file, or pass --image-links")
    data = links.fetch(link, links.POLICY)
    return PictureFile(read_picture(data, f"{flag} {link[:100]!r}").digest, data)


def read_typed(path: str, flag: str) -> PictureFile:
    """Read a picture's file that was typed. ReferenceRefused, which names `flag`: it cannot be read as a picture."""
    from ...studio.references import read_file, read_picture  # Pillow and numpy: not for other requests

    data = read_file(path, flag)
    return PictureFile(read_picture(data, f"{flag} {path!r}").digest, data)


def sent(options: argparse.Namespace, digests: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return the prompt as it is sent, and what is said beside it as data; with digests in place of paths.

    Args:
        options: of the command line, with its `prompts`.
        digests: of the files, by path.
    """
    if not digests:
        return str(options.prompt), {name: plain(one) for name, one in said(options).items()}
    prompts = []
    for prompt in options.prompts:
        values = {
            name: replace(one, value=as_typed(name, plain(one, digests))) if files_in(one.value) else one
            for name, one in prompt.said.items()
        }
        pictures = tuple(named(each) or Named(each, Form.DIGEST) for each in pictures_of(prompt, digests))
        prompts.append(replace(prompt, said=values, pictures=pictures))
    if all(prompt == prompts[0] for prompt in prompts):
        return joined(prompts[:1]), {"repeat": len(prompts)} if len(prompts) > 1 else {}  # beside which a seed is none
    return joined(prompts), {}
