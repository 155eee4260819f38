"""Run a server without a model, for tests of code that uses a client.

It is the real server and service, over a worker that makes plain pictures at once. Its jobs live in a folder of its
own, which is removed with it.

    from salon.frontends.client.client import Client
    from salon.frontends.client.fake import FakeServer

    def test_my_gallery() -> None:
        with FakeServer(steps=3) as server, Client(server.address) as client:
            job = client.imagine("a red apple", images=2)
            assert job.wait(timeout_s=60).state == "done"
            assert [len(picture) > 0 for picture in job.pictures()] == [True, True]

            server.refuse("busy", times=2, retry_after_ms=50)  # the client tries again by itself
            assert client.ping() > 0
            server.drop()  # all connections, now; jobs are kept
            assert client.job(job.id).state == "done"

`FakeServer(fail="out of memory")` makes every job fail, `hold=True` keeps jobs queued until `release()`. A second
server on the same address with `house=first.house` stands for the first one after a restart.
"""

from __future__ import annotations

from ..fake.pictures import make_png
from ..fake.server import FakeHouse, FakeServer

__all__ = ["FakeHouse", "FakeServer", "make_png"]
