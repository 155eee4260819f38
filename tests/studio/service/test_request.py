"""Requests of programs, and the fingerprints that old folders have of them."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np
import pytest

from salon.engine.errors import SpecError
from salon.parameters.job_request import JobRequest, Source
from salon.studio.service.request import fingerprint, request_of

# As stored by every version so far: a repeated request must be told from another one after an update as well.
STORED = (
    (
        JobRequest(key="a", prompt="cat"),
        ["cat", "fast", "", None, None, None, None, None, 4, None, None, None, False, 0],
    ),
    (
        JobRequest(key="b", prompt="a dog", lane="relax", aspect=(16, 9), steps=2, seed=7, images=1, private=True),
        ["a dog", "relax", "", (16, 9), None, None, 2, 7, 1, None, None, None, True, 0],
    ),
)


@pytest.mark.parametrize(("request_", "values"), STORED)
def test_fingerprints_are_those_that_are_stored(request_: JobRequest, values: list[Any]) -> None:
    assert fingerprint(request_) == hashlib.sha256(msgspec.msgpack.encode(values)).digest()


class Newer(JobRequest, frozen=True, kw_only=True):
    """As a later version may have it."""

    parameters: dict[str, int] = {}
    mood: str = ""


def test_a_field_that_is_added_leaves_stored_fingerprints_true() -> None:
    old = JobRequest(key="a", prompt="cat")
    assert fingerprint(Newer(key="a", prompt="cat")) == fingerprint(old)
    prints = [fingerprint(Newer(key="a", prompt="cat", **more)) for more in ({"parameters": {"s": 1}}, {"mood": "x"})]
    assert len({fingerprint(old), *prints}) == 3


def test_of_a_fingerprint_everything_matters_but_the_key() -> None:
    first = JobRequest(key="a", prompt="cat")
    assert fingerprint(first) == fingerprint(msgspec.structs.replace(first, key="b"))
    others: dict[str, Any] = {
        "prompt": "dog", "lane": "relax", "negative_prompt": "x", "aspect": (1, 2), "width": 8, "height": 8, "steps": 3,
        "seed": 1, "images": 2, "guidance_scale": 2.0, "solver": "heun", "shift": 1.0, "private": True,
        "preview_every": 1, "parameters": {}, "kind": "reroll", "sources": (Source(job="a"),), "language": True,
    }  # fmt: skip
    assert {*others, "key"} == set(JobRequest.__struct_fields__)
    prints = {fingerprint(msgspec.structs.replace(first, **{name: value})) for name, value in others.items()}
    assert len(prints | {fingerprint(first)}) == len(others) + 1


def test_values_become_pythons_own() -> None:
    made = request_of(key="k", prompt=np.str_("cat"), images=np.int64(2), guidance_scale=np.float32(2), aspect=[3, 2])
    assert made == JobRequest(key="k", prompt="cat", images=2, guidance_scale=2.0, aspect=(3.0, 2.0))
    assert fingerprint(made)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"key": "no spaces"}, "key: got 'no spaces', allowed 1 to 64 letters"),
        ({"key": "k" * 65}, "key: got"),
        ({"prompt": 7}, "prompt: got 7, allowed text"),
        ({"images": "two"}, "images: got 'two', allowed a whole number"),
        ({"images": None}, "images: got None"),
        ({"aspect": (1, 2, 3)}, "aspect: got"),
        ({"private": 1}, "private: got 1, allowed True or False"),
        ({"stylize": 1}, "field: got 'stylize', allowed key, prompt"),
    ],
)
def test_what_is_no_request(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as info:
        request_of(**({"key": "k", "prompt": "cat"} | fields))
    assert str(info.value).startswith(words)


def test_a_request_needs_words() -> None:
    with pytest.raises(SpecError, match="no prompt"):
        request_of(key="k")
