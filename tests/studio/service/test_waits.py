"""Work that outlasts its request ends with the service."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from salon.studio.service.waits import Waits

from ..conftest import TIMEOUT


def test_the_end_cancels_what_goes_on_what_begins_then_and_what_did_not_heed_it() -> None:
    ended = []

    async def work() -> None:
        writer: Any = None  # nothing is written here
        waits = Waits(writer)

        async def deaf() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            await asyncio.sleep(3600)

        async def asks_for_more() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                waits.begin(deaf()).add_done_callback(lambda task: ended.append(("more", task.cancelled())))

        waits.begin(deaf()).add_done_callback(lambda task: ended.append(("deaf", task.cancelled())))
        waits.begin(asks_for_more()).add_done_callback(lambda task: ended.append(("asks", task.cancelled())))
        await asyncio.sleep(0.01)
        await asyncio.wait_for(waits.close(), TIMEOUT)

    asyncio.run(work())
    assert sorted(ended) == [("asks", True), ("deaf", True), ("more", True)]
