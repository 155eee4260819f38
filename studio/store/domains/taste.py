"""Keep what accounts like: an append-only log of events, profiles, codes, and the style vectors of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from . import Table

VERSION = 1


class TasteEventRow(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of an account's log. Rows are added and never changed: an event is switched by an entry about it.

    Attributes:
        account, event: whose log, and the entry's number there, from 1.
        kind: one of `studio/taste/types.py: EVENTS`, or "switch".
        profile: id of the profile that it belongs to.
        day: of `at_ms`, counted from 1970 in UTC.
        at_ms: when.
        choice: of a pair "left", "right" or "skip"; of a switch "on" or "off".
        target: of a switch, the number of the event that it is about; 0.
        teaches: whether it teaches its profile while it is on.
        model: digest of the model that drew the pictures, as far as that is known.
        pictures: of an event, as the caller packs them.
    """

    account: str
    event: int
    kind: str
    profile: str
    day: int
    at_ms: int
    choice: str = ""
    target: int = 0
    teaches: bool = True
    model: str = ""
    pictures: bytes = b""


class TasteProfileRow(msgspec.Struct, frozen=True, kw_only=True):
    """A profile.

    Attributes:
        profile: its id.
        account: whose it is.
        name: as its owner calls it; that of the global one is "".
        kind: "global", "profile", "moodboard" or "tuner".
        public: whether other accounts may name it.
        deleted: whether it is gone; its id is never given again.
        pictures, styles: of a moodboard and of a tuner, as the caller packs them.
    """

    profile: str
    account: str
    name: str
    kind: str
    public: bool = False
    deleted: bool = False
    made_ms: int = 0
    changed_ms: int = 0
    pictures: bytes = b""
    styles: bytes = b""


class TasteCodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a profile was at some time, for one model. Of a row only `revoked` ever changes.

    Attributes:
        code: its name, made of all that follows but for names, date and `revoked`.
        profile, account, name, kind: of the profile, when the code was made.
        shows: "profile", "anti" or "random".
        algorithm: version of the learner.
        model, model_name: digest of the model, and its name and version.
        events, last_event: how many taught it, and the number of the log's last entry then.
        vector: bytes of float32 [W], the style vector.
        revoked: whether naming it is an error.
    """

    code: str
    profile: str
    account: str
    name: str
    kind: str
    shows: str
    made_ms: int
    algorithm: int
    model: str
    model_name: str
    events: int
    last_event: int
    vector: bytes
    revoked: bool = False


class TasteUseRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was drawn with a code."""

    code: str
    job: str
    account: str
    made_ms: int


class TastePairRow(msgspec.Struct, frozen=True, kw_only=True):
    """A pair that an account was given.

    Attributes:
        account: whose.
        pair: its id.
        profile: that the answer teaches; "": the global one.
        event: the answer's number in the log; 0: there is none yet; -1: a picture is gone, and there never is one.
        pictures: left and right, as the caller packs them.
    """

    account: str
    pair: str
    profile: str
    made_ms: int
    event: int = 0
    pictures: bytes = b""


class TasteFeatureRow(msgspec.Struct, frozen=True, kw_only=True):
    """The style vector of a picture.

    Attributes:
        model: digest of the model whose style space it is of.
        picture: sha256 (hex) of the file.
        vector: bytes of float32 [W].
    """

    model: str
    picture: str
    vector: bytes


TABLES = (
    Table("taste_event", TasteEventRow, ("account", "event"), indices=(("day",),)),
    Table("taste_profile", TasteProfileRow, ("profile",), indices=(("account",),)),
    Table("taste_code", TasteCodeRow, ("code",), indices=(("profile",), ("account",))),
    Table("taste_use", TasteUseRow, ("code", "job")),
    Table("taste_pair", TastePairRow, ("account", "pair")),
    Table("taste_feature", TasteFeatureRow, ("model", "picture")),
)
STEPS: Mapping[int, Callable[[Any], None]] = {}
