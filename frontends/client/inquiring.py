"""Define the requests that are answered with texts, once for both clients.

Every method asks for a job, and returns it when it is on the server's disk; `job.texts()` waits for its answer. All
take by name what `MakingCommands.make` takes besides: `lane`, `private` and `key`; and they raise what it raises.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from ...bounds import DIGEST
from ...given import file_or_bytes
from ..wire import messages as m
from .flavours import operation
from .given import ARGUMENTS
from .making import MakingCommands, PictureFile, source_of
from .older import unsupported
from .remakes import PictureRemakes
from .steps import Steps

J = TypeVar("J")


def _picture(given: Any) -> Any:
    """Return what a picture on the server is called, or what brings one; None for any other value."""
    if isinstance(given, PictureRemakes):
        return given.source
    if isinstance(given, m.Source | tuple) or (isinstance(given, str) and re.fullmatch(DIGEST, given)):
        return source_of(given)
    return file_or_bytes(given)


ARGUMENTS.kinds["SomePicture"] = ("a picture: a file, the bytes of one, job[0], or (job id, index)", _picture)
SomePicture: TypeAlias = "PictureFile | m.Source | tuple[str, int] | PictureRemakes[Any]"


class InquiringCommands(MakingCommands[J], Generic[J]):
    """The questions that the model answers with texts. `J` is the type of the flavour's job."""

    @operation
    def describe(self, /, picture: SomePicture, **options: Any) -> Steps[J]:
        """Ask for four prompts that a picture might have been drawn of, in the model's own words.

        Args:
            picture: a file or its bytes, which is brought; what `add_reference` returned of one; a picture of a job,
                as `job[0]` or (job id, index from 0).
        """
        given: Any = picture  # as `_picture` has read it
        source = given if isinstance(given, m.Source) else m.Source(digest=(yield from self._bring(given)))
        return (yield from self._inquire("describe", "", (source,), options))

    @operation
    def shorten(self, /, prompt: str, **options: Any) -> Steps[J]:
        """Ask which words of a prompt carry weight, and for up to five shorter ones.

        Args:
            prompt: words; parameters behind them may say the size, such as "--ar 3:2".
        """
        return (yield from self._inquire("shorten", prompt, (), options))

    @operation
    def inquire(
        self,
        /,
        kind: str,
        prompt: str = "",
        *,
        sources: Sequence[m.Source | tuple[str, int] | str] = (),
        **options: Any,
    ) -> Steps[J]:
        """Ask for a job of any kind that makes texts. Arguments as of `make`."""
        return (yield from self._inquire(kind, prompt, sources, options))

    def _inquire(
        self, kind: str, prompt: str, sources: Sequence[m.Source | tuple[str, int] | str], options: dict[str, Any]
    ) -> Steps[J]:
        if "texts" not in (yield from self._welcome()).features:
            raise unsupported(f"jobs of the kind {kind!r}")
        return (yield from self._make(kind, prompt, sources, options))
