"""The wire only translates: what is submitted and what is told have the same words here and in the service."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from salon.engine.inquiries import Text
from salon.frontends.wire.messages import JobText, Picture, Submit
from salon.frontends.zmq import views
from salon.parameters.job_request import JobRequest, Source
from salon.studio.service.events import JobEvent
from salon.studio.service.job_record import JobRecord, StoredPicture, redacted
from salon.studio.service.request import fingerprint

SHOWN = StoredPicture(index=-1, digest="d" * 64, size=7, width=4, height=2)


def test_a_submit_is_a_request() -> None:
    submit = Submit(
        key="k",
        prompt="cat",
        lane="relax",
        aspect=(3, 2),
        seed=7,
        private=True,
        preview_every=2,
        parameters={"raw": True},
    )  # fmt: skip
    assert isinstance(submit, JobRequest)
    same = JobRequest(**{name: getattr(submit, name) for name in JobRequest.__struct_fields__})
    assert fingerprint(submit) == fingerprint(same) == fingerprint(msgspec.structs.replace(submit, key="other"))


def test_its_fingerprint_is_that_of_the_versions_before() -> None:
    """They made it of the message: an old folder's jobs are found again under their keys."""
    submit = Submit(key="k", prompt="cat", aspect=(3, 2), guidance_scale=2.5, solver="heun")
    later = ("key", "parameters", "kind", "sources", "language")
    values = [getattr(submit, name) for name in JobRequest.__struct_fields__ if name not in later]
    assert fingerprint(submit) == hashlib.sha256(msgspec.msgpack.encode(values)).digest()


def test_a_record_is_told_whole() -> None:
    words = ("job", "account", "state", "asked_lane", "lane", "note", "reason", "failure", "prompt", "negative_prompt")
    numbers = set(JobRecord.__struct_fields__) - {*words, "solver", "private", "pictures", "styles", "terms", "kind"}
    numbers -= {"sources", "notes", "knobs", "starts", "texts"}
    values: dict[str, Any] = {name: name for name in (*words, "solver")} | dict.fromkeys(numbers, 3)
    values |= {"private": True, "seed": 2**64 - 1, "guidance_scale": 2.5, "pictures": (SHOWN,), "styles": {"a": 1.0}}
    values["terms"] = {"a dog": -0.5}
    values |= {"kind": "reroll", "sources": (Source(job="a", index=2),), "notes": ("why",)}
    values |= {"knobs": {"chaos": 20.0}, "starts": ("ab" * 32,)}
    values["texts"] = (Text("a cat", 0.5, "word", "why"),)
    record = JobRecord(**values)
    info = views.job_info(record)
    for name in JobRecord.__struct_fields__:
        if name not in ("pictures", "texts"):
            assert getattr(info, name) == getattr(record, name), name
    assert info.texts == (JobText(text="a cat", score=0.5, role="word", note="why"),)
    assert info.pictures == (Picture(index=-1, digest="d" * 64, size=7, width=4, height=2),)


def test_an_event_is_told_whole() -> None:
    happened = JobEvent(number=3, kind="image", at_ms=5, step=1, steps=2, reason="why", picture=SHOWN)
    event = views.event(happened)
    for name in JobEvent.__struct_fields__:
        if name != "picture":
            assert getattr(event, name) == getattr(happened, name), name
    assert event.picture is not None
    assert event.picture.digest == SHOWN.digest


def test_what_an_operator_does_not_see_of_a_private_job() -> None:
    """Neither words nor pictures, nor what it was drawn from; how it goes is told."""
    values: dict[str, Any] = {
        "prompt": "secret", "negative_prompt": "secret", "terms": {"secret": 1.0}, "styles": {"secret": 1.0}, "seed": 7,
        "pictures": (SHOWN,), "sources": (Source(job="secret", index=0),), "notes": ("secret",),
        "knobs": {"chaos": 20.0}, "starts": ("d" * 64,),
    }  # fmt: skip
    record = JobRecord(job="a", account="ann", state="done", asked_lane="fast", lane="fast", private=True, **values)
    hidden = redacted(record)
    plain = JobRecord(job="a", account="ann", state="done", asked_lane="fast", lane="fast", private=True)
    assert hidden == plain
    shown = msgspec.structs.replace(record, private=False)
    assert redacted(shown) == shown
