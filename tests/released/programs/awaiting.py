"""A user's program with the client for asyncio: `awaiting.py ADDRESS`. It was written for the released client."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from typing import Any

import pytest

import salon
from salon.frontends.client import errors

WAIT_S = 60.0
FIELDS: dict[str, Any] = {
    "images": 2,
    "width": 16,
    "height": 24,
    "steps": 3,
    "seed": 7,
    "guidance_scale": 2.5,
    "negative_prompt": "a worm",
    "solver": "heun",
    "shift": 1.5,
    "lane": "turbo",
    "private": True,
    "previews": 1,
}


async def main(address: str) -> None:
    """Several things at a time, over one connection."""
    async with salon.AsyncClient(address, timeout_s=WAIT_S) as client:
        welcome = await client.server
        assert (welcome.version, welcome.role) == (1, "operator")
        assert await client.ops.pause()
        jobs = await asyncio.gather(*(client.imagine("a red apple", key=f"key-{i}", **FIELDS) for i in range(4)))
        assert len({job.id for job in jobs}) == 4
        kinds, previews = [], []
        async for event in jobs[0].events(previews=True, timeout_s=WAIT_S):
            if event.kind == "queued":
                assert await jobs[3].cancel()
                assert await client.ops.resume()
            kinds.append(event.kind)
            if event.preview:
                previews.append(event.preview)
        assert [kind for kind in kinds if kind not in ("step", "preview")] == [
            *("queued", "started"),
            *["image"] * 3,
            "done",
        ]
        assert previews
        assert all(preview[:3] == b"\xff\xd8\xff" for preview in previews)

        infos = await asyncio.gather(*(job.wait(timeout_s=WAIT_S) for job in jobs[:3]))
        for info in infos:
            assert (info.state, info.asked_lane, info.width, info.height, info.seed) == ("done", "turbo", 16, 24, 7)
            assert info.lane == "turbo" or info.note  # which says why it was served in another lane
            assert (info.solver, info.guidance_scale, info.negative_prompt) == ("heun", 2.5, "a worm")
        files = await asyncio.gather(jobs[0].grid(), jobs[1].picture(0), jobs[2].picture(1))
        for info, index, file in zip(infos, (-1, 0, 1), files, strict=True):
            assert {picture.index: picture.digest for picture in info.pictures}[index] == _digest(file)
        assert len(await jobs[1].pictures()) == len(await jobs[1].images()) == 2
        assert len(await jobs[1].save("saved")) == 3

        with pytest.raises(errors.JobCancelled) as cancelled:
            await jobs[3].wait(timeout_s=WAIT_S)
        assert cancelled.value.info.job == jobs[3].id
        await jobs[3].delete()
        with pytest.raises(errors.NotFound):
            await client.job(jobs[3].id)
        with pytest.raises(errors.Invalid, match="images"):
            await client.imagine("x", images=65_537)
        assert (await client.imagine("a red apple", key="key-0", **FIELDS)).id == jobs[0].id
        assert {info.job for info in (await client.jobs()).jobs} == {job.id for job in jobs[:3]}
        assert (await client.info()).role == "operator"
        assert (await client.ops.status()).accepted == 4


def _digest(file: bytes) -> str:
    return hashlib.sha256(file).hexdigest()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
