"""Services over the tiny checkpoint, without any wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from salon.parameters.job_request import JobRequest
from salon.studio.service.context import ServiceContext
from salon.studio.service.job_record import JobRecord
from salon.studio.service.options import ServiceOptions
from salon.studio.service.service import Service

from ..conftest import BACKEND, TIMEOUT

T = TypeVar("T")
Work = Callable[[Service], Awaitable[Any]]
Serve = Callable[..., Any]


def request(key: str, prompt: str = "cat", **fields: Any) -> JobRequest:
    """A small request: 4 x 4 tokens, 2 steps, 2 pictures."""
    values: dict[str, Any] = {"width": 16, "height": 16, "steps": 2, "images": 2, "seed": 0}
    return JobRequest(key=key, prompt=prompt, **(values | fields))


async def ended(service: Service, job: str, account: str = "local") -> JobRecord:
    """Wait for a job's end, and return what it is then."""
    log = await service.log(job, account)
    if not log.final:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        log.waiting.append(lambda: end.set_result(None))
        await asyncio.wait_for(end, TIMEOUT)
    return await service.find(job, account)


@pytest.fixture
def serve(tiny: Path, tmp_path: Path, embedded_once: None) -> Serve:
    """Opens a service, has something done with it, and closes it; open jobs stay for the next one."""

    def run(work: Work, *, paused: bool = False, folder: Path = tmp_path / "data", **options: Any) -> Any:
        values: dict[str, Any] = {"model": str(tiny), "backend": BACKEND, "threads": 1, "process": False}
        made = ServiceOptions(data=folder, **(values | options))

        async def main() -> Any:
            service = Service(ServiceContext(made))
            try:
                service.restore()
                if not paused:
                    service.context.studio.loop.release()
                return await asyncio.wait_for(work(service), 2 * TIMEOUT)
            finally:
                await service.leave(0.0)
                await service.close()

        return asyncio.run(main())

    return run
