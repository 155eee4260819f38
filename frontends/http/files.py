"""Answer `/v1/files`: pictures that a program brings once, and names by their ids in later requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request

from ...errors import complaint
from ...parameters.references import DIGEST
from ...studio.service.files import MAX_NAME, StoredFile
from ...studio.service.service import Service
from ...values import shown
from .bodies import FORM, want_kind
from .brought import about
from .errors import HttpRefused
from .forms import Part, fields_of, form_of

PURPOSES: Final = ("vision", "user_data")  # those of OpenAI's that a picture can have
MAX_PAGE: Final = 10_000
_QUERY: Final = ("after", "limit", "order", "purpose")


def is_file(name: str) -> bool:
    """Return whether a name is the id of a file, not a link's."""
    return DIGEST.fullmatch(name) is not None


class Files:
    """The files of all accounts. Used on the event loop's thread.

    Args:
        service: has them.
    """

    def __init__(self, service: Service) -> None:
        self._files = service.files

    async def create(self, request: Request, account: str, take: Callable[[int], None]) -> dict[str, Any]:
        """Keep a file, and return what there is to say of it. `take`: of a `Room`.

        Raises:
            HttpRefused: as `form_of`; also for a field that is missing, unknown or wrong.
            As `ServiceFiles.add`.
        """
        want_kind(request, FORM)
        parts = await form_of(request, take)
        file = _file_in(parts)
        fields = fields_of(parts)
        purpose = fields.pop("purpose", None)
        if purpose not in PURPOSES:
            raise _wrong("purpose", purpose, " or ".join(PURPOSES))
        for name in fields:
            text = complaint(shown(name)[:60], "it", "file and purpose", "drop it")
            raise HttpRefused(text, param=name[:60], code="unknown_parameter")
        name = " ".join("".join(each if each.isprintable() else " " for each in file.file or "").split())
        with about("file"):
            return said_of(await self._files.add(account, file.data, name[:MAX_NAME] or "picture", str(purpose)))

    async def list(self, request: Request, account: str) -> dict[str, Any]:
        """Return a page of an account's files. HttpRefused: a field of the query is unknown or wrong."""
        query = request.query_params
        for name in query:
            if name not in _QUERY:
                text = complaint(shown(name)[:60], "it", ", ".join(_QUERY), "drop it")
                raise HttpRefused(text, param=name[:60], code="unknown_parameter")
        limit = query.get("limit", str(MAX_PAGE))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 6 and 1 <= int(limit) <= MAX_PAGE):
            raise _wrong("limit", limit, f"a whole number from 1 to {MAX_PAGE:,}")
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise _wrong("order", order, "asc or desc")
        files = await self._files.list(account)
        if order == "asc":
            files.reverse()
        after = query.get("after")
        if after is not None:
            ids = [file.id for file in files]
            if after not in ids:
                raise _wrong("after", after, "the id of one of your files")
            files = files[ids.index(after) + 1 :]
        files = [file for file in files if query.get("purpose", file.purpose) == file.purpose]
        page = [said_of(file) for file in files[: int(limit)]]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return {"object": "list", "data": page, "has_more": len(files) > len(page), **ends}

    async def find(self, account: str, id: str) -> dict[str, Any]:
        """Return what there is to say of a file. UnknownFile: there is none of this id."""
        return said_of(await self._files.find(account, id))

    async def content(self, account: str, id: str) -> bytes:
        """Return the bytes of a file. UnknownFile: there is none of this id."""
        return await self._files.content(account, id)

    async def delete(self, account: str, id: str) -> dict[str, Any]:
        """Delete a file, and return what is said of that. Raises as `ServiceFiles.delete`."""
        await self._files.delete(account, id)
        return {"id": id, "object": "file", "deleted": True}


def said_of(file: StoredFile) -> dict[str, Any]:
    """Return a file as OpenAI's clients know one."""
    return {
        "id": file.id, "object": "file", "bytes": file.size, "created_at": file.made_ms // 1000,
        "filename": file.name, "purpose": file.purpose, "status": "processed",
    }  # fmt: skip


def _file_in(parts: list[Part]) -> Part:
    """Return the file of a form. HttpRefused: there is none, several, or one under another name."""
    files = [part for part in parts if part.file is not None]
    for part in files:
        if part.name != "file":
            raise HttpRefused(
                complaint(shown(part.name)[:60], "a file", "one under the name file", "drop it"),
                param=part.name[:60], code="unknown_parameter",
            )  # fmt: skip
    if len(files) != 1:
        code = "invalid_value" if files else "missing_required_parameter"
        raise HttpRefused(complaint("file", f"{len(files)} files", "one", "bring one"), param="file", code=code)
    return files[0]


def _wrong(field: str, got: Any, allowed: str) -> HttpRefused:
    return HttpRefused(complaint(field, shown(got), allowed, "correct it"), param=field)
