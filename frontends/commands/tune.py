"""`salon tune`: styles for one prompt, chosen between by key, become a profile."""

from __future__ import annotations

import argparse
import itertools
import random
import re
import sys
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from ...bounds import MAX_STYLE_NUMBER, random_seed
from ...errors import complaint
from ..outputs import slug
from . import exits, words
from .choosing import Shown, choose_among, want_terminal
from .connection import connected
from .parsing import UsageError
from .patience import AGAIN_S, patiently
from .remote import say
from .tables import print_json

if TYPE_CHECKING:
    from ..client.client import Client, RemoteJob
    from ..wire.messages import TasteProfile

REMEDY: Final = "run it in a terminal; a program draws with style_references and calls client.taste.new()"
AHEAD: Final = 3  # pairs whose jobs are there before they are shown: a plan may allow no more at a time


def tune(options: argparse.Namespace) -> int:
    """Show the pairs, and make a profile of the styles that were chosen."""
    want_terminal("tune", REMEDY)
    prompt = " ".join(options.prompt)
    with connected(options) as client:
        name = options.name or _free_name(prompt, {one.name for one in client.taste.profiles()})
        pairs = _StylePairs(client, prompt, options)
        title = f"tune {words.shorten(words.clean(prompt), 40)}"
        try:
            choose_among(options, pairs, title, "the first pictures are drawn ...")
        finally:
            pairs.cancel()
        if not pairs.chosen:
            raise UsageError(complaint("tune", "no choice", "one at least", "choose by 1 and 2"))
        made = _profile_of(client, name, pairs.chosen, options.timeout)
        code = client.taste.codes(made.profile)[0].code
        jobs = [job.id for job in pairs.jobs]
    if options.json:
        print_json({"profile": made.profile, "name": name, "code": code, "styles": pairs.chosen, "jobs": jobs})
    else:
        styles = ", ".join(map(str, pairs.chosen))
        print(f"profile {made.profile} of {words.plural(len(pairs.chosen), 'style')}: {styles}")
        print(f"code {code}: --sref {code}, or --p {code}")
    return exits.DONE


def _profile_of(client: Client, name: str, styles: list[int], timeout_s: float) -> TasteProfile:
    """Make a profile of the chosen styles, however often connections break meanwhile: else the choices would be lost.

    Where the server was too slow, or the connection broke with the request, the profile may be there. No two profiles
    have one name, so the one of this name and these styles is it; without it the request is sent again.
    """
    from ..client.errors import Busy, Disconnected, Draining, RequestFailed

    until, doubtful = time.monotonic() + timeout_s, False
    while True:
        try:
            return client.taste.new(name, "tuner", styles=styles)
        except (Busy, Disconnected, Draining):
            if time.monotonic() >= until:
                raise
            doubtful = True
        except RequestFailed:  # perhaps since the first request, still under way when one looked, has made it
            if not doubtful or (made := _found(client, name, styles, timeout_s)) is None:
                raise
            return made
        if (made := _found(client, name, styles, timeout_s)) is not None:
            return made
        time.sleep(AGAIN_S)


def _found(client: Client, name: str, styles: list[int], timeout_s: float) -> TasteProfile | None:
    """Return the tuner of this name and these styles; None: there is none."""
    wanted = ("tuner", name, set(styles))
    profiles = patiently(client.taste.profiles, timeout_s)
    return next((one for one in profiles if (one.kind, one.name, {each.number for each in one.styles}) == wanted), None)


def _free_name(prompt: str, taken: Collection[str]) -> str:
    """Return a name for a profile from a prompt's words, which no other profile has."""
    name = re.sub("[^A-Za-z0-9-]", "", slug(prompt)).strip("-") or "style"
    others = (f"{name}-{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain((name,), others) if each not in taken)


class _StylePairs:
    """Pairs of one prompt in two numbered styles; see `choosing.Pairs`.

    Attributes:
        chosen: the styles that were chosen, in order.
        jobs: all that were drawn.
    """

    def __init__(self, client: Client, prompt: str, options: argparse.Namespace) -> None:
        self.chosen: list[int] = []
        self.jobs: list[RemoteJob] = []
        seed = random_seed() if options.seed is None else options.seed
        numbers = random.Random(seed).sample(range(MAX_STYLE_NUMBER + 1), 2 * options.pairs)
        self._pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        self._client, self._prompt, self._timeout_s = client, prompt, options.timeout
        self._beside: dict[str, Any] = {"lane": options.lane, "images": 1, "seed": seed}
        self._log: list[tuple[int, int | None]] = []  # answers, to be undone: of which pair, the chosen style or none
        self._shown = 0
        self._begun: list[tuple[RemoteJob, RemoteJob]] = []
        first = self._said(self._pairs[0][0])
        cost = client.plan(prompt, **first).total_cost_ms * len(numbers)
        say(f"drawing up to {words.plural(len(numbers), 'picture')}, {words.span(cost)} of GPU time")
        self._begin()

    def next(self) -> Shown | None:
        if self._shown == len(self._pairs):
            return None
        self._begin()
        for job in self._begun[self._shown]:
            job.wait()
        self._shown += 1
        return self._pair(self._shown - 1)

    def _pair(self, number: int) -> Shown:
        (left, right), styles = self._begun[number], self._pairs[number]
        files = (patiently(left.picture, self._timeout_s), patiently(right.picture, self._timeout_s))
        return Shown(str(number), files, (f"--sref {styles[0]}", f"--sref {styles[1]}"))

    def choose(self, name: str, choice: str) -> str:
        styles = self._pairs[int(name)]
        style = {"left": styles[0], "right": styles[1]}.get(choice)
        self._log.append((int(name), style))
        if style is not None:
            self.chosen.append(style)
        return ""

    def undo(self) -> tuple[str, Shown | None]:
        if not self._log:
            return "nothing to take back", None
        number, style = self._log.pop()
        if style is not None:
            self.chosen.remove(style)
        return "the last answer is taken back: choose anew", self._pair(number)

    def progress(self) -> tuple[int, int, str]:
        done, of = len(self._log), len(self._pairs)
        return done, of, f"{done} of {of}; {words.plural(len(self.chosen), 'style')} chosen"

    def cancel(self) -> None:
        """End the jobs whose pictures will not be shown."""
        from ..client.errors import ClientError

        for job in (job for jobs in self._begun[self._shown :] for job in jobs):
            try:
                job.cancel()
            except ClientError as error:
                print(words.clean(f"salon: note: {error}"), file=sys.stderr)

    def _begin(self) -> None:
        """Submit the jobs of the next pairs."""
        while len(self._begun) < min(self._shown + AHEAD, len(self._pairs)):
            left, right = (
                self._client.imagine(self._prompt, **self._said(number)) for number in self._pairs[len(self._begun)]
            )
            self._begun.append((left, right))
            self.jobs += [left, right]

    def _said(self, style: int) -> dict[str, Any]:
        return {**self._beside, "style_references": [style]}
