"""Define what can be made of a picture, or of a job as a whole, once for both clients.

Every method asks for a job, and returns it when it is on the server's disk. All take by name what
`MakingCommands.make` takes besides: `lane`, `private`, `previews`, `key`, and parameters such as `images=2`; and they
raise what it raises. A prompt that is left empty is that of the picture.
"""

from __future__ import annotations

import re
from typing import Any, Final, Generic, TypeVar

from ...bounds import DIGEST
from ...errors import complaint
from ...values import shown
from ..wire import messages as m
from .errors import invalid
from .flavours import Flavour, operation
from .making import MakingCommands, PictureFile
from .older import unsupported
from .steps import Steps, call, fetch

J = TypeVar("J")
OF_JOB: Final = r"\S+:[1-9][0-9]{0,2}"  # a picture of a job, as parameters name it


class OnServer(Flavour, Generic[J]):
    """What a request starts from.

    Attributes:
        source: how requests name it.
    """

    source: m.Source
    _commands: MakingCommands[J]

    def _make(self, kind: str, prompt: str, options: dict[str, Any]) -> Steps[J]:
        return (yield from self._commands._make(kind, prompt, (self.source,), options))


class JobRemakes(OnServer[J]):
    """What can be made of a job as a whole."""

    @operation
    def again(self, *, seed: int | None = None, previews: int | None = None, key: str | None = None) -> Steps[J]:
        """Ask for this job again as a new job, of any kind; see `client.again`."""
        return (yield from self._commands._again(self.source.job, seed, previews, key))

    @operation
    def reroll(self, /, prompt: str = "", **options: Any) -> Steps[J]:
        """Ask for the same once more, with another seed."""
        return (yield from self._make("reroll", prompt, options))


class PictureRemakes(OnServer[J]):
    """A picture on the server, and what can be made of it.

    `job[0]` is the first picture of a job; `client.picture("photo.png")` brings one.
    """

    def __repr__(self) -> str:
        return f"<{self.source}>"

    @operation
    def file(self) -> Steps[bytes]:
        """Return the picture as the server keeps it, with its recipe inside. Raises as `JobCommands.picture`.

        Invalid: it was brought, so that its file is not kept for others to fetch.
        """
        if not self.source.job:
            raise invalid(complaint("picture", "one that was brought", "one of a job", "use the file that you have"))
        return (yield from fetch(self._core, self.source.job, [self.source.index], self._timeout_s))[0]

    @operation
    def like(self, on: bool = True) -> Steps[m.TasteTaught]:
        """Like this picture of a job, or with `on` False no longer; see `client.like`. Invalid: it was brought."""
        if not self.source.job:
            raise invalid(complaint("picture", "one that was brought", "one of a job", "like what Salon has drawn"))
        if "taste" not in (yield from self._commands._welcome()).features:
            raise unsupported("taste")
        request = m.TasteLike(job=self.source.job, index=self.source.index, on=on)
        return (yield from call(self._core, request, m.TasteTaught, self._timeout_s))

    @operation
    def vary(self, /, how: str = "subtle", prompt: str = "", **options: Any) -> Steps[J]:
        """Ask for pictures near to this one.

        Args:
            how: "subtle" keeps its outlines, "strong" its layout.
        """
        strong = _one_of("vary", how, "subtle", "strong")
        return (yield from self._make("vary", prompt, {"strong": strong, **options}))

    @operation
    def region(self, /, mask: PictureFile, prompt: str = "", **options: Any) -> Steps[J]:
        """Ask for new pixels where a mask is white; those where it is black stay the very same.

        Args:
            mask: the file of a picture of the same size, or its bytes, or what `add_reference` returned of it.
        """
        return (yield from self._make("region", prompt, {"mask": (yield from self._named(mask)), **options}))

    @operation
    def zoom(self, /, times: float = 2.0, prompt: str = "", **options: Any) -> Steps[J]:
        """Ask for up to twice as much around this picture."""
        return (yield from self._make("zoom", prompt, {"zoom": times, **options}))

    @operation
    def pan(self, /, side: str = "right", prompt: str = "", **options: Any) -> Steps[J]:
        """Ask for this picture to go on at one side: left, right, up or down."""
        return (yield from self._make("pan", prompt, {"side": side, **options}))

    @operation
    def edit(
        self,
        /,
        prompt: str = "",
        *,
        place: tuple[int, int, int, int] | None = None,
        aspect: tuple[float, float] | None = None,
        mask: PictureFile | None = None,
        **options: Any,
    ) -> Steps[J]:
        """Ask for this picture on another canvas, moved and scaled, or with parts of it erased and drawn anew.

        Args:
            prompt: what to draw where the picture leaves room.
            place: (left, top, width, height) of the picture on the canvas, in pixels; it may reach beyond.
            aspect: of the canvas, as (3, 2).
            mask: a picture of the canvas's size, white where pixels shall be new; as of `region`.
        """
        named = None if mask is None else (yield from self._named(mask))
        return (yield from self._make("edit", prompt, {"place": place, "aspect": aspect, "mask": named, **options}))

    @operation
    def retexture(self, prompt: str, /, **options: Any) -> Steps[J]:
        """Ask for the shapes of this picture with another surface, which the prompt says."""
        return (yield from self._make("retexture", prompt, options))

    @operation
    def take(self, /, **options: Any) -> Steps[J]:
        """Ask for this picture as a job of its own: the very same pixels, free."""
        return (yield from self._make("take", "", options))

    @operation
    def upscale(self, /, how: str = "subtle", **options: Any) -> Steps[J]:
        """Ask for this picture at exactly twice its width and height.

        Args:
            how: "subtle" keeps the picture: brought down again, it is the same; "creative" draws detail anew.
        """
        creative = _one_of("upscale", how, "subtle", "creative")
        return (yield from self._make("upscale", "", {"creative": creative, **options}))

    @operation
    def enhance(self, /, prompt: str = "", **options: Any) -> Steps[J]:
        """Ask for this picture of a draft in full quality."""
        return (yield from self._make("enhance", prompt, options))

    def _named(self, picture: PictureFile) -> Steps[str]:
        """Return how a parameter names a picture, which is brought unless it has such a name already."""
        if isinstance(picture, str) and re.fullmatch(f"{DIGEST}|{OF_JOB}", picture):
            return picture
        return (yield from self._commands._bring(picture))


def _one_of(what: str, got: str, no: str, yes: str) -> bool | None:
    """Return True for `yes`, and None, which says nothing, for `no`. Invalid: it is neither."""
    if got not in (no, yes):
        raise invalid(complaint(what, shown(got), f"{no} or {yes}", "choose one"))
    return True if got == yes else None
