"""State what the taste of accounts is told by, as plain data: pairs, events, profiles, codes, reports.

Times are UTC ms.
"""

from __future__ import annotations

from typing import Final

import msgspec

PAIR, GRID, LIKE = "pair", "grid", "like"  # kinds of events
EVENTS: Final = (PAIR, GRID, LIKE)
LEFT, RIGHT, SKIP = "left", "right", "skip"  # answers to a pair
CHOICES: Final = (LEFT, RIGHT, SKIP)
GLOBAL, PROFILE, MOODBOARD, TUNER = "global", "profile", "moodboard", "tuner"  # kinds of profiles
NEW_KINDS: Final = (PROFILE, MOODBOARD, TUNER)  # an account's global profile is made with its first event
KEEP, REVOKE = "keep", "revoke"  # what becomes of the codes of a deleted profile
PLAIN, ANTI, RANDOM = "profile", "anti", "random"  # what a code shows: the profile, its opposite, a control


class PairPicture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of a pair, which is fetched as any picture of a job.

    Attributes:
        job, index: the job that made it, and its index from 0.
        digest: sha256 (hex) of the file.
        size: bytes of the file.
        width, height: pixels.
        prompt: of its job.
    """

    job: str
    index: int
    digest: str
    size: int
    width: int
    height: int
    prompt: str = ""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two pictures to choose between.

    Attributes:
        pair: its id, under which it is answered, once.
        left, right: the pictures.
        profile: the id of the profile that the answer teaches; "": the account's global one, which has no event yet.
        events: that teach that profile so far.
        needed: from how many on the profile can be used.
    """

    pair: str
    left: PairPicture
    right: PairPicture
    profile: str = ""
    events: int = 0
    needed: int = 0


class Taught(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an answer. It is on disk.

    Attributes:
        event: number of the event in the account's log.
        profile: the id of the profile that it belongs to.
        teaches: whether it counts: a skip does not, nor does a like of a picture of one's own.
        events: that teach the profile now.
        needed: from how many on the profile can be used.
        code: the latest of the profile, where one was asked for; "" else.
    """

    event: int
    profile: str
    teaches: bool
    events: int
    needed: int
    code: str = ""


class EventPicture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of an event.

    Attributes:
        job, index: the job that made it, and its index from 0.
        digest: sha256 (hex) of the file.
        picked: whether it was liked: the chosen one of a pair, a picked one of a grid.
    """

    job: str
    index: int
    digest: str
    picked: bool = False


class TasteEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an account's log.

    Attributes:
        event: its number in the log, from 1.
        kind: one of `EVENTS`.
        at_ms: when.
        profile: the id of the profile that it belongs to.
        pictures: of a pair left and right, of a grid all in their order, of a like the one.
        choice: of a pair one of `CHOICES`; "" else.
        on: whether it counts; one that was switched off or undone stays in the log.
        teaches: whether it teaches the profile while it is on.
        pull: how far it moves the profile, as a length in the space of tastes; 0 where that is not known (a report
            finds it).
    """

    event: int
    kind: str
    at_ms: int
    profile: str
    pictures: tuple[EventPicture, ...]
    choice: str = ""
    on: bool = True
    teaches: bool = True
    pull: float = 0.0


class StyleWeight(msgspec.Struct, frozen=True):
    """A numbered style, as `--sref` takes it, and its share beside others. Those of a tuner's profile are such."""

    number: int
    weight: float = 1.0


class LeftOut(msgspec.Struct, frozen=True):
    """A picture that a moodboard did not take, by its digest, and why."""

    digest: str
    reason: str


class TasteProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A profile of an account.

    Attributes:
        profile: its id; a moodboard's begins with "m".
        account: whose it is.
        name: as its owner calls it; that of the global one is "".
        kind: "global", "profile", "moodboard" or "tuner".
        public: whether other accounts may name it.
        made_ms, changed_ms: when it was made, and when it was last taught or changed.
        events: that teach it; 0 of moodboards and tuners, which need none.
        needed: from how many on it can be used; 0 of those.
        pictures: of a moodboard, sha256s (hex).
        styles: of a tuner.
        code: of the last state that a code was made of; "": none was.
        left_out: of the change that is answered, the pictures that are not taken.
    """

    profile: str
    account: str
    name: str
    kind: str
    public: bool = False
    made_ms: int = 0
    changed_ms: int = 0
    events: int = 0
    needed: int = 0
    pictures: tuple[str, ...] = ()
    styles: tuple[StyleWeight, ...] = ()
    code: str = ""
    left_out: tuple[LeftOut, ...] = ()


class TasteCode(msgspec.Struct, frozen=True, kw_only=True):
    """A code: the name of what a profile was at some time, for one model.

    Attributes:
        code: 16 characters of a-z and 2-7.
        profile: the id of the profile; it may have been deleted since.
        name, kind: of the profile, when the code was made.
        shows: "profile", or of the controls of a report "anti" or "random".
        made_ms: when the code was made.
        algorithm: version of the learner.
        model: digest of the model; `model_name` is its name and version.
        events: that taught it.
        last_event: number of the last entry of the log that is in it.
        revoked: whether naming it is an error.
    """

    code: str
    profile: str
    name: str
    kind: str
    shows: str = PLAIN
    made_ms: int = 0
    algorithm: int = 1
    model: str = ""
    model_name: str = ""
    events: int = 0
    last_event: int = 0
    revoked: bool = False


class Dependants(msgspec.Struct, frozen=True, kw_only=True):
    """What names a profile or its codes.

    Attributes:
        profile: the id of the profile.
        deleted: whether it is deleted now; False: it was only asked for.
        codes: all that were made of it.
        jobs: ids of the asking account's jobs that were drawn with one, newest first, at most 100.
        num_jobs: how many were, of all accounts; deleted ones count.
        settings: the asking account, if its settings name the profile or a code of it; else none.
    """

    profile: str
    deleted: bool = False
    codes: tuple[TasteCode, ...] = ()
    jobs: tuple[str, ...] = ()
    num_jobs: int = 0
    settings: tuple[str, ...] = ()


class Share(msgspec.Struct, frozen=True):
    """A share from 0 to 1, with its interval of 95 % and of how many it is; of none 0.5, from 0 to 1."""

    value: float = 0.5
    low: float = 0.0
    high: float = 1.0
    count: int = 0


class Liked(msgspec.Struct, frozen=True):
    """How much a profile goes by one class of a factor in which styles differ.

    Attributes:
        factor, name: like "palette" and "pastel".
        utility: above 0 it is liked, below disliked; against the mean of its factor.
        deviation: how uncertain that is.
    """

    factor: str
    name: str
    utility: float
    deviation: float


class TasteReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of how well a profile works.

    Attributes:
        profile: what it is a report of, as it is now.
        verdict: "strong", "weak" or "does nothing"; "" of a moodboard or a tuner, which learns nothing.
        held_out: of choices that the learner was not told, how many it predicts.
        consistency: share of the choices that the profile agrees with.
        effect: chance that a picture in the user's style is chosen before one of any style.
        calibration: mean difference between stated chances and what came of them.
        liked: every class of every factor, the most liked first.
        pulls: the events that pull hardest, the first most, at most 10.
        missing: events that say nothing to this model, since their pictures are gone.
        code, anti_code, random_code: the profile, its opposite and a control of the same strength, as `--p` takes them;
            "" where too few events teach it, and of a moodboard or tuner for the last two.
        algorithm: version of the learner.
        model, model_name: digest, name and version of the model.
        made_ms: when it was made.
    """

    profile: TasteProfile
    verdict: str
    held_out: Share = Share()
    consistency: float = 0.5
    effect: float = 0.5
    calibration: float = 0.0
    liked: tuple[Liked, ...] = ()
    pulls: tuple[TasteEvent, ...] = ()
    missing: int = 0
    code: str = ""
    anti_code: str = ""
    random_code: str = ""
    algorithm: int = 1
    model: str = ""
    model_name: str = ""
    made_ms: int = 0
