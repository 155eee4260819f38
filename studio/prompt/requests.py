"""From a submit in the prompt language to the requests for its jobs, each of which says the same for itself alone."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable
from typing import Any

from ...bounds import ID, RANDOM_SEEDS
from ...errors import complaint
from ...parameters.errors import ParameterError
from ...parameters.language.data import data_of
from ...parameters.language.prompt import Prompt


def choices(*names: str) -> Callable[[], int]:
    """Return a maker of numbers below 2^32 that are random, and the same for the same names: a submit that is repeated
    under its key is the same submit."""
    numbers = itertools.count()

    def choose() -> int:
        digest = hashlib.sha256("\0".join([*names, str(next(numbers))]).encode()).digest()
        return int.from_bytes(digest[:8], "little") % RANDOM_SEEDS

    return choose


def keys_of(key: str, count: int) -> list[str]:
    """Return the keys of the jobs of a submit: its own for one, else `KEY.0`, `KEY.1`, and so on. ParameterError: they
    become too long."""
    if count == 1:
        return [key]
    keys = [f"{key}.{i}" for i in range(count)]
    if not re.fullmatch(ID, keys[-1]):
        longest = 63 - len(str(count - 1))
        got, allowed = f"{len(key)} characters for {count} jobs", f"up to {longest}"
        raise ParameterError(complaint("key", got, allowed, "choose a shorter one"))
    return keys


def said_by(prompt: Prompt, *names: str) -> dict[str, Any]:
    """Return the parameters of a prompt as data; `names`: of whose randomness its random numbers are made."""
    return data_of(prompt, choose=choices(*names))
