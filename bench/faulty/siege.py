"""A server and its workers are killed at random moments, under load; then everything is checked."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Self

from ...frontends.client.client import Client
from ...frontends.wire.keys import KeyPair, load_or_make, make_pair
from .audit import Findings, Solo, audit
from .crowd import Task, User, check, run_tasks, some_fields
from .process import ServerProcess

PLAN: Final = "pro"
ROUND_S: Final = 600.0  # until all jobs of a round have ended, however many kills there were
GRANT_MS: Final = 10**10
WORKER_S: Final = 60.0  # until there is a worker to kill, after the one before was killed


class Siege:
    """A server in a folder, users with accounts of their own, and what was counted. A context manager.

    Args:
        folder: for the server.
        solo: makes the pictures to compare with.
        options: of the server, besides.
        sides, max_steps: of the requests.
        users: accounts; each watches the jobs of the one before.
        seed: of everything random.

    Attributes:
        counts: rounds, kills, jobs, events, pictures, lost, doubled, different.
        wrong: what was wrong, in words.
        down_s: of every kill of the server, seconds until it listened again.
    """

    def __init__(
        self,
        folder: Path,
        solo: Solo,
        *,
        options: Sequence[str] = (),
        sides: Sequence[int] = (16, 20),
        max_steps: int = 6,
        users: int = 3,
        seed: int = 0,
    ) -> None:
        words = ["--curve", "--workers", "2", "--rate", "0", *options]
        self.server = ServerProcess(folder, words)
        self.solo, self.sides, self.max_steps = solo, sides, max_steps
        self.draw = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.down_s: list[float] = []
        self.users: list[User] = []
        self.audited: set[str] = set()
        self._pairs = [make_pair() for _ in range(users)]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.server)
            clients = [stack.enter_context(self._client(pair)) for pair in self._pairs]
            with self._client(load_or_make(self.server.folder / "config" / "salon" / "key")) as operator:
                for pair in self._pairs:
                    operator.ops.set_account(pair.public, plan=PLAN)
                    operator.ops.grant(pair.public, GRANT_MS)
            for index, client in enumerate(clients):
                self.users.append(User(client, clients[index - 1], f"user-{index}"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _client(self, pair: KeyPair) -> Client:
        return Client(self.server.address, key=pair, timeout_s=60.0)

    def round(self, jobs: int, kills: Sequence[str], spread_s: float = 0.6) -> None:
        """Run jobs of all users, with kills ("server", "worker"), each up to `spread_s` after the one before."""
        number = self.counts["rounds"]
        self.counts["rounds"] += 1
        tasks = [
            Task(f"round-{number}-{index}", some_fields(self.draw, self.sides, self.max_steps)) for index in range(jobs)
        ]
        deadline = time.monotonic() + ROUND_S
        threads = run_tasks(self.users, tasks, deadline)
        for what in kills:
            time.sleep(self.draw.uniform(0.0, spread_s))
            self._kill(what)
        self._join(threads, deadline)
        counts, wrong = check(self.users, tasks, self.solo, deadline + 30.0)
        self.counts.update(counts)
        self.wrong += wrong

    def _kill(self, what: str) -> None:
        if what == "worker":
            end = time.monotonic() + WORKER_S
            while time.monotonic() < end:
                with suppress(IndexError, ProcessLookupError):  # there is none now, or it has just died
                    os.kill(self.draw.choice(self.server.workers()), signal.SIGKILL)
                    self.counts["worker kills"] += 1
                    return
                time.sleep(0.01)
            return
        self.server.kill()
        start = time.monotonic()
        self.server.start()
        self.down_s.append(time.monotonic() - start)
        self.counts["server kills"] += 1

    @staticmethod
    def _join(threads: Sequence[threading.Thread], deadline: float) -> None:
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def inspect(self, *, last: bool = False) -> Findings:
        """Kill the server, look at what is left of it, and (unless `last`) start it again."""
        self.server.kill()
        left = self.server.leftovers()
        self.wrong += [f"left behind: {Path(name).name}" for name in left]
        found = audit(self.server.data, self.solo, seen=self.audited)
        self.wrong += found.wrong
        self.counts["pictures read from disk"] += found.pictures
        self.counts["orphans"] = found.orphans
        self.counts["stored jobs"] = sum(found.jobs.values())
        self.counts["charged jobs"] = found.charges
        if sum(found.jobs.values()) != self.counts["jobs"]:
            self.wrong.append(f"{sum(found.jobs.values())} jobs are stored, {self.counts['jobs']} were submitted")
        if not last:
            self.server.start()
        return found
