"""What HTTP adds to the wire: the same small pictures by OpenAI's images API and over ZeroMQ, in turns.

`python -m salon.bench.gateway [--quick] [--threads N]`

One server in a process of its own, one picture of one step at a time, so that little but the way there and back is
left. Both ways are checked to give the same bytes before anything is timed. `added_ms` is what a way takes beyond
ZeroMQ's in the same round (the median), from the request to the picture's bytes in the client's hands. Edits bring a
photograph of about a megabyte each time; over ZeroMQ it is brought, too.
"""

from __future__ import annotations

import base64
import io
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from .measure import Samples, interleave, quantile
from .report import Goal
from .runner import Bench, run
from .wire.host import Host

PROMPT: Final = "a red apple"
SIDE: Final = 32
GOAL: Final = 5.0
IDLE: Final = 0.1  # share of the cores that others may use; above it, 5 ms cannot be told
PHOTO: Final = 600  # pixels of a side: of noise, 1.1 MB
ROUNDS: Final = (1, 10, 60)
COLUMNS: Final = [["way", "ms", "best_ms", "p10", "p90", "added_ms", "requests"]]
WIRE, HTTP, STREAM, LINK = "ZeroMQ", "/v1/images/generations", "the same as a stream", "/v1/models"
BROUGHT, EDIT = "ZeroMQ, with a photograph", "/v1/images/edits, with a photograph"


class Ways:
    """The ways to a picture, each a function of a seed and what it starts from.

    Args:
        host: the server.
    """

    def __init__(self, host: Host) -> None:
        from ..frontends.client.client import Client

        place = urlsplit(host.http)
        self.client = Client(host.address)
        self.http = HTTPConnection(place.hostname or "", place.port, timeout=60)

    def close(self) -> None:
        self.client.close()
        self.http.close()

    def wire(self, seed: int, photo: bytes | None = None) -> bytes:
        """Return a picture over ZeroMQ."""
        asked: dict[str, Any] = {"images": 1, "steps": 1, "seed": seed, "width": SIDE, "height": SIDE}
        if photo is not None:
            asked["image"] = self.client.add_reference(photo)
        job = self.client.imagine(PROMPT, **asked)
        return job.result(timeout_s=60)[0]

    def generated(self, seed: int) -> bytes:
        """Return a picture by OpenAI's images API."""
        return _picture(json.loads(self._asked("/v1/images/generations", _fields(seed)))["data"][0])

    def streamed(self, seed: int) -> bytes:
        """Return a picture by the same as a stream."""
        events = self._asked("/v1/images/generations", _fields(seed) | {"stream": True})
        return _picture(json.loads(events.split(b"data: ")[-1]))

    def edited(self, seed: int, photo: bytes) -> bytes:
        """Return a picture that starts from a photograph, which is brought in a form."""
        boundary = secrets.token_hex(16)
        head = f"--{boundary}\r\nContent-Disposition: form-data; name="
        fields = "".join(f'{head}"{name}"\r\n\r\n{value}\r\n' for name, value in _fields(seed).items())
        file = f'{head}"image"; filename="photo.png"\r\nContent-Type: image/png\r\n\r\n'
        body = (fields + file).encode() + photo + f"\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        return _picture(json.loads(self._sent("POST", "/v1/images/edits", body, kind))["data"][0])

    def asked(self) -> bytes:
        """Return the answer to a small question."""
        return self._sent("GET", "/v1/models", None, "")

    def _asked(self, path: str, fields: dict[str, Any]) -> bytes:
        return self._sent("POST", path, json.dumps(fields).encode(), "application/json")

    def _sent(self, method: str, path: str, body: bytes | None, kind: str) -> bytes:
        self.http.request(method, path, body, {"content-type": kind} if kind else {})
        answer = self.http.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {data[:300]!r}")
        return data


def _fields(seed: int) -> dict[str, Any]:
    return {"prompt": PROMPT, "size": f"{SIDE}x{SIDE}", "steps": 1, "seed": seed, "n": 1}


def _picture(one: dict[str, Any]) -> bytes:
    return base64.b64decode(one["b64_json"])


def _photo(number: int) -> bytes:
    """Return a PNG file that cannot be made small, another one for each number."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(number).integers(0, 256, (PHOTO, PHOTO, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def body(bench: Bench) -> None:
    bench.use("pyzmq", "uvicorn", "starlette", "python-multipart")
    bench.columns = COLUMNS
    rounds = bench.pick(*ROUNDS)
    with (
        tempfile.TemporaryDirectory(prefix="salon-gateway-", ignore_cleanup_errors=True) as folder,
        Host(Path(folder), bench.threads, with_http=True) as host,
    ):
        ways = Ways(host)
        try:
            found = _measure(bench, ways, rounds)
        finally:
            ways.close()
    _say(bench, found)  # with the server ended, whose processes are then known not to be others


def _measure(bench: Bench, ways: Ways, rounds: int) -> dict[str, Samples]:
    photo = _photo(0)
    if not ways.wire(1) == ways.generated(1) == ways.streamed(1):
        raise RuntimeError("the ways give other bytes")
    if ways.wire(1, photo) != ways.edited(1, photo):
        raise RuntimeError("the ways give other bytes of a photograph")
    seed = 1

    def turn(call: Callable[..., bytes], *, photographed: bool = False) -> list[float]:
        nonlocal seed
        seed += 1
        more = (_photo(seed),) if photographed else ()  # a new one: nothing of it is there
        start = time.perf_counter()
        call(seed, *more)
        return [(time.perf_counter() - start) * 1e3]

    def small() -> list[float]:
        start = time.perf_counter()
        ways.asked()
        return [(time.perf_counter() - start) * 1e3]

    turns: dict[str, Callable[[], list[float]]] = {
        WIRE: partial(turn, ways.wire), HTTP: partial(turn, ways.generated), STREAM: partial(turn, ways.streamed),
        BROUGHT: partial(turn, ways.wire, photographed=True), EDIT: partial(turn, ways.edited, photographed=True),
        LINK: small,
    }  # fmt: skip
    with bench.progress("gateway", rounds) as advance:
        return interleave(turns, rounds=rounds, deadline=bench.deadline, on_round=lambda: advance(""))


def _say(bench: Bench, found: dict[str, Samples]) -> None:
    beside = {HTTP: WIRE, STREAM: WIRE, EDIT: BROUGHT}
    added = dict[str, float]()
    for name, samples in found.items():
        if (other := beside.get(name)) is not None and len(samples) and len(found[other]):
            pairs = zip(samples.values, found[other].values, strict=False)
            added[name] = quantile([one - two for one, two in pairs], 0.5)  # of a round: the machine is as busy in both
        spread = samples.spread or (None, None)
        bench.row(
            way=name, ms=samples.median, best_ms=samples.best, p10=spread[0], p90=spread[1], added_ms=added.get(name),
            requests=len(samples),
        )  # fmt: skip
    load = bench.other_load()
    for name in beside:
        value, note = added.get(name), ""
        if value is not None and load > IDLE:
            value, note = None, f"others used {load:.0%} of the cores, so {value:.1f} ms says nothing"
        bench.goal(Goal.at_most(f"added to ZeroMQ by {name}", GOAL, value, " ms", note))


main = partial(run, "gateway", (__doc__ or "").splitlines()[0], body)


if __name__ == "__main__":
    sys.exit(main())
