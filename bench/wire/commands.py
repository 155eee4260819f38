"""Part 1: small commands from many clients, beside an echo of the same frames."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, Final

from ...frontends.wire.codec import decode_reply, encode
from ...frontends.wire.messages import JobInfo, ListJobs, OpsPause, Ping, Record, Show, Submit
from ..fleet import Child
from ..measure import interleave
from ..report import Goal
from ..runner import Bench
from .host import Host

CLIENTS, TINY_CLIENTS = 64, 4
WINDOW: Final = 8
GOAL: Final = 20_000.0
TINY, QUICK, FULL = (0.05, 1), (0.25, 2), (1.0, 3)  # (seconds of a turn, rounds)
ASK_S: Final = 120.0
MIX: Final = ("ping", "show, live job", "show, ended job", "submit, refused")
PROMPT: Final = "a red apple, 3d render, on a teal background"


class Ask:
    """Requests whose answers are of a kind."""

    def __init__(self, records: list[Record], kinds: list[str]) -> None:
        self.records = [encode(record).hex() for record in records]
        self.kinds = kinds


def told(load: Child, *records: Record) -> list[Any]:
    """Return the server's answers to the first client."""
    answers = load.ask("ask", records=[encode(record).hex() for record in records], timeout=ASK_S)["answers"]
    return [decode_reply(bytes.fromhex(answer)) for answer in answers]


def requests(load: Child) -> dict[str, Ask]:
    """Return commands by name. There is one job that has ended, and one that waits: the server is paused."""
    load.ask("grid", key="ended", prompt=PROMPT, steps=2, seed=1, timeout=ASK_S)
    ended = told(load, ListJobs(limit=1))[0].jobs[0]
    told(load, OpsPause())
    live: JobInfo = told(load, Submit(key="live", prompt=PROMPT))[0].job
    asks = {
        "ping": Ask([Ping()], ["pong"]),
        "show, live job": Ask([Show(job=live.job)], ["job"]),
        "show, ended job": Ask([Show(job=ended.job)], ["job"]),
        "submit, refused": Ask([Submit(key="k", prompt=PROMPT, images=0)], ["failure"]),
        "submit, refused by the engine": Ask([Submit(key="k", prompt=PROMPT, width=60_000)], ["failure"]),
    }
    mix = Ask([], [])
    for name in MIX:
        mix.records += asks[name].records
        mix.kinds += asks[name].kinds
    return {"mix": mix, **asks}


def measure(bench: Bench, host: Host, load: Child, echo: Child) -> None:
    """Measure answers a second and their latencies, of the server and of the echo, in turns."""
    load.ask("connect", address=host.address, clients=1, timeout=ASK_S)
    asks = requests(load)
    pairs: dict[str, str] = {}
    for ask in asks.values():
        answers = load.ask("ask", records=ask.records, timeout=ASK_S)["answers"]
        pairs |= dict(zip(ask.records, answers, strict=True))
    floor = echo.ask("listen", timeout=ASK_S)["address"]
    echo.ask("teach", answers=pairs, timeout=ASK_S)
    seconds, rounds = bench.pick(TINY, QUICK, FULL)
    many = bench.pick(TINY_CLIENTS, CLIENTS, CLIENTS)
    results: dict[tuple[str, str], list[dict[str, float]]] = {}

    def turn(name: str, side: str, address: str) -> list[float]:
        load.ask("connect", address=address, clients=many, hello=side == "server", timeout=ASK_S)
        ask = asks[name]
        made = load.ask(
            "drive", records=ask.records, kinds=ask.kinds, window=WINDOW, seconds=seconds, timeout=ASK_S + seconds
        )
        results.setdefault((name, side), []).append(made)
        return [made["rate"]]

    turns: dict[str, Callable[[], list[float]]] = {}
    for name in asks:
        for side, address in (("server", host.address), ("echo", floor)):
            turns[f"{name} / {side}"] = partial(turn, name, side, address)
    with bench.progress("commands", rounds) as advance:
        interleave(turns, rounds=rounds, deadline=bench.deadline, on_round=lambda: advance(""))
    load.ask("leave", timeout=ASK_S)
    for name in asks:
        mine, raw = results.get((name, "server"), []), results.get((name, "echo"), [])
        if not mine or not raw:
            continue
        rate, most = (median(one["rate"] for one in side) for side in (mine, raw))
        bench.row(
            part="commands",
            command=name,
            per_s=rate,
            p50_ms=median(one["p50_ms"] for one in mine),
            p99_ms=median(one["p99_ms"] for one in mine),
            best_per_s=max(one["rate"] for one in mine),
            echo_per_s=most,
            echo_p50_ms=median(one["p50_ms"] for one in raw),
            echo_p99_ms=median(one["p99_ms"] for one in raw),
            of_echo=rate / most,
            clients=many,
            window=WINDOW,
            rounds=len(mine),
        )
        if name == "mix":
            note = f"{many} clients, {WINDOW} requests of each on their way; {rate / most:.0%} of an echo's rate"
            bench.goal(Goal.at_least("small commands, mixed", GOAL, rate, "/s", note))
