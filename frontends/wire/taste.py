"""Define the messages about what an account likes (feature "taste"): pairs, events, profiles, codes and reports.

They are a part of `messages.py`, which has them all. Fields mean what those of the same name of `studio/taste/types.py`
mean. Times are UTC ms.
"""

# mypy: disable-error-code="misc"
# (msgspec inherits `frozen`; the checker wants it said again in every record)

from __future__ import annotations

from typing import Final

import msgspec

from .record import Record

CHOICES: Final = ("left", "right", "skip")  # answers to a pair
PROFILE_KINDS: Final = ("profile", "moodboard", "tuner")  # that an account makes
CODES: Final = ("keep", "revoke")  # what becomes of a deleted profile's codes


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what messages are made of."""


# ---- parts ---------------------------------------------------------------------------------------------------------


class PairPicture(Part):
    """A picture of a pair, which is fetched as any picture of a job. `digest`: sha256 (hex) of the file, of `size`
    bytes; `prompt`: of its job."""

    job: str
    index: int
    digest: str
    size: int
    width: int
    height: int
    prompt: str = ""


class EventPicture(Part):
    """A picture of an event. `picked`: it was liked."""

    job: str
    index: int
    digest: str
    picked: bool = False


class StyleWeight(Part):
    """A numbered style, as `--sref` takes it, and its share beside others."""

    number: int
    weight: float = 1.0


class LeftOut(Part):
    """A picture that a moodboard did not take, by its digest, and why."""

    digest: str
    reason: str


class TasteCode(Part):
    """A code: the name of what a profile was at some time, for one model.

    Attributes:
        profile: id of the profile, which may have been deleted since; `name` and `kind` are of then.
        shows: "profile", or of the controls of a report "anti" or "random".
        algorithm: version of the learner. `model`: digest of the model.
        events: that taught it; `last_event`: number of the last entry of the log that is in it.
        revoked: naming it is an error.
    """

    code: str
    profile: str
    name: str = ""
    kind: str = "profile"
    shows: str = "profile"
    made_ms: int = 0
    algorithm: int = 1
    model: str = ""
    model_name: str = ""
    events: int = 0
    last_event: int = 0
    revoked: bool = False


class Share(Part):
    """A share from 0 to 1 of `count` cases, with its interval of 95 %; of none 0.5, from 0 to 1."""

    value: float = 0.5
    low: float = 0.0
    high: float = 1.0
    count: int = 0


class Liked(Part):
    """How much a profile goes by one class of a factor in which styles differ, like "pastel" of "palette". `utility`:
    above 0 it is liked, against the mean of its factor; `deviation`: how uncertain that is."""

    factor: str
    name: str
    utility: float
    deviation: float = 0.0


# ---- from the client -----------------------------------------------------------------------------------------------


class TasteNext(Record, tag="taste.next"):
    """Ask for two pictures to choose between, which the server chooses. Answer: TastePair. `profile`: id or name of the
    profile that the answer teaches; "": the account's global one. Two pairs may be open at a time."""

    profile: str = ""


class TasteRank(Record, tag="taste.rank"):
    """Choose between the two pictures of a pair: left, right or skip. Answer: TasteTaught. A pair is answered once; the
    same answer again changes nothing."""

    pair: str
    choice: str


class TastePick(Record, tag="taste.pick"):
    """Pick the pictures of a job that one likes; its others are weak evidence. Answer: TasteTaught. `picked`: indexes
    from 0."""

    job: str
    picked: tuple[int, ...]
    profile: str = ""


class TasteLike(Record, tag="taste.like"):
    """Like a picture, or with `on` false no longer. Answer: TasteTaught. Pictures of one's own never teach."""

    job: str
    index: int
    on: bool = True


class ListTasteEvents(Record, tag="taste.events"):
    """Ask for the account's log, newest first. Answer: TasteEvents. `profile`: id or name of one; "": all.

    `before` is the `next` of the page before; 0: from the newest.
    """

    profile: str = ""
    before: int = 0
    limit: int = 50


class TasteSwitch(Record, tag="taste.switch"):
    """Switch an event off, or on again. Answer: TasteEvent. Nothing is erased."""

    event: int
    on: bool = False


class TasteUndo(Record, tag="taste.undo"):
    """Switch off the last event that is on. Answer: TasteEvent. The pair that it answered is given next, to be answered
    anew. `profile`: of one profile; "": of all."""

    profile: str = ""


class ListTasteProfiles(Record, tag="taste.profiles"):
    """Ask for the account's profiles, the global one first. Answer: TasteProfiles. `profile`: id or name of one, to get
    that alone; "": all."""

    profile: str = ""


class NewTasteProfile(Record, tag="taste.profile.new"):
    """Make a profile. Answer: TasteProfile. `kind`: profile, moodboard (of `pictures`, sha256s of files that were
    brought with Upload) or tuner (of `styles`)."""

    name: str
    kind: str = "profile"
    pictures: tuple[str, ...] = ()
    styles: tuple[StyleWeight, ...] = ()
    public: bool = False


class ChangeTasteProfile(Record, tag="taste.profile.change"):
    """Change what is not None of a profile; `add` and `remove` are of a moodboard's pictures. Answer: TasteProfile."""

    profile: str
    name: str | None = None
    public: bool | None = None
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class DeleteTasteProfile(Record, tag="taste.profile.delete"):
    """Delete a profile; its codes are kept or revoked. Answer: TasteDependants. With `codes` "" nothing is deleted, and
    the answer says what would be concerned."""

    profile: str
    codes: str = ""


class ListTasteCodes(Record, tag="taste.codes"):
    """Ask for codes, newest first. Answer: TasteCodes. `profile`: id or name of one, of whose present state a code is
    made, if there is none; "": of all, as they are."""

    profile: str = ""


class TasteRevoke(Record, tag="taste.revoke"):
    """Revoke a code of one's own: naming it becomes an error, for everybody. Answer: Done."""

    code: str


class GetTasteReport(Record, tag="taste.report"):
    """Ask how well a profile works. Answer: TasteReport. `profile`: id, name or code; "": the global one."""

    profile: str = ""


TasteRequest = (
    TasteNext
    | TasteRank
    | TastePick
    | TasteLike
    | ListTasteEvents
    | TasteSwitch
    | TasteUndo
    | ListTasteProfiles
    | NewTasteProfile
    | ChangeTasteProfile
    | DeleteTasteProfile
    | ListTasteCodes
    | TasteRevoke
    | GetTasteReport
)


# ---- from the server -----------------------------------------------------------------------------------------------


class TastePair(Record, tag="taste.pair"):
    """Two pictures to choose between. `events` teach the profile so far; from `needed` on it can be used."""

    pair: str
    left: PairPicture
    right: PairPicture
    profile: str = ""
    events: int = 0
    needed: int = 0


class TasteTaught(Record, tag="taste.taught"):
    """The answer is on disk, as event number `event` of the account's log.

    Attributes:
        teaches: it counts; a skip does not, nor does a like of a picture of one's own.
        events: that teach the profile now; from `needed` on it can be used.
        code: the latest of the profile, where one was made; "" else.
    """

    event: int
    profile: str = ""
    teaches: bool = True
    events: int = 0
    needed: int = 0
    code: str = ""


class TasteEvent(Record, tag="taste.event"):
    """An entry of an account's log. Answer to TasteSwitch and TasteUndo, and a part of other answers.

    Attributes:
        kind: pair, grid or like.
        pictures: of a pair left and right, of a grid all, of a like the one.
        choice: of a pair: left, right or skip.
        on: it counts; what was switched off or undone stays in the log.
        teaches: it teaches the profile while it is on.
        pull: how far it moves the profile, as a length in the space of tastes; 0 where that is not known.
    """

    event: int
    kind: str
    at_ms: int = 0
    profile: str = ""
    pictures: tuple[EventPicture, ...] = ()
    choice: str = ""
    on: bool = True
    teaches: bool = True
    pull: float = 0.0


class TasteEvents(Record, tag="taste.events.kept"):
    """A page of a log, newest first. `next` is for `ListTasteEvents.before`; 0: there are no more."""

    events: tuple[TasteEvent, ...]
    next: int = 0


class TasteProfile(Record, tag="taste.profile"):
    """A profile. Answer to the requests that make or change one, and a part of other answers.

    Attributes:
        profile: its id; a moodboard's begins with "m".
        kind: global, profile, moodboard or tuner.
        public: other accounts may name it.
        events: that teach it; from `needed` on it can be used. Moodboards and tuners need none.
        pictures: of a moodboard, sha256s (hex). `styles`: of a tuner.
        code: of the last state that a code was made of; "": none was.
        left_out: of the change that is answered, the pictures that are not taken.
    """

    profile: str
    account: str = ""
    name: str = ""
    kind: str = "profile"
    public: bool = False
    made_ms: int = 0
    changed_ms: int = 0
    events: int = 0
    needed: int = 0
    pictures: tuple[str, ...] = ()
    styles: tuple[StyleWeight, ...] = ()
    code: str = ""
    left_out: tuple[LeftOut, ...] = ()


class TasteProfiles(Record, tag="taste.profiles.kept"):
    """The profiles of an account."""

    profiles: tuple[TasteProfile, ...]


class TasteDependants(Record, tag="taste.dependants"):
    """What names a profile or its codes. `deleted`: the profile is deleted now. `jobs`: ids of up to 100 of `num_jobs`
    jobs that were drawn with it, newest first; `settings`: the account, if its settings name it."""

    profile: str
    deleted: bool = False
    codes: tuple[TasteCode, ...] = ()
    jobs: tuple[str, ...] = ()
    num_jobs: int = 0
    settings: tuple[str, ...] = ()


class TasteCodes(Record, tag="taste.codes.kept"):
    """Codes, newest first."""

    codes: tuple[TasteCode, ...]


class TasteReport(Record, tag="taste.reported"):
    """What is known of how well a profile works.

    Attributes:
        verdict: strong, weak or does nothing; "" of a moodboard or a tuner, which learns nothing.
        held_out: of choices that the learner was not told, how many it predicts.
        consistency: share of the choices that the profile agrees with.
        effect: chance that a picture in the user's style is chosen before one of any style.
        calibration: mean difference between stated chances and what came of them.
        liked: every class of every factor, the most liked first.
        pulls: the events that pull hardest, the first most.
        missing: events that say nothing to this model, since their pictures are gone.
        code, anti_code, random_code: the profile, its opposite and a control of the same strength, as `--p` takes them;
            "": there is none.
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


TasteReply = (
    TastePair
    | TasteTaught
    | TasteEvent
    | TasteEvents
    | TasteProfile
    | TasteProfiles
    | TasteDependants
    | TasteCodes
    | TasteReport
)
