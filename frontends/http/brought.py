"""Take the pictures that a request brings: files of a form, data URLs, links, or files that were brought before.

They are checked before anything is kept, and kept before the request is submitted: it then names them by their SHA-256.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from ...bounds import MAX_LINK, MAX_REFERENCE_BYTES
from ...errors import SalonError, complaint
from ...parameters.pictures import is_link
from ...parameters.references import DIGEST
from ...studio.references import digest_of, mask_of, read_picture, size_of
from ...studio.service.service import Service
from ...values import shown, text_of
from .errors import HttpRefused, refusal_of
from .forms import Part

MOST: Final = 16  # pictures of a request
_DATA: Final = "data:"
_ALLOWED: Final = 'an object with one of "image_url" (a data: URL or a link) and "file_id"'


class Named(NamedTuple):
    """A picture as a request names it.

    Attributes:
        field: of the request.
        data: its file; None: it is not in the request.
        name: its SHA-256, or its link; "": `data` is all.
    """

    field: str
    data: bytes | None = None
    name: str = ""


class Brought(NamedTuple):
    """The pictures of a request, looked at.

    Attributes:
        names: SHA-256s of the pictures.
        mask: name of the mask, white where pixels shall be new; None: there is none.
        size: (width, height) in pixels of the first picture.
        files: what has to be kept before they can be used, by SHA-256.
    """

    names: tuple[str, ...]
    mask: str | None
    size: tuple[int, int]
    files: Mapping[str, bytes]


def named_in_form(parts: Sequence[Part]) -> tuple[list[Named], Named | None]:
    """Return the pictures of a form, and its mask. HttpRefused: a file under another name, or a second mask."""
    pictures: list[Named] = []
    mask = None
    for part in parts:
        if part.file is None:
            continue
        field = part.name.removesuffix("[]")
        if field == "image":
            pictures.append(Named(field, part.data))
        elif field == "mask" and mask is None:
            mask = Named(field, part.data)
        else:
            known = field == "mask"
            got, remedy = ("two files", "drop one") if known else ("a file", "drop it")
            text = complaint(shown(field)[:60], got, "files under image, image[] and one mask", remedy)
            raise HttpRefused(text, param=field[:60], code="invalid_value" if known else "unknown_parameter")
    return pictures, mask


def named_in_fields(fields: dict[str, Any]) -> tuple[list[Named], Named | None]:
    """Take the pictures and the mask of a JSON request out of its fields, and return them. HttpRefused: what is none of
    them."""
    given = fields.pop("images", None)
    if given is not None and not isinstance(given, list):
        raise _wrong("images", given, f"a list of up to {MOST} pictures")
    mask = fields.pop("mask", None)
    return [_named("images", each) for each in given or ()], None if mask is None else _named("mask", mask)


def _named(field: str, given: Any) -> Named:
    said = given if isinstance(given, dict) else {}
    if len(said) != 1 or not said.keys() <= {"image_url", "file_id"}:
        raise _wrong(field, given, _ALLOWED)
    ((kind, value),) = said.items()
    text = text_of(value) or ""
    if kind == "file_id":
        if not DIGEST.fullmatch(text):
            raise _wrong(field, value, "a file_id that /v1/files has given")
        return Named(field, None, text)
    if is_link(text) and len(text) <= MAX_LINK:
        return Named(field, None, text)
    return Named(field, data_of(field, text))


def data_of(field: str, text: str) -> bytes:
    """Return the bytes of a data: URL, or of base64 alone. HttpRefused: it is neither, or too long."""
    if text.startswith(_DATA):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise _wrong(field, head[:60], "a data: URL in base64, like data:image/png;base64,...")
    if len(text) > MAX_REFERENCE_BYTES // 3 * 4 + 8:
        got, allowed = f"{len(text):,} characters", f"a picture of up to {MAX_REFERENCE_BYTES:,} bytes"
        large = complaint(field, got, allowed, "save it smaller")
        raise HttpRefused(large, status=413, param=field, code="too_large")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise _wrong(field, text[:60], "a picture in base64, or as a data: URL")
    return data


async def looked_at(
    service: Service,
    account: str,
    pictures: Sequence[Named],
    mask: Named | None,
    white: Callable[[bytes, str], bytes] = mask_of,
) -> Brought:
    """Look at the pictures of a request.

    Args:
        service: which has those that were brought before.
        account: that asks.
        pictures: 1 to `MOST`.
        mask: of the first picture; None: there is none.
        white: makes the mask's file, white where pixels shall be new, of its file and its name.

    Raises:
        HttpRefused: none, too many, no picture, no mask, one of another size, or a link that is not followed; it names
            the field.
    """
    field = pictures[0].field if pictures else "image"
    if not 1 <= len(pictures) <= MOST:
        code = "invalid_value" if pictures else "missing_required_parameter"
        text = complaint(field, f"{len(pictures)} pictures", f"1 to {MOST}", "bring as many")
        raise HttpRefused(text, param=field, code=code)
    references = service.jobs.references
    pictures = [await _fetched(service, account, one) for one in pictures]
    mask = None if mask is None else await _fetched(service, account, mask)

    def file_of(named: Named, called: str) -> bytes:
        if named.data is None:
            return references.file(account, named.name)
        if called != "mask":
            read_picture(named.data, called)
        return named.data

    def look() -> Brought:
        found: dict[str, bytes] = {}
        names = list[str]()
        for number, one in enumerate(pictures, 1):
            with about(one.field):
                data = file_of(one, one.field if len(pictures) == 1 else f"{one.field} {number}")
                names.append(one.name or digest_of(data))  # what is kept is not the file that came, byte for byte
                found[names[-1]] = data
        size, masked = size_of(found[names[0]]), None
        files = {names[number]: one.data for number, one in enumerate(pictures) if one.data is not None}
        if mask is not None:
            with about("mask"):
                made = white(file_of(mask, "mask"), "mask")
                own = size_of(made, "mask")
                if own != size:
                    got, allowed = f"{own[0]} x {own[1]} pixels", f"{size[0]} x {size[1]}, like the picture"
                    raise SalonError(complaint("mask", got, allowed, "give it the picture's size"))
                masked = digest_of(made)
                files[masked] = made
        return Brought(tuple(names), masked, size, files)

    async with references.unpacking:
        return await asyncio.to_thread(look)


async def _fetched(service: Service, account: str, named: Named) -> Named:
    """Return a picture with the SHA-256 of what its link leads to, if it is one."""
    if not named.name:
        return named
    with about(named.field):
        return named._replace(name=str(await service.linked.brought(account, named.name)))


async def keep(service: Service, account: str, brought: Brought, field: str) -> None:
    """Keep the files that come with a request.

    Raises:
        HttpRefused: a policy does not allow one of them, which names the field, or they could not be stored.
    """
    if brought.files:
        with about(field):
            await service.waits.outlast(service.waits.begin(service.jobs.references.bring(account, brought.files)))


@contextmanager
def about(field: str) -> Iterator[None]:
    """Say of which field a refusal speaks, where it is one of what came with it."""
    try:
        yield
    except SalonError as error:
        refusal = refusal_of(error)
        if refusal.status == 400:
            refusal.param = field
        raise refusal from error


def _wrong(field: str, got: Any, allowed: str) -> HttpRefused:
    return HttpRefused(complaint(field, shown(got), allowed, "correct it"), param=field)
