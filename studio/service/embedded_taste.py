"""Ask a durable studio about its user's taste: every method is one of `TasteService`, and waits for its answer."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ...bounds import LOCAL
from ...errors import complaint
from ...parameters.references import DIGEST
from ...values import path_of
from ..errors import ReferenceRefused, TasteRefused
from ..taste.contents import MOST_OF_ONE
from ..taste.types import (
    PROFILE,
    Dependants,
    LeftOut,
    Pair,
    TasteCode,
    TasteEvent,
    TasteProfile,
    TasteReport,
    Taught,
)
from .durable_job import ANSWER_S
from .given import checks_arguments

if TYPE_CHECKING:
    from .embedded import DurableStudio
    from .taste import TasteService

PAIR_S: Final = 90.0  # the longest wait for a pair: the first pictures may have to be drawn
Picture = str | os.PathLike[str] | bytes


@checks_arguments()
class DurableTaste:
    """The taste of a studio's user. Arguments and errors are those of `TasteService`, for the account of the studio;
    `timeout_s` is the longest wait for the answer, in seconds.

    Args:
        studio: answers.
    """

    def __init__(self, studio: DurableStudio) -> None:
        self._studio = studio

    def next_pair(self, profile: str = "", *, timeout_s: float = PAIR_S) -> Pair:
        """Return two pictures to choose between; see `TasteService.next_pair`."""
        return self._studio._ask(self._taste.next_pair(LOCAL, profile), timeout_s)

    def rank(self, pair: str, choice: str, *, timeout_s: float = ANSWER_S) -> Taught:
        """Answer a pair with "left", "right" or "skip"; see `TasteService.rank`."""
        return self._studio._ask(self._taste.rank(LOCAL, pair, choice), timeout_s)

    def pick(self, job: str, picked: Iterable[int], profile: str = "", *, timeout_s: float = ANSWER_S) -> Taught:
        """Pick pictures of a job by their indices from 0; see `TasteService.pick`."""
        return self._studio._ask(self._taste.pick(LOCAL, job, picked, profile), timeout_s)

    def like(self, job: str, index: int, on: bool = True, *, timeout_s: float = ANSWER_S) -> Taught:
        """Like a picture by its index from 0, or no longer; see `TasteService.like`."""
        return self._studio._ask(self._taste.like(LOCAL, job, index, on), timeout_s)

    def events(
        self, profile: str = "", before: int = 0, limit: int = 50, *, timeout_s: float = ANSWER_S
    ) -> tuple[TasteEvent, ...]:
        """Return events newest first; see `TasteService.events`."""
        return self._studio._ask(self._taste.events(LOCAL, profile, before, limit), timeout_s)

    def switch(self, event: int, on: bool, *, timeout_s: float = ANSWER_S) -> TasteEvent:
        """Have an event count or not, and return it; see `TasteService.switch`."""
        return self._studio._ask(self._taste.switch(LOCAL, event, on), timeout_s)

    def undo(self, profile: str = "", *, timeout_s: float = ANSWER_S) -> TasteEvent:
        """Switch the last event off, and return it; see `TasteService.undo`."""
        return self._studio._ask(self._taste.undo(LOCAL, profile), timeout_s)

    def profiles(self, *, timeout_s: float = ANSWER_S) -> tuple[TasteProfile, ...]:
        """Return all profiles, the global one first."""
        return self._studio._ask(self._taste.profiles(LOCAL), timeout_s)

    def profile(self, id: str = "", *, timeout_s: float = ANSWER_S) -> TasteProfile:
        """Return a profile by its id or name; "": the global one. TasteRefused: there is none."""
        return self._studio._ask(self._taste.profile(LOCAL, id), timeout_s)

    def new_profile(
        self,
        name: str,
        kind: str = PROFILE,
        pictures: Iterable[Picture] = (),
        styles: Iterable[Any] = (),
        public: bool = False,
        *,
        timeout_s: float = PAIR_S,
    ) -> TasteProfile:
        """Make a profile; see `TasteService.new_profile`.

        `pictures`: files, the bytes of some, or SHA-256s of pictures that are there. A file that is no picture is named
        in `left_out`, by its path or number, and the others are kept.
        """
        digests, left_out = self._brought(pictures, timeout_s)
        work = self._taste.new_profile(LOCAL, name, kind, digests, styles, public)
        return _with(self._studio._ask(work, timeout_s), left_out)

    def change_profile(
        self,
        id: str,
        name: str | None = None,
        public: bool | None = None,
        add: Iterable[Any] = (),
        remove: Iterable[Any] = (),
        *,
        timeout_s: float = PAIR_S,
    ) -> TasteProfile:
        """Change a profile; see `TasteService.change_profile`. `add`: of a moodboard as `pictures` of `new_profile`."""
        added, left_out = tuple(add), tuple[LeftOut, ...]()
        if added and self.profile(id).kind == "moodboard":
            added, left_out = self._brought(added, timeout_s)
        work = self._taste.change_profile(LOCAL, id, name, public, added, remove)
        return _with(self._studio._ask(work, timeout_s), left_out)

    def delete_profile(self, id: str, codes: str = "", *, timeout_s: float = ANSWER_S) -> Dependants:
        """Delete a profile, and "keep" or "revoke" its codes; "": only say what names it."""
        return self._studio._ask(self._taste.delete_profile(LOCAL, id, codes), timeout_s)

    def codes(self, profile: str = "", *, timeout_s: float = ANSWER_S) -> tuple[TasteCode, ...]:
        """Return the codes of a profile, or ("") of all, newest first; see `TasteService.codes`."""
        return self._studio._ask(self._taste.codes(LOCAL, profile), timeout_s)

    def revoke(self, code: str, *, timeout_s: float = ANSWER_S) -> TasteCode:
        """Make naming a code an error, and return it. TasteRefused: there is no such code."""
        return self._studio._ask(self._taste.revoke(LOCAL, code), timeout_s)

    def report(self, name: str = "", *, timeout_s: float = ANSWER_S) -> TasteReport:
        """Return what is known of how well a profile works; see `TasteService.report`."""
        return self._studio._ask(self._taste.report(LOCAL, name), timeout_s)

    def resolve(self, given: Iterable[Any] = (), *, timeout_s: float = ANSWER_S) -> tuple[tuple[str, float], ...]:
        """Return the codes, with weights, that names of profiles mean now; see `TasteService.resolve`."""
        return self._studio._ask(self._taste.resolve(LOCAL, tuple(given)), timeout_s)

    @property
    def _taste(self) -> TasteService:
        return self._studio._open.taste

    def _brought(self, pictures: Iterable[Picture], timeout_s: float) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
        """Return (the digests of pictures, which are kept now, those that are none and why).

        TasteRefused: they are more than a moodboard has; none is kept.
        """
        pictures = tuple(pictures)
        if len(pictures) > MOST_OF_ONE:
            got, allowed = f"{len(pictures):,}", f"up to {MOST_OF_ONE}"
            raise TasteRefused(complaint("pictures", got, allowed, "leave some out"))
        digests, left_out = list[str](), list[LeftOut]()
        for number, picture in enumerate(pictures, 1):
            if isinstance(picture, str) and DIGEST.fullmatch(picture):
                digests.append(picture)
                continue
            try:
                digests.append(self._studio.add_reference(picture, timeout_s=timeout_s))
            except ReferenceRefused as error:
                left_out.append(LeftOut(path_of(picture) or f"picture {number}", str(error)))
        return tuple(digests), tuple(left_out)


def _with(profile: TasteProfile, left_out: tuple[LeftOut, ...]) -> TasteProfile:
    return replace(profile, left_out=(*left_out, *profile.left_out))
