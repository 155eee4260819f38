"""Ranges of requests: both sides of every edge. And frames and versions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from salon.bounds import MAX_SOURCE, MAX_SOURCES
from salon.frontends.wire import messages as m
from salon.frontends.wire.checks import RULES, check
from salon.frontends.wire.codec import decode_request, encode
from salon.frontends.wire.errors import BadMessage, MessageError, TooLarge, UnknownMessage, UnsupportedVersion
from salon.frontends.wire.frames import (
    has_payload,
    read_reply,
    read_request,
    reply_frames,
    request_frames,
    split_reply,
    split_request,
)
from salon.frontends.wire.version import negotiate

from .strategies import REQUESTS

KEY = "ab" * 32
INF, NAN = float("inf"), float("nan")
BASE: dict[type[m.Record], dict[str, Any]] = {
    m.ChatSay: {"key": "k"},
    m.ShowChat: {"chat": 1},
    m.Submit: {"key": "k", "prompt": "p"},
    m.Plan: {"prompt": "p"},
    m.Upload: {"digest": KEY, "size": 9},
    m.Unwatch: {"watch": b"1"},
    m.Credit: {"fetch": b"1"},
    m.OpsSetAccount: {"account": KEY},
    m.OpsGrant: {"account": KEY, "key": "k", "amount_ms": 1},
    m.TasteRank: {"pair": "p", "choice": "left"},
    m.TastePick: {"job": "j", "picked": (0,)},
    m.TasteLike: {"job": "j", "index": 0},
    m.TasteSwitch: {"event": 1},
    m.NewTasteProfile: {"name": "n"},
    m.ChangeTasteProfile: {"profile": "p"},
    m.DeleteTasteProfile: {"profile": "p"},
    m.TasteRevoke: {"code": "a" * 16},
    m.EndEntry: {"id": "a" * 12},
    m.Again: {"key": "k", "job": "j"},
    m.OpsLift: {"account": "local"},
    m.ShowJobs: {"jobs": ("j",)},
    m.GetMarks: {"jobs": ("j",)},
    m.ChangeJobs: {"act": "hide", "jobs": ("j",)},
    m.NewFolder: {"name": "f"},
    m.RenameFolder: {"folder": "f", "name": "g"},
    m.DeleteFolder: {"folder": "f"},
    m.PutPreset: {"name": "p", "parameters": "--n 1"},
    m.DeletePreset: {"name": "p"},
}
OF_A_JOB: tuple[type[m.Record], ...] = (m.Watch, m.Show, m.Cancel, m.Delete, m.Fetch, m.OpsRetry)
BASE |= {kind: {"job": "j"} for kind in OF_A_JOB}

NAMES = (["a", "A-Z.z_0:9", "x" * 64], ["", "x" * 65, "a b", "a\n", "é", "a/b", "a\0"])
WORDS = (["a", "fast", "ops.v2", "x" * 32], ["", "x" * 33, "Fast", "a b", "-a", "é", "fast\n"])
COUNTS = ([0, 1, 2**63 - 1], [-1, 2**63, 2**64 - 1])
PAGES = ([1, 200], [0, -1, 201])
LABELS = (["", "salon 1.0", "\N{GRINNING FACE}" * 100], ["x" * 101, "a\nb", "\x7f", "\x1b[31m", "\u2028"])
PROMPTS = (["a", "two\nlines\t", "\N{GRINNING FACE}" * 2_000], ["x" * 2_001, "a\0b"])
FEW_WORDS = ([(), ("done",) * 16], [("done",) * 17, ("",)])
PRESETS = (["a", "A_b-1", "x" * 64], ["", "x" * 65, "a b", "-a", "é", "a\n"])
SIDES = ([1, 4096, None], [0, -1, 4097])
ACCOUNTS = ([KEY, "local"], [KEY[1:], KEY + "a", KEY.upper(), "alice", f"{KEY}\n"])
IDS = ([b"1", b"x" * 16], [b"", b"x" * 17])
CREDITS = ([1, 16], [0, -1, 17])

SOURCES = (
    [(), (m.Source(job="a", index=0),), (m.Source(digest=KEY),) * MAX_SOURCES],
    [(m.Source(digest=KEY),) * (MAX_SOURCES + 1), (m.Source(),), (m.Source(job="a", digest=KEY),)],
)
DIGESTS = ([(), (KEY,), (KEY,) * 200], [("",), (KEY[1:],), (KEY.upper(),), (KEY,) * 201])
SOURCE_TEXTS = (["", "a cat --ar 3:2", "x" * MAX_SOURCE], ["x" * (MAX_SOURCE + 1)])
SAID = (
    [{}, {"stylize": 100.0, "lane": "relax", "private": False, "repeat": 2}],
    [{"what": 1}, {"parameters: ": 1}],
)

EDGES: dict[tuple[type[m.Record], str], tuple[list[Any], list[Any]]] = {
    (m.Hello, "version"): ([1, 2**31 - 1], [0, -1, 2**31]),
    (m.Hello, "oldest"): ([1], [0, -1, 2]),  # with version 1
    (m.Hello, "features"): ([(), ("a",) * 64], [("a",) * 65, ("",), ("A",)]),
    (m.Hello, "client"): LABELS,
    (m.ListWildcards, "name"): (["", "colour", "a-b_c", "x" * 64], ["x" * 65, "A", "a b", "../a", "-a", "a_"]),
    (m.ListWildcards, "after"): ([0, 2**63 - 1], [-1, 2**63]),
    (m.Submit, "key"): NAMES,
    (m.Submit, "prompt"): PROMPTS,
    (m.Submit, "lane"): WORDS,
    (m.Submit, "negative_prompt"): PROMPTS,
    (m.Submit, "aspect"): ([None, (16, 9), (1e-9, 1e9)], [(0, 1), (1, -1), (NAN, 1), (1, INF)]),
    (m.Submit, "width"): SIDES,
    (m.Submit, "height"): SIDES,
    (m.Submit, "steps"): ([None, 1, 200], [0, 201]),
    (m.Submit, "seed"): ([None, 0, 2**64 - 1], [-1]),
    (m.Submit, "images"): ([1, 8], [0, -1, 9]),
    (m.Submit, "guidance_scale"): ([None, 0, 100.0], [-0.1, 100.1, NAN, INF, -INF]),
    (m.Submit, "solver"): ([None, *WORDS[0]], WORDS[1]),
    (m.Submit, "shift"): ([None, 0.01, 100], [0.009, 100.1, NAN, INF]),
    (m.Submit, "preview_every"): ([0, 1000], [-1, 1001]),
    (m.Submit, "parameters"): (
        [None, {}, {"stylize": 100.0}, {"style_references": [7, [KEY, 2.0]]}],
        [{"what": 1}, {"": 1}, {"parameters: ": 1}],
    ),
    (m.Submit, "kind"): WORDS,
    (m.Plan, "prompt"): SOURCE_TEXTS,
    (m.Plan, "parameters"): SAID,
    (m.Plan, "kind"): WORDS,
    (m.Plan, "sources"): SOURCES,
    (m.ChangeSettings, "parameters"): SAID,
    (m.ChangeSettings, "suffix"): SOURCE_TEXTS,
    (m.Submit, "sources"): (
        [(), (m.Source(job="a"), m.Source(job="a:b", index=3), m.Source(digest=KEY))],
        [
            (m.Source(job="a"),) * 9,
            (m.Source(),),
            (m.Source(job="a", digest=KEY),),
            (m.Source(digest="a"),),
            (m.Source(job="a b"),),
            (m.Source(job="a", index=-2),),
            (m.Source(job="a", index=65537),),
        ],
    ),
    (m.Upload, "digest"): ([KEY], ["", KEY[1:], KEY + "a", KEY.upper()]),
    (m.Upload, "size"): ([1, 2**30], [0, -1, 2**30 + 1]),
    (m.Upload, "offset"): ([0, 2**30], [-1, 2**30 + 1]),
    (m.Upload, "data"): ([b"", b"x" * 49_152], [b"x" * 49_153]),
    (m.Watch, "job"): NAMES,
    (m.Watch, "after"): COUNTS,
    (m.Unwatch, "watch"): IDS,
    (m.Show, "job"): NAMES,
    (m.ListJobs, "before"): COUNTS,
    (m.ListJobs, "limit"): PAGES,
    (m.ListJobs, "states"): ([(), ("done",) * 16], [("done",) * 17, ("",)]),
    (m.ListJobs, "account"): ([*ACCOUNTS[0], "", "*"], ACCOUNTS[1]),
    (m.Cancel, "job"): NAMES,
    (m.Delete, "job"): NAMES,
    (m.Fetch, "job"): NAMES,
    (m.Fetch, "index"): ([-1, 0, 65536], [-2, 65537]),
    (m.Fetch, "offset"): COUNTS,
    (m.Fetch, "credit"): CREDITS,
    (m.Credit, "fetch"): IDS,
    (m.Credit, "chunks"): CREDITS,
    (m.Info, "account"): ([*ACCOUNTS[0], ""], [*ACCOUNTS[1], "*"]),
    (m.Words, "like"): LABELS,
    (m.OpsAccounts, "after"): LABELS,
    (m.OpsAccounts, "limit"): PAGES,
    (m.OpsSetAccount, "account"): (ACCOUNTS[0], [*ACCOUNTS[1], "", "*"]),
    (m.OpsSetAccount, "name"): ([None, *LABELS[0]], LABELS[1]),
    (m.OpsSetAccount, "plan"): ([None, *WORDS[0]], WORDS[1]),
    (m.OpsSetAccount, "role"): ([None, *WORDS[0]], WORDS[1]),
    (m.OpsSetAccount, "quota_bytes"): ([None, *COUNTS[0]], COUNTS[1]),
    (m.OpsGrant, "account"): (ACCOUNTS[0], [*ACCOUNTS[1], "", "*"]),
    (m.OpsGrant, "amount_ms"): ([1, 2**63 - 1], [0, -1, 2**63]),
    (m.OpsGrant, "key"): NAMES,
    (m.OpsGrant, "source"): WORDS,
    (m.OpsGrant, "expires_ms"): COUNTS,
    (m.OpsLedger, "account"): ([*ACCOUNTS[0], ""], [*ACCOUNTS[1], "*"]),
    (m.OpsLedger, "after"): COUNTS,
    (m.OpsLedger, "limit"): PAGES,
    (m.OpsRetry, "job"): NAMES,
    (m.OpsLift, "account"): (ACCOUNTS[0], [*ACCOUNTS[1], "", "*"]),
    (m.Again, "key"): NAMES,
    (m.Again, "job"): NAMES,
    (m.Again, "seed"): ([None, 0, 2**64 - 1], [-1]),
    (m.Again, "preview_every"): ([None, 0, 1000], [-1, 1001]),
    (m.ChatSay, "key"): NAMES,
    (m.ChatSay, "text"): SOURCE_TEXTS,
    (m.ChatSay, "chat"): COUNTS,
    (m.ChatSay, "turn"): COUNTS,
    (m.ChatSay, "prompt"): ([None, *SOURCE_TEXTS[0]], SOURCE_TEXTS[1]),
    (m.ChatSay, "job"): ([*NAMES[0], ""], [each for each in NAMES[1] if each != ""]),
    (m.ChatSay, "preview_every"): ([0, 1000], [-1, 1001]),
    (m.ListChats, "before"): COUNTS,
    (m.ListChats, "limit"): PAGES,
    (m.ShowChat, "chat"): ([1, 2**63 - 1], [0, -1, 2**63]),
    (m.ShowChat, "after"): COUNTS,
    (m.ShowChat, "limit"): PAGES,
    (m.DeleteChat, "chat"): ([1, 2**63 - 1], [0, -1, 2**63]),
    (m.OpsBlocks, "account"): ([*ACCOUNTS[0], ""], [*ACCOUNTS[1], "*"]),
    (m.OpsBlocks, "before"): COUNTS,
    (m.OpsBlocks, "limit"): PAGES,
    (m.TasteNext, "profile"): LABELS,
    (m.TasteRank, "pair"): NAMES,
    (m.TasteRank, "choice"): (["left", "right", "skip"], ["", "both", "LEFT", "left\n"]),
    (m.TastePick, "job"): NAMES,
    (m.TastePick, "picked"): ([(), (0, 65536), (1,) * 200], [(-1,), (65537,), (0,) * 201]),
    (m.TastePick, "profile"): LABELS,
    (m.TasteLike, "job"): NAMES,
    (m.TasteLike, "index"): ([0, 65536], [-1, 65537]),
    (m.ListTasteEvents, "profile"): LABELS,
    (m.ListTasteEvents, "before"): COUNTS,
    (m.ListTasteEvents, "limit"): PAGES,
    (m.TasteSwitch, "event"): ([1, 2**63 - 1], [0, -1, 2**63]),
    (m.TasteUndo, "profile"): LABELS,
    (m.ListTasteProfiles, "profile"): LABELS,
    (m.NewTasteProfile, "name"): LABELS,
    (m.NewTasteProfile, "kind"): (["profile", "moodboard", "tuner"], ["", "global", "Profile"]),
    (m.NewTasteProfile, "pictures"): DIGESTS,
    (m.NewTasteProfile, "styles"): (
        [
            (),
            (m.StyleWeight(number=0), m.StyleWeight(number=2**32 - 1, weight=100.0)),
            (m.StyleWeight(number=1),) * 200,
        ],
        [
            (m.StyleWeight(number=-1),),
            (m.StyleWeight(number=2**32),),
            (m.StyleWeight(number=1, weight=0.0),),
            (m.StyleWeight(number=1, weight=101.0),),
            (m.StyleWeight(number=1),) * 201,
        ],
    ),
    (m.ChangeTasteProfile, "profile"): LABELS,
    (m.ChangeTasteProfile, "name"): ([None, *LABELS[0]], LABELS[1]),
    (m.ChangeTasteProfile, "add"): DIGESTS,
    (m.ChangeTasteProfile, "remove"): DIGESTS,
    (m.DeleteTasteProfile, "profile"): LABELS,
    (m.DeleteTasteProfile, "codes"): (["", "keep", "revoke"], ["delete", "Keep"]),
    (m.ListTasteCodes, "profile"): LABELS,
    (m.TasteRevoke, "code"): (["abcdefghijklmnop", "234567" + "z" * 10], ["", "a" * 15, "a" * 17, "A" * 16, "1" * 16]),
    (m.GetTasteReport, "profile"): LABELS,
    (m.NewLink, "account"): ([*ACCOUNTS[0], ""], [*ACCOUNTS[1], "*"]),
    (m.NewLink, "new"): LABELS,
    (m.NewToken, "name"): LABELS,
    (m.EndEntry, "id"): (["0123456789ab"], ["", "a" * 11, "a" * 13, "A" * 12, "g" * 12]),
    (m.ListNames, "whose"): (["own", "public", "all"], ["", "mine", "OWN"]),
    (m.ListNames, "owner"): ([*ACCOUNTS[0], ""], [*ACCOUNTS[1], "*"]),
    (m.ListNames, "search"): PROMPTS,
    **{(m.ListNames, name): FEW_WORDS for name in ("kinds", "lanes", "states")},
    (m.ListNames, "model"): LABELS,
    **{(m.ListNames, name): COUNTS for name in ("from_ms", "until_ms", "after")},
    (m.ListNames, "folder"): LABELS,
    (m.ListNames, "limit"): ([1, 20_000], [0, -1, 20_001]),
    (m.ShowJobs, "jobs"): ([(), ("j",) * 200], [("j",) * 201, ("",)]),
    (m.GetMarks, "jobs"): ([(), ("j",) * 200], [("j",) * 201, ("",)]),
    (m.ChangeJobs, "act"): (["publish", "remove"], ["", "burn"]),
    (m.ChangeJobs, "jobs"): ([(), ("j",) * 1000], [("j",) * 1001, ("a b",)]),
    (m.ChangeJobs, "folder"): LABELS,
    (m.NewFolder, "name"): LABELS,
    (m.RenameFolder, "folder"): LABELS,
    (m.RenameFolder, "name"): LABELS,
    (m.DeleteFolder, "folder"): LABELS,
    (m.PutPreset, "name"): PRESETS,
    (m.PutPreset, "parameters"): PROMPTS,
    (m.PutPreset, "values"): (SAID[0], []),  # what is wrong is told by the name of the parameter: see test_organizing
    (m.DeletePreset, "name"): PRESETS,
}


def test_every_field_but_booleans_has_a_range_and_edges() -> None:
    """Also those that are added one day."""
    fields = {
        (kind, field.name)
        for kind in REQUESTS
        for field in msgspec.structs.fields(kind)
        if field.type not in (bool, bool | None)
    }
    assert {(kind, name) for kind, rules in RULES.items() for name, _ in rules} == fields
    assert set(EDGES) == fields


@pytest.mark.parametrize(("kind", "name"), EDGES, ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_edges(kind: type[Any], name: str) -> None:
    good, bad = EDGES[kind, name]
    for value in good:
        request = kind(**{**BASE.get(kind, {}), name: value})
        check(request)
        assert decode_request(encode(request)) == request
    for value in bad:
        request = kind(**{**BASE.get(kind, {}), name: value})
        with pytest.raises(BadMessage, match=f"{name}: got .*, allowed .*; ") as caught:
            check(request)
        text = str(caught.value)
        assert len(text) < 300
        assert text.isprintable()
        with pytest.raises(BadMessage, match=name):
            decode_request(encode(request))


def test_oldest_up_to_version() -> None:
    check(m.Hello(version=3, oldest=3))
    with pytest.raises(BadMessage, match=r"oldest: got 4, allowed up to version \(3\)"):
        check(m.Hello(version=3, oldest=4))


# ---- frames --------------------------------------------------------------------------------------------------------


def test_frames_there_and_back() -> None:
    show = m.Show(job="j")
    assert read_request(request_frames(b"1", show)) == (b"1", show)
    assert split_request([b"x" * 16, b"?"]) == (b"x" * 16, b"?")
    chunk = m.Chunk(offset=0, total=1, digest="d")
    assert read_reply(reply_frames(b"1", chunk, b"x")) == (b"1", chunk, b"x")
    assert read_reply(reply_frames(b"", m.Pong())) == (b"", m.Pong(), None)
    assert split_reply([b"", b"?"]) == (b"", b"?", None)


@pytest.mark.parametrize("frames", [[], [b"1"], [b"1", b"2", b"3"], [b"1", b"2", b"3", b"4"]], ids=len)
def test_wrong_number_of_frames(frames: list[bytes]) -> None:
    with pytest.raises(BadMessage, match=f"frames: got {len(frames)}, allowed 2") as caught:
        read_request(frames)
    assert caught.value.id == (frames[0] if frames else b"")
    if not 2 <= len(frames) <= 3:
        with pytest.raises(BadMessage, match=f"frames: got {len(frames)}, allowed 2 or 3") as caught:
            read_reply(frames)
        assert caught.value.id == (frames[0] if frames else b"")


def test_too_long_an_id() -> None:
    for read in (read_request, read_reply):
        with pytest.raises(BadMessage, match="id: got 17 bytes, allowed up to 16") as caught:
            read([b"x" * 17, encode(m.Ping())])
        assert caught.value.id == b""


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"", BadMessage), (b"\x81\xa4type\xa5dream", UnknownMessage), (b"x" * 70_000, TooLarge)],
    ids=["bad", "unknown", "large"],
)
def test_errors_have_the_id(body: bytes, error: type[MessageError]) -> None:
    with pytest.raises(error) as caught:
        read_request([b"id", body])
    assert caught.value.id == b"id"


@pytest.mark.parametrize("request_", [m.Bye(), m.Credit(fetch=b"1")], ids=["bye", "credit"])
def test_notices_have_no_id(request_: m.Request) -> None:
    assert read_request([b"", encode(request_)]) == (b"", request_)
    with pytest.raises(BadMessage, match="it is a notice") as caught:
        read_request([b"7", encode(request_)])
    assert caught.value.id == b"7"


def test_requests_have_an_id() -> None:
    with pytest.raises(BadMessage, match="id: got none, allowed 1 to 16 bytes"):
        read_request([b"", encode(m.Show(job="j"))])
    assert read_request([b"", encode(m.Ping())]) == (b"", m.Ping())


def test_bytes_where_they_belong() -> None:
    preview = m.Event(number=1, kind="preview")
    assert has_payload(preview)
    assert not has_payload(m.Event(number=1, kind="step"))
    for record in (preview, m.Chunk(offset=0, total=1, digest="d")):
        with pytest.raises(BadMessage, match="third frame: got none") as caught:
            read_reply([b"1", encode(record)])
        assert caught.value.id == b"1"
        with pytest.raises(AssertionError):
            reply_frames(b"1", record)
    newer = m.Event(number=2, kind="vision")
    assert read_reply([b"1", encode(newer), b"?"]) == (b"1", newer, b"?")


# ---- versions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "server", "spoken"),
    [((1, 1), (1, 1), 1), ((1, 3), (1, 1), 1), ((1, 1), (1, 3), 1), ((2, 4), (1, 3), 3), ((1, 2), (2, 3), 2)],
)
def test_the_newest_version_that_both_speak(client: tuple[int, int], server: tuple[int, int], spoken: int) -> None:
    hello = m.Hello(oldest=client[0], version=client[1])
    assert negotiate(hello, oldest=server[0], version=server[1])[0] == spoken


@pytest.mark.parametrize(
    ("client", "server", "remedy"),
    [((2, 3), (1, 1), "use a newer server"), ((1, 1), (2, 3), "use a newer client")],
)
def test_no_version_that_both_speak(client: tuple[int, int], server: tuple[int, int], remedy: str) -> None:
    hello = m.Hello(oldest=client[0], version=client[1])
    text = f"version: got {client[0]} to {client[1]}, allowed {server[0]} to {server[1]}; {remedy}"
    with pytest.raises(UnsupportedVersion, match=text) as caught:
        negotiate(hello, oldest=server[0], version=server[1])
    assert caught.value.code == "unsupported"


def test_features_that_both_know() -> None:
    assert negotiate(m.Hello(features=("ops", "dreams", "previews", "ops"))) == (1, ("previews", "ops"))
    assert negotiate(m.Hello())[1] == ()
