"""Check the ranges of what clients send, where a type cannot state them.

The server checks what depends on model, plan or configuration.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ...bounds import (
    DIGEST,
    GUIDANCE,
    ID,
    LIST,
    LOCAL,
    MAX_BULK,
    MAX_IMAGES,
    MAX_LABEL,
    MAX_LORA_BYTES,
    MAX_NAMES,
    MAX_PAGE,
    MAX_PREVIEW_EVERY,
    MAX_PROMPT,
    MAX_SEED,
    MAX_SIDE,
    MAX_SOURCE,
    MAX_SOURCES,
    MAX_STEPS,
    MAX_STYLE_NUMBER,
    MAX_UPLOAD_PART,
    PRESET,
    PUBLIC_KEY,
    REFERENCE_WEIGHT,
    SHIFT,
    TASTE,
    WORD,
)
from ...errors import complaint
from ...parameters.errors import ParameterError
from ...parameters.known import checked, parameters
from . import messages as m
from . import organize as o
from . import taste as t
from .errors import BadMessage

MAX_ID: Final = 16  # bytes of a message's id
MAX_FEATURES: Final = 64
MAX_COUNT: Final = 2**63 - 1  # the largest number, time or offset: a database's integer holds no larger one

_NAME: Final = re.compile(ID)
_WORD: Final = re.compile(WORD)
_ACCOUNT: Final = re.compile(f"{PUBLIC_KEY}|{LOCAL}")
_SEEN: Final = re.compile(f"{PUBLIC_KEY}|{LOCAL}|{re.escape(TASTE)}")  # accounts that operators look at
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Check = Callable[[str, Any], None]  # (name of the field, its value); raises BadMessage


def check(request: m.Request) -> None:
    """Check that every field of a request is in its range.

    Raises:
        BadMessage: a field is not; the message names it, its value and what is allowed.
    """
    rules = RULES.get(type(request), ())
    if type(request) is m.Submit and request.language:
        rules = _IN_LANGUAGE
    for name, rule in rules:
        value = getattr(request, name)
        if value is not None:
            rule(name, value)
    if type(request) is m.Hello and request.oldest > request.version:
        raise _bad("oldest", request.oldest, f"up to version ({request.version})")


def _bad(name: str, got: Any, allowed: str, remedy: str = "correct it") -> BadMessage:
    text = repr(got)
    return BadMessage(complaint(name, text if len(text) <= 80 else f"{text[:80]}...", allowed, remedy))


def _whole(low: int, high: int) -> Check:
    def rule(name: str, value: int) -> None:
        if not low <= value <= high:
            raise _bad(name, value, f"{low} to {high}")

    return rule


def _number(low: float, high: float) -> Check:
    def rule(name: str, value: float) -> None:
        if not low <= value <= high:  # also false for NaN
            raise _bad(name, value, f"{low:g} to {high:g}")

    return rule


def _match(pattern: re.Pattern[str], allowed: str, *besides: str) -> Check:
    def rule(name: str, value: str) -> None:
        if not pattern.fullmatch(value) and value not in besides:
            raise _bad(name, value, allowed)

    return rule


def _bytes(name: str, value: bytes) -> None:
    if not 1 <= len(value) <= MAX_ID:
        raise _bad(name, value, f"the id of a request, 1 to {MAX_ID} bytes")


def _prompt(name: str, value: str) -> None:
    if len(value) > MAX_PROMPT:
        raise _bad(name, f"{len(value):,} characters", f"up to {MAX_PROMPT:,}", "shorten it")
    if "\0" in value:
        raise _bad(name, value, "text without NUL")


def _label(name: str, value: str) -> None:
    if len(value) > MAX_LABEL or _CONTROL.search(value):
        raise _bad(name, value, f"up to {MAX_LABEL} characters, none of them control characters")


def _words(most: int) -> Check:
    def rule(name: str, values: tuple[str, ...]) -> None:
        if len(values) > most:
            raise _bad(name, f"{len(values)} words", f"up to {most}")
        for value in values:
            _word(name, value)

    return rule


def _part(name: str, value: bytes) -> None:
    if len(value) > MAX_UPLOAD_PART:
        raise _bad(name, f"{len(value):,} bytes", f"up to {MAX_UPLOAD_PART:,}", "send smaller parts")


def _parameters(name: str, value: dict[str, Any]) -> None:
    try:
        checked(value)
    except ParameterError as error:
        raise BadMessage(str(error)) from error


def _all_parameters(name: str, value: dict[str, Any]) -> None:
    """Also those that say how a job is done."""
    try:
        checked(value, known=parameters())
    except ParameterError as error:
        raise BadMessage(str(error)) from error


def _source(name: str, value: str) -> None:
    if len(value) > MAX_SOURCE:
        raise _bad(name, f"{len(value):,} characters", f"up to {MAX_SOURCE:,}", "shorten it")


def _sources(name: str, values: tuple[m.Source, ...]) -> None:
    if len(values) > MAX_SOURCES:
        raise _bad(name, f"{len(values)} pictures", f"up to {MAX_SOURCES}")
    for value in values:
        if bool(value.job) == bool(value.digest):
            raise _bad(name, value, "each with a job's id, or a digest")
        _job(name, value.job) if value.job else _digest(name, value.digest)
        _whole(m.GRID, 2**16)(name, value.index)


def _one_of(*words: str) -> Check:
    def rule(name: str, value: str) -> None:
        if value not in words:
            raise _bad(name, value, " or ".join(repr(word) for word in words))

    return rule


def _each(rule: Check, what: str, most: int = MAX_PAGE) -> Check:
    def every(name: str, values: tuple[Any, ...]) -> None:
        if len(values) > most:
            raise _bad(name, f"{len(values)} {what}", f"up to {most} at a time", "send fewer")
        for value in values:
            rule(name, value)

    return every


def _style(name: str, value: m.StyleWeight) -> None:
    _whole(0, MAX_STYLE_NUMBER)(name, value.number)
    _number(*REFERENCE_WEIGHT)(name, value.weight)


def _aspect(name: str, value: tuple[float, float]) -> None:
    if not all(math.isfinite(side) and side > 0 for side in value):
        raise _bad(name, value, "two numbers above 0", "write it like 16:9")


_key = _job = _match(_NAME, "1 to 64 letters, digits, '.', '_', ':' or '-'")
_any_job = _match(_NAME, "1 to 64 letters, digits, '.', '_', ':' or '-', or ''", "")
_word = _match(_WORD, "a word of up to 32 small letters, digits, '_', '.' or '-'")
_account = _match(_ACCOUNT, f"64 hex digits (small letters) of a public key, or {LOCAL!r}")
_any_account = _match(_ACCOUNT, f"64 hex digits (small letters) of a public key, {LOCAL!r}, or ''", "")
_seen = _match(_SEEN, f"64 hex digits (small letters) of a public key, {LOCAL!r}, {TASTE!r} or ''", "")
_accounts = _match(_SEEN, f"64 hex digits (small letters) of a public key, {LOCAL!r}, {TASTE!r}, '*' or ''", "", "*")
_digest = _match(re.compile(DIGEST), "64 hex digits (small letters) of a sha256")
_list = _match(re.compile(LIST), "the name of a list, up to 64 small letters, digits, '-' or '_'", "")
_code = _match(re.compile(r"[a-z2-7]{16}"), "a code, 16 characters of a-z and 2-7")
_entry = _match(re.compile(r"[0-9a-f]{12}"), "12 hex digits, as `entry.list` tells them")
_preset = _match(re.compile(PRESET), "the name of a preset, up to 64 letters, digits, _ and -")
_count = _whole(0, MAX_COUNT)
_event = _whole(1, MAX_COUNT)
_index = _whole(0, 2**16)
_pictures = _each(_digest, "pictures")
_credit = _whole(1, m.Limits().max_credit)
_page = _whole(1, MAX_PAGE)
_side = _whole(1, MAX_SIDE)

RULES: Final[dict[type[msgspec.Struct], tuple[tuple[str, Check], ...]]] = {
    m.Hello: (
        ("version", _whole(1, 2**31 - 1)),
        ("oldest", _whole(1, 2**31 - 1)),
        ("features", _words(MAX_FEATURES)),
        ("client", _label),
    ),
    m.Submit: (
        ("key", _key),
        ("prompt", _prompt),
        ("lane", _word),
        ("negative_prompt", _prompt),
        ("aspect", _aspect),
        ("width", _side),
        ("height", _side),
        ("steps", _whole(1, MAX_STEPS)),
        ("seed", _whole(0, MAX_SEED)),
        ("images", _whole(1, MAX_IMAGES)),
        ("guidance_scale", _number(*GUIDANCE)),
        ("solver", _word),
        ("shift", _number(*SHIFT)),
        ("preview_every", _whole(0, MAX_PREVIEW_EVERY)),
        ("parameters", _parameters),
        ("kind", _word),
        ("sources", _sources),
    ),
    m.Again: (
        ("key", _key),
        ("job", _job),
        ("seed", _whole(0, MAX_SEED)),
        ("preview_every", _whole(0, MAX_PREVIEW_EVERY)),
    ),
    m.Plan: (("prompt", _source), ("parameters", _all_parameters), ("kind", _word), ("sources", _sources)),
    m.ChangeSettings: (("parameters", _all_parameters), ("suffix", _source)),
    m.Upload: (
        ("digest", _digest),
        ("size", _whole(1, MAX_LORA_BYTES)),
        ("offset", _whole(0, MAX_LORA_BYTES)),
        ("data", _part),
    ),
    m.Watch: (("job", _job), ("after", _count)),
    m.Unwatch: (("watch", _bytes),),
    m.Show: (("job", _job),),
    m.ListJobs: (("before", _count), ("limit", _page), ("states", _words(16)), ("account", _accounts)),
    m.Cancel: (("job", _job),),
    m.Delete: (("job", _job),),
    m.Fetch: (("job", _job), ("index", _whole(m.GRID, 2**16)), ("offset", _count), ("credit", _credit)),
    m.Credit: (("fetch", _bytes), ("chunks", _credit)),
    m.Info: (("account", _seen),),
    m.Words: (("like", _label),),
    m.ListWildcards: (("name", _list), ("after", _count)),
    m.OpsAccounts: (("after", _label), ("limit", _page)),
    m.OpsSetAccount: (
        ("account", _account),
        ("name", _label),
        ("plan", _word),
        ("role", _word),
        ("quota_bytes", _count),
    ),
    m.OpsGrant: (
        ("account", _account),
        ("amount_ms", _whole(1, MAX_COUNT)),
        ("key", _key),
        ("source", _word),
        ("expires_ms", _count),
    ),
    m.OpsLedger: (("account", _seen), ("after", _count), ("limit", _page)),
    m.OpsRetry: (("job", _job),),
    m.OpsBlocks: (("account", _seen), ("before", _count), ("limit", _page)),
    m.OpsLift: (("account", _account),),
    m.ChatSay: (
        ("key", _key),
        ("text", _source),
        ("chat", _count),
        ("turn", _count),
        ("prompt", _source),
        ("job", _any_job),
        ("preview_every", _whole(0, MAX_PREVIEW_EVERY)),
    ),
    m.ListChats: (("before", _count), ("limit", _page)),
    m.ShowChat: (("chat", _event), ("after", _count), ("limit", _page)),
    m.DeleteChat: (("chat", _event),),
    m.TasteNext: (("profile", _label),),
    m.TasteRank: (("pair", _key), ("choice", _one_of(*t.CHOICES))),
    m.TastePick: (("job", _job), ("picked", _each(_index, "pictures")), ("profile", _label)),
    m.TasteLike: (("job", _job), ("index", _index)),
    m.ListTasteEvents: (("profile", _label), ("before", _count), ("limit", _page)),
    m.TasteSwitch: (("event", _event),),
    m.TasteUndo: (("profile", _label),),
    m.ListTasteProfiles: (("profile", _label),),
    m.NewTasteProfile: (
        ("name", _label),
        ("kind", _one_of(*t.PROFILE_KINDS)),
        ("pictures", _pictures),
        ("styles", _each(_style, "styles")),
    ),
    m.ChangeTasteProfile: (("profile", _label), ("name", _label), ("add", _pictures), ("remove", _pictures)),
    m.DeleteTasteProfile: (("profile", _label), ("codes", _one_of("", *t.CODES))),
    m.ListTasteCodes: (("profile", _label),),
    m.TasteRevoke: (("code", _code),),
    m.GetTasteReport: (("profile", _label),),
    m.NewLink: (("account", _any_account), ("new", _label)),
    m.NewToken: (("name", _label),),
    m.EndEntry: (("id", _entry),),
    m.ListNames: (
        ("whose", _one_of(*o.WHOSE)),
        ("owner", _any_account),
        ("search", _prompt),
        ("kinds", _words(16)),
        ("lanes", _words(16)),
        ("states", _words(16)),
        ("model", _label),
        ("from_ms", _count),
        ("until_ms", _count),
        ("folder", _label),
        ("after", _count),
        ("limit", _whole(1, MAX_NAMES)),
    ),
    m.ShowJobs: (("jobs", _each(_job, "jobs")),),
    m.GetMarks: (("jobs", _each(_job, "jobs")),),
    m.ChangeJobs: (("act", _one_of(*o.ACTS)), ("jobs", _each(_job, "jobs", MAX_BULK)), ("folder", _label)),
    m.NewFolder: (("name", _label),),
    m.RenameFolder: (("folder", _label), ("name", _label)),
    m.DeleteFolder: (("folder", _label),),
    m.PutPreset: (("name", _preset), ("parameters", _prompt), ("values", _all_parameters)),
    m.DeletePreset: (("name", _preset),),
}
_OTHERWISE: Final[dict[str, Check]] = {"prompt": _source, "parameters": _all_parameters}
_IN_LANGUAGE: Final = tuple((name, _OTHERWISE.get(name, rule)) for name, rule in RULES[m.Submit])
