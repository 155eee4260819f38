"""Define the requests about what an account likes, once for both clients: pairs, likes, profiles and their codes.

Every method may raise `Unsupported` (the server knows nothing of taste) besides what all requests raise; see
`errors.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final, Generic, TypeVar

from msgspec.structs import replace

from ...bounds import DIGEST, MAX_PAGE
from ...errors import complaint
from ...values import path_of
from ..wire import messages as m
from .errors import Invalid, invalid
from .exchanges import Call
from .flavours import Flavour, operation, stream
from .given import style_weights
from .jobs import JobCommands
from .making import MakingCommands, PictureFile
from .older import unsupported
from .remakes import PictureRemakes
from .steps import Item, R, Steps, Stream, asked, call, fetch, take_answer, wait

PAIR_S: Final = 90.0  # the longest wait for a pair: the first pictures may have to be drawn
J = TypeVar("J")
A = TypeVar("A")


class PairSide(PictureRemakes[J]):
    """One of the two pictures of a pair, of which more can be made.

    Attributes:
        info: what is known of it, such as its prompt.
    """

    info: m.PairPicture

    @operation
    def picture(self) -> Steps[bytes]:
        """Return the picture's file. Raises as `JobCommands.picture`."""
        return (yield from fetch(self._core, self.info.job, [self.info.index], self._timeout_s))[0]


class PairCommands(Flavour):
    """Two pictures to choose between.

    Attributes:
        info: its id, and how much the profile has been taught.
    """

    info: m.TastePair

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.info.pair!r})"

    @operation
    def choose(self, choice: str) -> Steps[m.TasteTaught]:
        """Answer by "left", "right" or "skip"; a skip teaches nothing. Return what that did, when it is on disk.

        The same answer again changes nothing; another one raises Invalid.
        """
        return (yield from self._choose(choice))

    @operation
    def skip(self) -> Steps[m.TasteTaught]:
        """Answer that neither is liked better."""
        return (yield from self._choose("skip"))

    def _choose(self, choice: str) -> Steps[m.TasteTaught]:
        request = m.TasteRank(pair=self.info.pair, choice=choice)
        return (yield from call(self._core, request, m.TasteTaught, self._timeout_s))


class RankingCommands(MakingCommands[J], Generic[J, A]):
    """The requests that teach. `A` is the type of the flavour's pair."""

    def _pair(self, info: m.TastePair) -> A:
        """Return the flavour's own object for a pair; each of the two clients says how."""
        raise NotImplementedError

    @stream
    def rank(self, profile: str = "") -> Stream[A]:
        """Yield pairs of pictures to choose between, without end; the next one is asked for while one is looked at.

            for pair in client.rank():
                show(pair.left.picture(), pair.right.picture())
                pair.choose("left")

        Args:
            profile: id or name of the profile that the answers teach; "": the account's own, which `--p` means.
        """
        yield from _want_taste(self)
        request = asked(m.TasteNext(profile=profile))
        exchange = Call(request, math.inf)
        self._core.ask(exchange)
        try:
            while True:
                exchange.deadline = self._core.clock() + max(PAIR_S, self._timeout_s)
                yield from wait(self._core, exchange)
                info = take_answer(exchange, m.TastePair)
                exchange = Call(request, math.inf)
                self._core.ask(exchange)
                yield Item(self._pair(info))
        finally:
            self._core.drop(exchange)

    @operation
    def like(self, job: JobCommands | str, index: int = 0, *, on: bool = True) -> Steps[m.TasteTaught]:
        """Like a picture, or no longer. Pictures of one's own are kept as likes and never teach.

        Args:
            job: a job, or its id.
            index: of the picture, from 0.
            on: False: no longer.
        """
        yield from _want_taste(self)
        request = m.TasteLike(job=_id_of(job), index=index, on=on)
        return (yield from call(self._core, request, m.TasteTaught, self._timeout_s))


class TasteCommands(Flavour, Generic[J, A]):
    """The log of what was liked, the profiles that were learned from it, and their codes, which `--p` takes."""

    _commands: RankingCommands[J, A]

    @operation
    def pair(self, profile: str = "") -> Steps[A]:
        """Return one pair to choose between; `client.rank` yields them. Two may be open at a time."""
        info = yield from self._call(m.TasteNext(profile=profile), m.TastePair, max(PAIR_S, self._timeout_s))
        return self._commands._pair(info)

    @operation
    def pick(self, job: JobCommands | str, picked: Iterable[int], profile: str = "") -> Steps[m.TasteTaught]:
        """Pick the pictures of a job that one likes; its others are weak evidence. Of one job the last picks count.

        Args:
            job: a job, or its id.
            picked: indexes of pictures, from 0.
            profile: as of `rank`.
        """
        request = m.TastePick(job=_id_of(job), picked=tuple(picked), profile=profile)
        return (yield from self._call(request, m.TasteTaught))

    @operation
    def events(self, profile: str = "", before: int = 0, limit: int = 50) -> Steps[m.TasteEvents]:
        """Return a page of the log, newest first.

        Args:
            profile: only events of this profile, by id or name.
            before: `next` of the page before; 0: the first page.
            limit: number of events on a page, at most.
        """
        request = m.ListTasteEvents(profile=profile, before=before, limit=limit)
        return (yield from self._call(request, m.TasteEvents))

    @operation
    def switch(self, event: int, on: bool = False) -> Steps[m.TasteEvent]:
        """Switch an event off, or on again, and return it. Nothing is erased."""
        return (yield from self._call(m.TasteSwitch(event=event, on=on), m.TasteEvent))

    @operation
    def undo(self, profile: str = "") -> Steps[m.TasteEvent]:
        """Switch off the last event that is on, and return it. The pair that it answered is given next.

        The request is sent at most once: if the answer is lost, it raises Disconnected.

        Args:
            profile: only of this profile, by id or name.
        """
        return (yield from self._call(m.TasteUndo(profile=profile), m.TasteEvent))

    @operation
    def profiles(self) -> Steps[tuple[m.TasteProfile, ...]]:
        """Return the account's profiles, moodboards and tuners, the global profile first."""
        return (yield from self._call(m.ListTasteProfiles(), m.TasteProfiles)).profiles

    @operation
    def profile(self, profile: str) -> Steps[m.TasteProfile]:
        """Return a profile by its id or name. NotFound or Invalid: this account has no such."""
        request = m.ListTasteProfiles(profile=profile)
        return (yield from self._call(request, m.TasteProfiles)).profiles[0]

    @operation
    def new(
        self,
        name: str,
        kind: str = "profile",
        *,
        pictures: Iterable[PictureFile] = (),
        styles: Iterable[int] | Mapping[int, float] = (),
        public: bool = False,
    ) -> Steps[m.TasteProfile]:
        """Make a profile, and return it.

        The request is sent at most once: if the answer is lost, it raises Disconnected.

        Args:
            name: a letter or digit, then up to 63 letters, digits, _ and -; each once an account.
            kind: "profile", which answers teach; "moodboard", of pictures; "tuner", of numbered styles.
            pictures: of a moodboard: files, the bytes of such, or what `add_reference` returned. Those that are no
                pictures are named in the result's `left_out`, by path or number, and the others are taken; none at all
                raises Invalid.
            styles: of a tuner: numbers as `--sref` takes them, perhaps with weights.
            public: whether other accounts may name it.
        """
        taken, left_out = yield from self._bring_all(pictures)
        weights = style_weights(styles) or {}
        request = m.NewTasteProfile(
            name=name,
            kind=kind,
            pictures=taken,
            styles=tuple(m.StyleWeight(number=number, weight=weight) for number, weight in weights.items()),
            public=public,
        )
        made = yield from self._call(request, m.TasteProfile)
        return replace(made, left_out=(*left_out, *made.left_out))

    @operation
    def change(
        self,
        profile: str,
        *,
        name: str | None = None,
        public: bool | None = None,
        add: Iterable[PictureFile] = (),
        remove: Iterable[str] = (),
    ) -> Steps[m.TasteProfile]:
        """Change what is not None of a profile, and return it.

        Args:
            profile: its id or name.
            name: a new one.
            public: whether other accounts may name it.
            add: pictures for a moodboard, as of `new`.
            remove: digests of pictures that a moodboard loses.
        """
        taken, left_out = yield from self._bring_all(add)
        request = m.ChangeTasteProfile(profile=profile, name=name, public=public, add=taken, remove=tuple(remove))
        changed = yield from self._call(request, m.TasteProfile)
        return replace(changed, left_out=(*left_out, *changed.left_out))

    @operation
    def delete(self, profile: str, codes: str = "") -> Steps[m.TasteDependants]:
        """Delete a profile, or ask what that would concern.

        Args:
            profile: its id or name.
            codes: "keep" its codes alive, or "revoke" them; "": delete nothing, only return what names the profile.
        """
        return (yield from self._call(m.DeleteTasteProfile(profile=profile, codes=codes), m.TasteDependants))

    @operation
    def codes(self, profile: str = "") -> Steps[tuple[m.TasteCode, ...]]:
        """Return codes, newest first.

        Args:
            profile: id or name of one, of whose present state a code is made if there is none; "": of all profiles, as
                they are.
        """
        return (yield from self._call(m.ListTasteCodes(profile=profile), m.TasteCodes)).codes

    @operation
    def revoke(self, code: str) -> Steps[None]:
        """Make naming a code of one's own an error, for everybody. Again, that changes nothing."""
        yield from self._call(m.TasteRevoke(code=code), m.Done)

    @operation
    def report(self, profile: str = "") -> Steps[m.TasteReport]:
        """Return how well a profile works, by choices that its learner did not see.

        Args:
            profile: id, name or code; "": the account's own.
        """
        return (yield from self._call(m.GetTasteReport(profile=profile), m.TasteReport))

    def _call(self, request: m.Record, kind: type[R], timeout_s: float | None = None) -> Steps[R]:
        request = asked(request)  # what is wrong is refused without a server
        yield from _want_taste(self._commands)
        return (yield from call(self._core, request, kind, self._timeout_s if timeout_s is None else timeout_s))

    def _bring_all(self, pictures: Iterable[PictureFile]) -> Steps[tuple[tuple[str, ...], list[m.LeftOut]]]:
        """Bring pictures. Return the digests of those that are pictures, each once, and what became of the others."""
        pictures = tuple(pictures)
        if len(pictures) > MAX_PAGE:  # before any of them is brought
            raise invalid(complaint("pictures", f"{len(pictures):,}", f"up to {MAX_PAGE} at a time", "name fewer"))
        taken, left_out = dict[str, None](), list[m.LeftOut]()
        refusal: Invalid | None = None
        for number, picture in enumerate(pictures, 1):
            if isinstance(picture, str) and re.fullmatch(DIGEST, picture):
                taken[picture] = None
                continue
            try:
                taken[(yield from self._commands._bring(picture))] = None
            except Invalid as error:
                refusal = refusal or error
                left_out.append(m.LeftOut(digest=path_of(picture) or f"picture {number}", reason=str(error)))
        if refusal is not None and not taken:
            raise refusal
        return tuple(taken), left_out


def _id_of(job: JobCommands | str) -> str:
    return job.id if isinstance(job, JobCommands) else job


def _want_taste(commands: MakingCommands[J]) -> Steps[None]:
    if "taste" not in (yield from commands._welcome()).features:
        raise unsupported("taste")
