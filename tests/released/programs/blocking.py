"""A user's program with the blocking client, which asks for everything that it can: `blocking.py ADDRESS`.

It was written for the released client, and is run with it. The server has nothing else to do.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import salon
from salon.frontends.client import errors

WAIT_S = 60.0
EVERYTHING: dict[str, Any] = {
    "lane": "relax",
    "images": 2,
    "width": 16,
    "height": 24,
    "steps": 3,
    "seed": 2**64 - 1,
    "guidance_scale": 2.5,
    "negative_prompt": "a worm",
    "solver": "heun",
    "shift": 1.5,
    "private": True,
    "previews": 1,
    "key": "everything",
}


def refused(kind: type[errors.RequestFailed], call: Callable[[], object], *words: str) -> None:
    """The call is refused with exactly this error, in a line with these words."""
    with pytest.raises(errors.RequestFailed) as info:
        call()
    text = str(info.value)
    assert type(info.value) is kind, repr(info.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def make(client: salon.Client) -> None:
    """Every field, every event, every picture, and the same key again."""
    assert client.ops.pause()
    job = client.imagine("a red apple", **EVERYTHING)
    events = []
    for event in job.events(previews=True, timeout_s=WAIT_S):
        if event.kind == "queued":
            assert client.ops.resume()
        events.append(event)
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))
    kinds = [event.kind for event in events if event.kind not in ("step", "preview")]
    assert kinds == ["queued", "started", "image", "image", "image", "done"], kinds
    assert {event.steps for event in events if event.kind == "step"} == {3}
    previews = [event.preview for event in events if event.kind == "preview"]
    assert previews
    assert all(preview is not None and preview[:3] == b"\xff\xd8\xff" for preview in previews)

    info = job.wait(timeout_s=WAIT_S)
    assert job.state == info.state == "done"
    assert (info.prompt, info.negative_prompt, info.private) == ("a red apple", "a worm", True)
    assert (info.lane, info.asked_lane, info.account) == ("relax", "relax", client.info().account)
    assert (info.images, info.width, info.height, info.seed) == (2, 16, 24, 2**64 - 1)
    assert (info.steps, info.step, info.solver, info.guidance_scale) == (3, 3, "heun", 2.5)
    assert 0 < info.made_ms <= info.started_ms <= info.ended_ms
    assert info.last_event == numbers[-1]
    assert [event.number for event in job.events(after=numbers[-2], timeout_s=WAIT_S)] == numbers[-1:]

    files = [job.grid(), *job.pictures()]
    told = {picture.index: picture.digest for picture in info.pictures}
    assert [hashlib.sha256(file).hexdigest() for file in files] == [told[index] for index in (-1, 0, 1)]
    assert job.picture(1) == files[2]
    assert all(image.size == (8, 8) for image in job.images())
    paths = job.save("saved")
    assert [path.name for path in paths] == [f"{job.id}.png", f"{job.id}-1.png", f"{job.id}-2.png"]
    assert [path.read_bytes() for path in paths] == files

    again = client.imagine("a red apple", **EVERYTHING)
    assert (again.id, again.state) == (job.id, "done")
    refused(errors.Invalid, lambda: client.imagine("a blue dog", **EVERYTHING), "everything")
    assert client.imagine("a sea", aspect=(2, 1), images=1).wait(timeout_s=WAIT_S).state == "done"


def look(client: salon.Client) -> None:
    """Jobs that are there: listed, shown, cancelled, deleted."""
    client.ops.pause()
    jobs = [client.imagine(f"number {number}", images=1) for number in range(3)]
    page = client.jobs(limit=2, states=["queued"])
    assert [job.job for job in page.jobs] == [jobs[2].id, jobs[1].id]
    rest = client.jobs(limit=2, before=page.next, states=["queued"])
    assert [job.job for job in rest.jobs] == [jobs[0].id]
    assert not rest.next
    assert client.jobs(account="*").jobs
    assert (client.job(jobs[0].id).state, jobs[0].refresh().prompt) == ("queued", "number 0")
    refused(errors.Invalid, jobs[1].delete, "cancel it first")
    assert jobs[1].cancel()
    assert not jobs[1].cancel()
    with pytest.raises(errors.JobCancelled) as info:
        jobs[1].wait(timeout_s=WAIT_S)
    assert info.value.info.state == "cancelled"
    jobs[1].delete()
    jobs[1].delete()  # another time changes nothing
    refused(errors.NotFound, lambda: client.job(jobs[1].id))
    client.ops.resume()
    assert jobs[0].wait(timeout_s=WAIT_S).state == jobs[2].wait(timeout_s=WAIT_S).state == "done"
    refused(errors.NotFound, lambda: jobs[0].picture(7))


def ask_too_much(client: salon.Client) -> None:
    """What is out of range is refused with an error that the client has a class for, and nothing is made."""
    before = client.ops.status().accepted
    wrong: tuple[tuple[str, dict[str, Any]], ...] = (
        ("images", {"images": 65_537}),
        ("images", {"images": 0}),
        ("width", {"width": 65_537, "height": 8}),
        ("height", {"width": 8, "height": 0}),
        ("width", {"width": 13, "height": 8}),
        ("steps", {"steps": 1001}),
        ("seed", {"seed": -1}),
        ("guidance_scale", {"guidance_scale": 100.5}),
        ("solver", {"solver": "magic"}),
        ("shift", {"shift": 0.0}),
        ("aspect", {"aspect": (0.0, 1.0)}),
        ("aspect", {"aspect": (100.0, 1.0)}),
        ("lane", {"lane": "slow"}),
        ("key", {"key": "no spaces"}),
        ("preview_every", {"previews": 1001}),
        ("negative_prompt", {"negative_prompt": "x" * 6001}),
    )
    for name, fields in wrong:
        refused(errors.Invalid, partial(client.imagine, "x", **fields), name)
    refused(errors.Invalid, lambda: client.imagine("x" * 6001), "prompt")
    refused(errors.Invalid, lambda: client.imagine(" "), "prompt")
    refused(errors.TooLarge, lambda: client.imagine("x", width=4096, height=4096))
    refused(errors.Invalid, lambda: client.jobs(limit=0), "limit")
    refused(errors.NotFound, lambda: client.job("nope"))
    refused(errors.NotFound, lambda: client.info("ab" * 32))
    assert client.ops.status().accepted == before


def operate(client: salon.Client) -> None:
    """What operators can ask for."""
    ops = client.ops
    assert ops.pause()
    assert not ops.pause()
    assert ops.status().state == "paused"
    assert ops.resume()
    assert ops.drain()
    refused(errors.Draining, lambda: client.imagine("x"))
    assert ops.resume()
    status = ops.status()
    assert (status.state, len(status.workers), status.clients) == ("running", 1, 1)
    assert status.ended["done"] > 0
    assert [worker.name for worker in ops.workers().workers] == [worker.name for worker in status.workers]

    ada = "0123456789abcdef" * 4
    opened = ops.set_account(ada, name="Ada", plan="basic", role="user", quota_bytes=1000)
    assert (opened.account, opened.name, opened.plan, opened.quota_bytes) == (ada, "Ada", "basic", 1000)
    assert ops.set_account(ada, blocked=True).blocked
    assert ada in [account.account for account in ops.accounts(limit=200).accounts]
    for _ in range(2):
        assert (ops.grant(ada, 450_000, key="once").fast_ms or {})["bought"] == 450_000
    assert client.info(ada).name == "Ada"
    entries = ops.ledger(ada, limit=200).entries
    assert [entry.amount_ms for entry in entries if entry.source == "bought"] == [450_000]
    assert ops.ledger(ada, after=entries[-1].seq).entries == ()
    refused(errors.Invalid, lambda: ops.grant(ada, 0))
    refused(errors.RefusedByPlan, lambda: ops.set_account(ada, plan="none"))
    refused(errors.NotFound, lambda: ops.retry("nope"))
    refused(errors.Invalid, lambda: ops.retry(client.jobs(states=["done"]).jobs[0].job))


def main(address: str) -> None:
    """Ask for everything."""
    with salon.Client(address, timeout_s=WAIT_S) as client:
        welcome = client.server
        assert (welcome.version, sorted(welcome.features)) == (1, ["ops", "previews", "private"])
        assert (welcome.account, welcome.role, welcome.model) == ("local", "operator", "fake")
        assert client.ping() < WAIT_S
        assert (client.info().account, client.info().role) == ("local", "operator")
        make(client)
        look(client)
        ask_too_much(client)
        operate(client)


if __name__ == "__main__":
    main(sys.argv[1])
