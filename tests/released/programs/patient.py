"""A user's program whose server is restarted meanwhile: `patient.py ADDRESS blocking|asyncio`.

It says `waits` when it is time for the restart. It was written for the released client.
"""

from __future__ import annotations

import asyncio
import sys

import salon

WAIT_S = 60.0


def blocking(address: str) -> None:
    """Watch a job to its end, and then ask for another."""
    with salon.Client(address, timeout_s=WAIT_S) as client:
        job = client.imagine("a red apple", images=1, steps=2, key="first")
        numbers: list[int] = []
        kinds: list[str] = []
        for event in job.events():
            if not kinds:
                print("waits", flush=True)
            numbers.append(event.number)
            kinds.append(event.kind)
        check(numbers, kinds)
        assert len(job.picture()) > 0
        assert client.imagine("a red apple", images=1, steps=2, key="first").id == job.id
        assert client.imagine("a whale", images=1).wait(timeout_s=WAIT_S).state == "done"


async def awaiting(address: str) -> None:
    """The same with asyncio."""
    async with salon.AsyncClient(address, timeout_s=WAIT_S) as client:
        job = await client.imagine("a red apple", images=1, steps=2, key="first")
        numbers: list[int] = []
        kinds: list[str] = []
        async for event in job.events():
            if not kinds:
                print("waits", flush=True)
            numbers.append(event.number)
            kinds.append(event.kind)
        check(numbers, kinds)
        assert len(await job.picture()) > 0
        assert (await client.imagine("a red apple", images=1, steps=2, key="first")).id == job.id
        assert (await (await client.imagine("a whale", images=1)).wait(timeout_s=WAIT_S)).state == "done"


def check(numbers: list[int], kinds: list[str]) -> None:
    """No event came twice, and none that must not be missed is missing."""
    assert numbers == sorted(set(numbers))
    assert kinds[0] == "queued"
    assert [kind for kind in kinds if kind in ("image", "done")] == ["image", "image", "done"], kinds


if __name__ == "__main__":
    if sys.argv[2] == "blocking":
        blocking(sys.argv[1])
    else:
        asyncio.run(awaiting(sys.argv[1]))
