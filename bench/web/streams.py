"""Time how long the server takes to send a job's end to many event streams of the page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

LINE: Final = 1 << 20  # bytes of the longest line
WAIT_S: Final = 60.0


def seconds_until_told(address: str, count: int, rounds: int, ask: Callable[[str], object]) -> list[float]:
    """Return for each round the seconds from asking for a job until the last of `count` streams was told of its end.

    Args:
        address: of HTTP.
        ask: asks for a job of this prompt, and returns when it is accepted.

    Raises:
        TimeoutError: one was not told within a minute.
    """
    return asyncio.run(asyncio.wait_for(_told(address, count, rounds, ask), WAIT_S))


async def _told(address: str, count: int, rounds: int, ask: Callable[[str], object]) -> list[float]:
    streams = await asyncio.gather(*(_opened(address) for _ in range(count)))
    try:
        seconds = []
        for number in range(rounds):
            prompt = f"told to all {number}"
            start = time.perf_counter()
            readers = [asyncio.ensure_future(_until(reader, prompt)) for reader, _ in streams]
            await asyncio.to_thread(ask, prompt)
            seconds.append(max(await asyncio.gather(*readers)) - start)
        return seconds
    finally:
        for _, writer in streams:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in streams), return_exceptions=True)


async def _opened(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a stream that has told where it is, so that nothing after that is missed."""
    place = urlsplit(address)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=LINE)
    writer.write(f"GET /api/events HTTP/1.1\r\nhost: {place.netloc}\r\naccept: text/event-stream\r\n\r\n".encode())
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"/api/events: {status!r}")
    while not (await _line(reader)).startswith(b"id:"):
        pass
    return reader, writer


async def _until(reader: asyncio.StreamReader, prompt: str) -> float:
    """Return when the end of the job of this prompt was told."""
    wanted = prompt.encode()
    while True:
        line = await _line(reader)
        if wanted in line and b'"state":"done"' in line:
            return time.perf_counter()


async def _line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readline()
    if not line:
        raise RuntimeError("/api/events: the server has ended the stream")
    return line
