"""State the parameters as plain records, of which a page can draw its controls."""

from __future__ import annotations

from typing import Any, Final

from .kinds import Aspect, Box, Interval, Kind, Number, OneOf, Switch, Whole, Words
from .known import Parameter, parameters
from .profiles import Profiles
from .references import Picture, Pictures, References

KINDS: Final[dict[type[Any], str]] = {
    Whole: "whole", Number: "number", Words: "text", OneOf: "choice", Switch: "switch", Aspect: "aspect", Box: "box",
    Interval: "interval",
    References: "references", Picture: "picture", Pictures: "pictures", Profiles: "profiles",
}  # fmt: skip


def records() -> list[dict[str, Any]]:
    """Return all parameters, in the order of the list, in plain values."""
    return [_record(parameter) for parameter in parameters().values()]


def _record(parameter: Parameter) -> dict[str, Any]:
    kind = parameter.kind
    return {
        "name": parameter.name,
        "flags": parameter.flags,
        "kind": word_of(kind),
        "help": parameter.help,
        "allowed": kind.allowed,
        "default": parameter.default,
        "remedy": parameter.remedy,
        "low": getattr(kind, "low", None),
        "high": getattr(kind, "high", None),
        "choices": kind.names if isinstance(kind, OneOf) else (),
        "values": {f"{each.flag} {each.word}".strip(): each.value for each in parameter.spellings},
        "many": kind.many,
        "conflicts": parameter.conflicts,
        "job_kinds": parameter.job_kinds,
        "families": parameter.families,
        "lanes": parameter.lanes,
        "missing": parameter.missing,
        "of_job": parameter.of_job,
    }


def word_of(kind: Kind) -> str:
    """Return what a kind of values is called; one that is not known here by the name of its class."""
    return KINDS.get(type(kind), type(kind).__name__.lower())
