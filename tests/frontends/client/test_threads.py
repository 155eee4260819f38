"""The blocking client among threads, signals, forks and garbage; the asyncio one among tasks and loops."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import zmq

from salon.frontends.client.aio import AsyncClient
from salon.frontends.client.client import Client
from salon.frontends.client.errors import ClientClosed, TimedOut
from salon.frontends.client.fake import FakeServer
from salon.frontends.wire import messages as m

from .helpers import DONE_S, until


def threads() -> int:
    return sum(thread.name == "salon-client" for thread in threading.enumerate())


def run(code: str, *options: str, timeout: float = 60) -> str:
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_eight_threads_share_a_client() -> None:
    with FakeServer(limits=m.Limits(max_fetches=3, max_watches=5)) as server, Client(server.address) as client:
        dropped = threading.Timer(0.1, server.drop)
        dropped.start()

        def work(number: int) -> list[str]:
            seen = []
            for turn in range(5):
                job = client.imagine(f"apple {number} {turn}", images=2)
                assert [event.kind for event in job.events()][-1] == "done"
                assert job.info.prompt == f"apple {number} {turn}"
                assert job.pictures() == server.pictures[:2]
                assert client.ping() < DONE_S
                seen.append(job.id)
            return seen

        with ThreadPoolExecutor(8) as pool:
            seen = [id for ids in pool.map(work, range(8)) for id in ids]
        dropped.join()
        assert len(set(seen)) == 40 == len(server.jobs)
        assert threads() == 1


def test_closing_ends_all_waits() -> None:
    with FakeServer(hold=True) as server:
        client = Client(server.address)
        job = client.imagine("a red apple")
        with ThreadPoolExecutor(8) as pool:
            waits = [pool.submit(job.wait) for _ in range(8)]
            time.sleep(0.05)
            client.close()
            for wait in waits:
                with pytest.raises(ClientClosed):
                    wait.result(timeout=DONE_S)
        until(lambda: threads() == 0)


def test_an_interrupted_wait_leaves_the_client_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with FakeServer(hold=True) as server, Client(server.address) as client:
            job = client.imagine("a red apple")
            stream = job.events()
            next(stream)
            wait = client._engine._do

            def interrupted(*step: Any) -> Any:
                signal.setitimer(signal.ITIMER_REAL, 0.1)  # not before it waits
                return wait(*step)

            monkeypatch.setattr(client._engine, "_do", interrupted)
            with pytest.raises(Interrupted):
                next(stream)
            monkeypatch.undo()
            until(lambda: any(isinstance(request, m.Unwatch) for request in server.requests))
            assert job.cancel()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_what_nobody_holds_is_cleared_away() -> None:
    with FakeServer(hold=True) as server:
        client = Client(server.address)
        job = client.imagine("a red apple")
        stream = job.events()
        next(stream)
        loop: list[object] = [stream]
        loop.append(loop)  # so that a collection finds it, wherever that happens
        del stream, loop
        gc.collect()
        until(lambda: any(isinstance(request, m.Unwatch) for request in server.requests))
        assert threads() == 1
        del client
        gc.collect()
        assert threads() == 1  # a job needs its client
        del job
        gc.collect()
        until(lambda: threads() == 0)


def test_no_descriptors_are_left() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    with FakeServer() as server:
        with Client(server.address) as client:
            client.ping()
        until(lambda: threads() == 0)
        time.sleep(0.2)
        before = count()
        for _ in range(10):
            with Client(server.address) as client:
                client.ping()
                server.drop()
                client.ping()
            asyncio.run(_ping(server.address))
        del client
        until(lambda: count() <= before + 2)  # ZeroMQ closes in a thread of its own


async def _ping(address: str) -> float:
    async with AsyncClient(address) as client:
        return await client.ping()


def test_the_end_of_the_context_is_the_end_of_the_client() -> None:
    out = run(
        "import threading, zmq\n"
        "from salon.frontends.client.client import Client\n"
        "from salon.frontends.client.fake import FakeServer\n"
        "from salon.frontends.wire.keys import make_pair\n"
        "with FakeServer(hold=True, pair=make_pair()) as server:  # which has a context of its own\n"
        "    client = Client(server.address, key=make_pair())\n"
        "    job = client.imagine('a red apple')\n"
        "    end = threading.Timer(0.2, zmq.Context.instance().term)\n"
        "    end.start()\n"
        "    try:\n"
        "        job.wait()\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__)\n"
        "    end.join(30)\n"
        "    print(end.is_alive())\n"
    )
    assert out == "ClientClosed\nFalse\n"


def test_what_it_loads() -> None:
    out = run(
        "import sys, salon.frontends.client.client\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'numpy', 'PIL', 'asyncio', 'rich'}))\n"
        "print(sorted(name for name in sys.modules if name.startswith('salon.') and not\n"
        "    name.startswith(('salon.bounds', 'salon.errors', 'salon.given', 'salon.system', 'salon.values',\n"
        "    'salon.frontends.client', 'salon.frontends.wire', 'salon.parameters', 'salon.plugins',\n"
        "    'salon.recipe_text'))))\n"
        "salon.AsyncClient\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'numpy', 'PIL', 'rich', 'tokenizers'}))\n"
    )
    assert out == "[]\n['salon.frontends']\n[]\n"


def test_leaving_without_a_word(server: FakeServer) -> None:
    code = (
        "import salon, time\n"
        f"client = salon.Client({server.address!r})\n"
        "stream = client.imagine('a red apple').events()\n"
        "next(stream)\n"
        "nobody = salon.Client('tcp://127.0.0.1:1', timeout_s=0.1)\n"
        "try:\n"
        "    nobody.ping()\n"
        "except salon.SalonError:\n"
        "    print(time.monotonic())\n"
    )
    left = float(run(code, "-X", "dev", "-W", "error"))
    assert time.monotonic() - left < 20  # the patience of a client is longer


def test_a_fork_has_to_make_its_own(server: FakeServer) -> None:
    code = (
        "import os, salon\n"
        f"client = salon.Client({server.address!r})\n"
        "job = client.imagine('a red apple')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try:\n"
        "        job.refresh()\n"
        "    except salon.SalonError as error:\n"
        "        print(error, flush=True)\n"
        "    client.close()\n"
        f"    with salon.Client({server.address!r}) as mine:\n"
        "        print(mine.job(job.id).id, flush=True)\n"
        "    raise SystemExit\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "print(job.wait(timeout_s=60).state)\n"
    )
    assert run(code) == "client: it was made before a fork; make a new one\njob-1\ndone\n"


def test_tasks_that_are_cancelled(server: FakeServer) -> None:
    server.hold = True

    async def main() -> None:
        async with AsyncClient(server.address) as client:
            job = await client.imagine("a red apple")
            waits = [asyncio.create_task(job.wait()) for _ in range(5)]
            await asyncio.sleep(0.05)
            for wait in waits:
                wait.cancel()
            results = await asyncio.gather(*waits, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in results)
            async for _ in job.events():
                break
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(job.wait(), 0.1)
            with pytest.raises(TimedOut):
                await job.wait(timeout_s=0.05)
            assert await client.ping() < DONE_S
            unwatched = sum(isinstance(request, m.Unwatch) for request in server.requests)
            assert unwatched >= 6

    asyncio.run(main())


def test_many_at_once(server: FakeServer) -> None:
    async def main() -> None:
        async with AsyncClient(server.address) as client:
            jobs = await asyncio.gather(*(client.imagine(f"apple {n}", images=1) for n in range(100)))
            await asyncio.gather(*(job.wait(timeout_s=DONE_S) for job in jobs))
            pictures = await asyncio.gather(*(job.picture() for job in jobs))
            assert pictures == [server.pictures[0]] * 100
            assert len({job.id for job in jobs}) == 100

    asyncio.run(main())


def test_one_loop(server: FakeServer) -> None:
    client = AsyncClient(server.address)

    async def ping() -> float:
        return await client.ping()

    async def close() -> None:
        await client.close()

    assert asyncio.run(ping()) < DONE_S
    with pytest.raises(ClientClosed, match="another event loop"):
        asyncio.run(ping())
    asyncio.run(close())


def test_the_example_of_the_docstrings(tmp_path: Path) -> None:
    """Both modules say how they are used; that works as written."""
    import salon
    from salon.frontends.client import aio, client, fake

    with FakeServer() as server:
        for module in (client, aio):
            assert module.__doc__ is not None
            code = textwrap.dedent(module.__doc__.partition("\n\n")[2])
            code = code.replace("tcp://localhost:5599", server.address).replace('"outputs"', repr(str(tmp_path)))
            if module is aio:
                code = "async def main():\n" + "\n".join(f"    {line}" for line in code.splitlines())
            names = {"salon": salon}
            exec(code, names)
            if module is aio:
                asyncio.run(names["main"]())  # type: ignore[operator]
    assert len(list(tmp_path.iterdir())) == 10
    assert fake.__doc__ is not None
    example = fake.__doc__[fake.__doc__.index("    from salon") :]
    code = textwrap.dedent(example.split("\n\n`FakeServer(")[0])
    names = {}
    exec(code, names)
    names["test_my_gallery"]()  # type: ignore[operator]


def test_help_says_what_there_is() -> None:
    import inspect
    import pydoc

    with Client("tcp://127.0.0.1:1") as client:
        signature = inspect.signature(client.imagine)
        assert list(signature.parameters)[:4] == ["prompt", "lane", "private", "previews"]
        assert "Ask for pictures" in (client.imagine.__doc__ or "")
        assert client.imagine.__name__ == "imagine"
    assert "Ask for pictures" in pydoc.render_doc(Client)
    for flavour in (Client, AsyncClient):
        for name in ("imagine", "job", "jobs", "info", "ping", "server"):
            assert getattr(flavour, name).__doc__


def test_nothing_warns(server: FakeServer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client = Client(server.address)
        client.ping()
        del client
        gc.collect()
        until(lambda: threads() == 0)
    assert zmq.Context.instance().closed is False
