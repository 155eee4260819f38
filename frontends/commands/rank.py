"""`salon rank`: pairs of pictures, chosen between by key, teach a profile."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from . import exits
from .choosing import Shown, choose_among, want_terminal
from .connection import connected
from .patience import AGAIN_S, patiently
from .tables import print_json

if TYPE_CHECKING:
    from ..client.client import Client, RemotePair
    from ..wire.messages import TasteEvent, TasteTaught

T = TypeVar("T")
REMEDY: Final = "run it in a terminal; a program calls client.rank()"
WAITING: Final = "the server draws pictures to choose between ..."
OPEN: Final = 3  # pairs that may be open after an undo: that one, one on the screen, one ready


def rank(options: argparse.Namespace) -> int:
    """Show pairs until q or Ctrl-C, then say how far the profile is."""
    want_terminal("rank", REMEDY)
    with connected(options) as client:
        pairs = _ServerPairs(client, options.profile or "", options.timeout)
        chooser = choose_among(options, pairs, "rank" + (f" {options.profile}" if options.profile else ""), WAITING)
        code = pairs.code()
    told = {"answered": chooser.answered, "events": pairs.events, "needed": pairs.needed, "code": code}
    if options.json:
        print_json(told)
    else:
        print(summary(pairs.events, pairs.needed) + (f"; code {code}: --p {code}" if code else ""))
    if chooser.unsure:
        print("salon: note: the last answers may not have arrived; `salon profile events` has all", file=sys.stderr)
    return exits.DONE


def summary(events: int, needed: int) -> str:
    """Write how far a profile is: "23 of 200; 177 to go"."""
    if events < needed:
        return f"{events:,} of {needed:,}; {needed - events:,} to go"
    return f"{events:,} ratings"


class _ServerPairs:
    """Pairs that the server chooses; see `choosing.Pairs`.

    Args:
        timeout_s: the client's, for which it repeats a request without an answer.
    """

    def __init__(self, client: Client, profile: str, timeout_s: float) -> None:
        self.events = self.needed = 0
        self._timeout_s = timeout_s
        self._client, self._profile = client, profile
        self._open: dict[str, RemotePair] = {}
        self._given: list[TasteTaught] = []  # what the answers did

    def next(self) -> Shown:
        pair = self._ask()
        self.events, self.needed = max(self.events, pair.info.events), pair.info.needed
        return self._shown(pair)

    def choose(self, name: str, choice: str) -> str:
        before, taught = self.events, self._patiently(partial(self._open.pop(name).choose, choice))
        self.events, self.needed = taught.events, taught.needed
        self._given.append(taught)
        return "unlocked: --p draws in your taste now" if before < taught.needed <= taught.events else ""

    def undo(self) -> tuple[str, Shown | None]:
        if not self._given:
            return "nothing to take back: `salon profile undo` does it with what was answered before", None
        given = self._given[-1]
        event = self._take_back(given)
        if isinstance(event, str):
            return event, None
        pair = self._ask()
        for _ in range(OPEN):  # an answer that was lost with its connection may have said this pair
            if {pair.info.left.digest, pair.info.right.digest} == {one.digest for one in event.pictures}:
                break
            pair = self._ask()
        self.events, self.needed = pair.info.events, pair.info.needed
        return f"event {event.event} ({event.choice or event.kind}) is switched off: choose anew", self._shown(pair)

    def progress(self) -> tuple[int, int, str]:
        return self.events, self.needed, summary(self.events, self.needed) if self.needed else ""

    def code(self) -> str:
        """Return the code of the profile as it is now; "": it cannot be used yet."""
        if not self.needed or self.events < self.needed:
            return ""
        taste = self._client.taste
        own = (one.profile for one in taste.profiles() if one.kind == "global")
        codes = taste.codes(self._profile or next(own, ""))
        return codes[0].code if codes else ""

    def _take_back(self, given: TasteTaught) -> TasteEvent | str:
        """Undo an answer, and return its event, or else why it stays.

        A connection that breaks meanwhile ends that no sooner than it would end an answer, which is sent again.
        """
        from ..client.errors import Busy, Disconnected, Draining

        taste, until, doubtful = self._client.taste, time.monotonic() + self._timeout_s, False
        while True:
            last = self._last(given.profile)
            event = last if last is not None and last.event == given.event else self._event(given)
            if not event.on:
                self._given.pop()
                return event if doubtful else f"event {given.event} was switched off elsewhere"
            if last is not None and last.event > given.event:  # a like, a grid's picks, or an answer given elsewhere
                what = "another answer" if last.kind == "pair" else f"a {last.kind}"
                return f"{what} came after it: `salon profile switch {given.event} off` takes yours back"
            try:
                if doubtful:  # the first may be under way still: then this waits for it, and a second takes no other
                    self._patiently(partial(taste.switch, given.event, True))
                event = taste.undo(given.profile)
            except (Busy, Disconnected, Draining):  # the undo was sent: it was carried out, or not, or is just now
                if time.monotonic() >= until:
                    raise
                doubtful = True
            else:
                self._given.pop()
                return event

    def _event(self, given: TasteTaught) -> TasteEvent:
        """Return the event of an answer as it is now."""
        return self._patiently(partial(self._client.taste.events, given.profile, given.event + 1, 1)).events[0]

    def _last(self, profile: str) -> TasteEvent | None:
        """Return the last event of a profile that counts; None: there is none."""
        before = 0
        while True:
            page = self._patiently(partial(self._client.taste.events, profile, before))
            for event in page.events:
                if event.on:
                    return event
            if not page.next:
                return None
            before = page.next

    def _shown(self, pair: RemotePair) -> Shown:
        self._open[pair.info.pair] = pair
        files = (self._patiently(pair.left.picture), self._patiently(pair.right.picture))
        return Shown(pair.info.pair, files, (pair.info.left.prompt, pair.info.right.prompt))

    def _patiently(self, act: Callable[[], T]) -> T:
        return patiently(act, self._timeout_s)

    def _ask(self) -> RemotePair:
        """Return a pair, however long it takes until there is one."""
        from ..client.errors import Busy

        while True:
            try:
                return self._patiently(partial(self._client.taste.pair, self._profile))
            except Busy:  # the server draws the first pictures, and that takes longer than the client waits
                time.sleep(AGAIN_S)
