"""Hypothesis strategies for every record of the wire, made from the types in messages.py.

`records(kind)` gives any values that the types allow; `requests()` and `sound(kind)` only such as `checks.py` takes.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from salon.bounds import MAX_IMAGES, MAX_REFERENCE_BYTES, MAX_SEED, MAX_SIDE, MAX_STEPS
from salon.frontends.wire import messages as m

REQUESTS: tuple[type[m.Record], ...] = get_args(m.Request)
REPLIES: tuple[type[m.Record], ...] = get_args(m.Reply)

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
WHOLE = st.integers(-(2**63), 2**64 - 1)
NAMES = st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True)
WORDS = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,31}", fullmatch=True)
ACCOUNTS = st.one_of(st.just("local"), st.text("0123456789abcdef", min_size=64, max_size=64))
COUNTS = st.integers(0, 2**63 - 1)
LABELS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=100)
PROMPTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
WORDED = PROMPTS.filter(str.strip)
IDS = st.binary(min_size=1, max_size=16)
CREDITS = st.integers(1, m.Limits().max_credit)
PAGES = st.integers(1, 200)
SIDES = st.integers(1, MAX_SIDE)
LISTS = st.from_regex(r"[a-z0-9]{1,8}([-_][a-z0-9]{1,8}){0,3}", fullmatch=True)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
MANY_DIGESTS = st.lists(DIGESTS, max_size=3).map(tuple)
MANY_NAMES = st.lists(NAMES, max_size=3).map(tuple)
MANY_WORDS = st.lists(WORDS, max_size=3).map(tuple)
PRESETS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
INDEXES = st.integers(0, 2**16)
STYLES = st.builds(m.StyleWeight, number=st.integers(0, 2**32 - 1), weight=st.floats(0.01, 100))
REFERENCES = st.lists(
    st.tuples(st.integers(0, 2**32 - 1) | DIGESTS, st.floats(0.01, 100)),
    min_size=1,
    max_size=4,
    unique_by=lambda r: r[0],
)
SOURCES = st.builds(m.Source, job=NAMES, index=st.integers(-1, 2**16)) | st.builds(m.Source, digest=DIGESTS)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "aspect": st.tuples(*[st.floats(1e-6, 1e6)] * 2).map(list),
        "seed": st.integers(0, MAX_SEED),
        "steps": st.integers(1, MAX_STEPS),
        "negative_prompt": PROMPTS,
        "no": PROMPTS,
        "terms": st.lists(st.tuples(WORDED, st.floats(-100, 100)).map(list), min_size=1, max_size=8),
        "prompt_weight": st.floats(-100, 100),
        "image": DIGESTS,
        "image_strength": st.floats(0, 1),
        "mask": DIGESTS,
        "feather": st.integers(0, 256),
        "stylize": st.floats(0, 1000),
        "raw": st.booleans(),
        "style_references": REFERENCES.map(lambda pairs: [list(pair) for pair in pairs]),
    },
)


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type as it stands in a record."""
    if get_origin(kind) in (Union, types.UnionType):
        return st.one_of(*(of_type(one) for one in get_args(kind)))
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if inner[-1] is Ellipsis:
            return st.lists(of_type(inner[0]), max_size=3).map(tuple)
        return st.tuples(*(of_type(one) for one in inner))
    if get_origin(kind) is dict:
        key, value = get_args(kind)
        return st.dictionaries(of_type(key), of_type(value), max_size=3)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return records(kind)
    if kind is Any:
        return st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT
    plain: dict[Any, st.SearchStrategy[Any]] = {
        int: WHOLE,
        float: st.floats(allow_nan=False),  # NaN is not itself, so a round trip could not be checked
        bool: st.booleans(),
        str: TEXT,
        bytes: st.binary(max_size=16),
        type(None): st.none(),
    }
    return plain[kind]


def records(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any record of this kind; every field that may be left out sometimes is."""
    hints = get_type_hints(kind)
    needed = {f.name: of_type(hints[f.name]) for f in msgspec.structs.fields(kind) if f.required}
    others = {f.name: of_type(hints[f.name]) for f in msgspec.structs.fields(kind) if not f.required}
    return st.fixed_dictionaries(needed, optional=others).map(lambda values: kind(**values))


SOUND: dict[type[msgspec.Struct], dict[str, st.SearchStrategy[Any]]] = {
    m.Hello: {
        "version": st.integers(1, 2**31 - 1),
        "oldest": st.just(1),
        "features": st.lists(WORDS, max_size=4).map(tuple),
        "client": LABELS,
    },
    m.Submit: {
        "key": NAMES,
        "prompt": PROMPTS,
        "lane": WORDS,
        "negative_prompt": PROMPTS,
        "aspect": st.none() | st.tuples(*[st.floats(1e-6, 1e6)] * 2),
        "width": st.none() | SIDES,
        "height": st.none() | SIDES,
        "steps": st.none() | st.integers(1, MAX_STEPS),
        "seed": st.none() | st.integers(0, MAX_SEED),
        "images": st.integers(1, MAX_IMAGES),
        "guidance_scale": st.none() | st.floats(0, 100),
        "solver": st.none() | WORDS,
        "shift": st.none() | st.floats(0.01, 100),
        "preview_every": st.integers(0, 1000),
        "parameters": st.none() | PARAMETERS,
        "kind": WORDS,
        "sources": st.lists(SOURCES, max_size=8).map(tuple),
    },
    m.Plan: {
        "prompt": PROMPTS,
        "parameters": PARAMETERS,
        "kind": WORDS,
        "sources": st.lists(SOURCES, max_size=8).map(tuple),
    },
    m.ChangeSettings: {"parameters": PARAMETERS, "suffix": st.none() | PROMPTS, "reset": st.booleans()},
    m.Upload: {
        "digest": DIGESTS,
        "size": st.integers(1, MAX_REFERENCE_BYTES),
        "offset": st.integers(0, MAX_REFERENCE_BYTES),
        "data": st.binary(max_size=64),
    },
    m.Watch: {"job": NAMES, "after": COUNTS},
    m.Unwatch: {"watch": IDS},
    m.Show: {"job": NAMES},
    m.ListJobs: {
        "before": COUNTS,
        "limit": PAGES,
        "states": st.lists(WORDS, max_size=16).map(tuple),
        "account": ACCOUNTS | st.sampled_from(["", "*"]),
    },
    m.Cancel: {"job": NAMES},
    m.Delete: {"job": NAMES},
    m.Fetch: {"job": NAMES, "index": st.integers(-1, 2**16), "offset": COUNTS, "credit": CREDITS},
    m.Credit: {"fetch": IDS, "chunks": CREDITS},
    m.Info: {"account": ACCOUNTS | st.just("")},
    m.Words: {"like": LABELS},
    m.ListWildcards: {"name": st.just("") | LISTS, "after": COUNTS},
    m.OpsAccounts: {"after": LABELS, "limit": PAGES},
    m.OpsSetAccount: {
        "account": ACCOUNTS,
        "name": st.none() | LABELS,
        "plan": st.none() | WORDS,
        "role": st.none() | WORDS,
        "quota_bytes": st.none() | COUNTS,
    },
    m.OpsGrant: {
        "account": ACCOUNTS,
        "amount_ms": st.integers(1, 2**63 - 1),
        "key": NAMES,
        "source": WORDS,
        "expires_ms": COUNTS,
    },
    m.OpsLedger: {"account": ACCOUNTS | st.just(""), "after": COUNTS, "limit": PAGES},
    m.OpsRetry: {"job": NAMES},
    m.OpsBlocks: {"account": ACCOUNTS | st.just(""), "before": COUNTS, "limit": PAGES},
    m.OpsLift: {"account": ACCOUNTS},
    m.Again: {
        "key": NAMES,
        "job": NAMES,
        "seed": st.none() | st.integers(0, 2**64 - 1),
        "preview_every": st.none() | st.integers(0, 1000),
    },
    m.ChatSay: {
        "key": NAMES,
        "text": PROMPTS,
        "chat": COUNTS,
        "turn": COUNTS,
        "prompt": st.none() | PROMPTS,
        "job": st.just("") | NAMES,
        "preview_every": st.integers(0, 1000),
    },
    m.ListChats: {"before": COUNTS, "limit": PAGES},
    m.ShowChat: {"chat": st.integers(1, 2**63 - 1), "after": COUNTS, "limit": PAGES},
    m.DeleteChat: {"chat": st.integers(1, 2**63 - 1)},
    m.TasteNext: {"profile": LABELS},
    m.TasteRank: {"pair": NAMES, "choice": st.sampled_from(["left", "right", "skip"])},
    m.TastePick: {"job": NAMES, "picked": st.lists(INDEXES, max_size=8).map(tuple), "profile": LABELS},
    m.TasteLike: {"job": NAMES, "index": INDEXES},
    m.ListTasteEvents: {"profile": LABELS, "before": COUNTS, "limit": PAGES},
    m.TasteSwitch: {"event": st.integers(1, 2**63 - 1)},
    m.TasteUndo: {"profile": LABELS},
    m.ListTasteProfiles: {"profile": LABELS},
    m.NewTasteProfile: {
        "name": LABELS,
        "kind": st.sampled_from(["profile", "moodboard", "tuner"]),
        "pictures": MANY_DIGESTS,
        "styles": st.lists(STYLES, max_size=3).map(tuple),
    },
    m.ChangeTasteProfile: {
        "profile": LABELS,
        "name": st.none() | LABELS,
        "add": MANY_DIGESTS,
        "remove": MANY_DIGESTS,
    },
    m.DeleteTasteProfile: {"profile": LABELS, "codes": st.sampled_from(["", "keep", "revoke"])},
    m.ListTasteCodes: {"profile": LABELS},
    m.TasteRevoke: {"code": st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=16, max_size=16)},
    m.GetTasteReport: {"profile": LABELS},
    m.NewLink: {"account": ACCOUNTS | st.just(""), "new": LABELS},
    m.NewToken: {"name": LABELS},
    m.EndEntry: {"id": st.text("0123456789abcdef", min_size=12, max_size=12)},
    m.ListNames: {
        "whose": st.sampled_from(["own", "public", "all"]),
        "owner": ACCOUNTS | st.just(""),
        "search": PROMPTS,
        "kinds": MANY_WORDS,
        "lanes": MANY_WORDS,
        "states": MANY_WORDS,
        "model": LABELS,
        "from_ms": COUNTS,
        "until_ms": COUNTS,
        "folder": LABELS,
        "after": COUNTS,
        "limit": st.integers(1, 20_000),
    },
    m.ShowJobs: {"jobs": MANY_NAMES},
    m.GetMarks: {"jobs": MANY_NAMES},
    m.ChangeJobs: {"act": st.sampled_from(["publish", "hide", "add"]), "jobs": MANY_NAMES, "folder": LABELS},
    m.NewFolder: {"name": LABELS},
    m.RenameFolder: {"folder": LABELS, "name": LABELS},
    m.DeleteFolder: {"folder": LABELS},
    m.PutPreset: {"name": PRESETS, "parameters": PROMPTS, "values": PARAMETERS},
    m.DeletePreset: {"name": PRESETS},
}


def sound(kind: type[m.Record]) -> st.SearchStrategy[Any]:
    """Requests of this kind with every field in its range."""
    hints = get_type_hints(kind)
    known = SOUND.get(kind, {})
    fields = msgspec.structs.fields(kind)
    values = {field.name: known[field.name] if field.name in known else of_type(hints[field.name]) for field in fields}
    needed = {field.name: values[field.name] for field in fields if field.required}
    others = {field.name: values[field.name] for field in fields if not field.required}
    return st.fixed_dictionaries(needed, optional=others).map(lambda chosen: kind(**chosen))


def requests(kinds: Sequence[type[m.Record]] = REQUESTS) -> st.SearchStrategy[Any]:
    """Sound requests of all kinds."""
    return st.one_of(*(sound(kind) for kind in kinds))


def replies(kinds: Sequence[type[m.Record]] = REPLIES) -> st.SearchStrategy[Any]:
    """Replies of all kinds, any values."""
    return st.one_of(*(records(kind) for kind in kinds))
