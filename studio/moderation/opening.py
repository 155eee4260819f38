"""Open the policies that an operator names: a callable of a module, an address, or a list of words."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

from ...errors import complaint
from ...given import items_of
from ..errors import EndpointError, PolicyError
from .http_policy import HttpPolicy
from .types import STAGES, Policy, checked_stages, stages_of
from .word_list import WordList

WORDS: Final = "words:"
ADDRESSES: Final = ("http://", "https://")
KEY: Final = "SALON_POLICY_KEY"  # environment variable: what an address is told to know us by
FORMS: Final = "words:FILE, http(s)://HOST/PATH or MODULE:CALLABLE"


class OpenPolicy(NamedTuple):
    """A policy that can be asked.

    Attributes:
        name: for the log.
        ask: the policy.
        stages: when it is asked.
    """

    name: str
    ask: Policy
    stages: tuple[str, ...]


def open_policies(
    named: str | Policy | Iterable[str | Policy] | None, *, stages: tuple[str, ...], timeout_s: float
) -> tuple[OpenPolicy, ...]:
    """Return policies, in the order in which they are asked.

    Args:
        named: a policy, or several; each a callable, or its name (`FORMS`).
        stages: when addresses are asked.
        timeout_s: seconds that an address has for an answer.

    Raises:
        PolicyError: there is no such policy, it is no callable, or its list of words cannot be read.
    """
    if named is None:
        return ()
    several = (named,) if isinstance(named, str) or callable(named) else items_of(named)
    if several is None:
        got = f"an object of type {type(named).__name__}"
        raise PolicyError(complaint("policy", got, "a callable, its name, or a list of these", "give one"))
    return tuple([_open(each, checked_stages(stages), timeout_s) for each in several])


def _open(named: str | Policy, stages: tuple[str, ...], timeout_s: float) -> OpenPolicy:
    if not isinstance(named, str):
        if not callable(named):
            got = type(named).__name__
            raise PolicyError(complaint("policy", f"an object of type {got}", "a callable, or its name", "give one"))
        return OpenPolicy(getattr(named, "__name__", type(named).__name__), named, stages_of(named))
    if named.startswith(WORDS):
        policy: Policy = WordList(Path(os.path.expanduser(named.removeprefix(WORDS))))
        return OpenPolicy(named, policy, stages_of(policy))
    if named.startswith(ADDRESSES):
        try:
            made = HttpPolicy(named, key=os.environ.get(KEY, ""), stages=stages, timeout_s=timeout_s)
        except EndpointError as error:
            raise PolicyError(f"policy {error}") from error
        return OpenPolicy(made.name, made, made.stages)
    policy = _imported(named)
    own = stages_of(policy)
    both = tuple(stage for stage in own if stage in stages) if stages != STAGES else own
    return OpenPolicy(named, policy, checked_stages(both))


def _imported(named: str) -> Policy:
    """Return a callable by MODULE:NAME."""
    module, colon, name = named.partition(":")
    if not colon or not module or not name:
        raise PolicyError(complaint("policy", repr(named[:100]), FORMS, "name one of these"))
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        if isinstance(found, type):
            found = found()
    except Exception as error:  # the operator's module may raise anything
        remedy = "correct the name, or PYTHONPATH"
        got = f"{named!r}, which cannot be imported ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        raise PolicyError(complaint("policy", got, FORMS, remedy)) from error
    if not callable(found):
        got = f"{named!r}, which is a {type(found).__name__}"
        raise PolicyError(complaint("policy", got, "a callable", "name a function"))
    policy: Policy = found
    return policy
