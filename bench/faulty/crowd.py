"""Simulate users of a server that is being killed.

They submit with keys, repeat what was not answered, and write down all that the server tells them.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from ...bounds import FINAL
from ...frontends.client.client import Client, RemoteJob
from ...frontends.client.errors import Busy, ClientError, Disconnected, Draining, TimedOut, TooFast, Unavailable
from ...frontends.wire.messages import JobInfo
from .audit import Solo, differs

AGAIN: Final = (Busy, Disconnected, Draining, TimedOut, TooFast, Unavailable)  # what passes
PAUSE_S: Final = 0.1


class NotInTime(Exception):
    """Something that should have come in the end has not."""


def insist(call: Any, deadline: float) -> Any:
    """Call a function until its error is none that passes, and return the result.

    Raise NotInTime after the deadline.
    """
    while True:
        try:
            return call()
        except AGAIN as error:
            if time.monotonic() > deadline:
                raise NotInTime(f"{type(error).__name__}: {error}") from error
            time.sleep(PAUSE_S)


@dataclass
class Told:
    """The events that one watcher got of one job, over all of its connections."""

    job: str
    numbers: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    images: list[int] = field(default_factory=list)

    def wrong(self, images: int) -> list[str]:
        """Return what is wrong with the events, if the job is done and has so many images."""
        found = []
        if self.numbers != sorted(set(self.numbers)):
            found.append(f"job {self.job}: numbers {self.numbers}")
        finals = [kind for kind in self.kinds if kind in FINAL]
        if finals != ["done"] or self.kinds[-1] != "done":
            found.append(f"job {self.job}: final events {finals}, last {self.kinds[-1:]}")
        if self.images != [*range(images), -1]:
            found.append(f"job {self.job}: pictures {self.images}")
        return found


@dataclass
class Task:
    """One job of the campaign: what was asked for, and what came of it."""

    key: str
    fields: dict[str, Any]
    job: str = ""
    told: list[Told] = field(default_factory=list)
    files: dict[int, bytes] = field(default_factory=dict)
    error: BaseException | None = None


class User:
    """An account with a client, and another client that watches its jobs as well."""

    def __init__(self, client: Client, other: Client, name: str) -> None:
        self.client, self.other, self.name = client, other, name

    def do(self, task: Task, deadline: float) -> None:
        """Submit, watch twice, fetch all pictures, through all faults of the server."""
        try:
            job: RemoteJob = insist(lambda: self.client.imagine(key=task.key, **task.fields), deadline)
            task.job = job.id
            other = insist(lambda: self.other.job(job.id), deadline)
            task.told = [Told(job.id), Told(job.id)]
            beside = threading.Thread(target=watch, args=(other, task.told[1], deadline), daemon=True)
            beside.start()
            watch(job, task.told[0], deadline)
            beside.join(max(0.0, deadline - time.monotonic()))
            info: JobInfo = insist(job.refresh, deadline)
            for picture in info.pictures:
                task.files[picture.index] = insist(lambda index=picture.index: job.picture(index), deadline)
        except Exception as error:
            task.error = error


def watch(job: RemoteJob, told: Told, deadline: float) -> None:
    """Write down the events of a job, up to its final one."""
    while not any(kind in FINAL for kind in told.kinds):
        if time.monotonic() > deadline:
            return  # which `Told.wrong` will say
        try:
            for event in job.events(after=told.numbers[-1] if told.numbers else 0, timeout_s=5.0):
                told.numbers.append(event.number)
                told.kinds.append(event.kind)
                if event.picture is not None:
                    told.images.append(event.picture.index)
        except ClientError:
            time.sleep(PAUSE_S)


def run_tasks(users: Sequence[User], tasks: Sequence[Task], deadline: float) -> list[threading.Thread]:
    """Start all tasks, each in a thread, and join the threads."""
    threads = [
        threading.Thread(target=users[index % len(users)].do, args=(task, deadline), daemon=True)
        for index, task in enumerate(tasks)
    ]
    for thread in threads:
        thread.start()
    return threads


def check(users: Sequence[User], tasks: Sequence[Task], solo: Solo, deadline: float) -> tuple[Counter[str], list[str]]:
    """Return (counts, what is wrong) of tasks whose threads have ended.

    Each key is asked for again: it must be the same job.

    Counts: jobs, events, pictures (compared), lost, doubled, different."""
    counts: Counter[str] = Counter(jobs=len(tasks))
    wrong: list[str] = []
    for index, task in enumerate(tasks):
        user = users[index % len(users)]
        if task.error is not None or not task.job:
            counts["lost"] += 1
            wrong.append(f"{task.key}: {type(task.error).__name__}: {task.error}")
            continue
        again = insist(partial(user.client.imagine, key=task.key, **task.fields), deadline)
        if again.id != task.job:
            counts["doubled"] += 1
            wrong.append(f"{task.key}: job {task.job}, and again {again.id}")
        info: JobInfo = insist(again.refresh, deadline)
        said = [text for told in task.told for text in told.wrong(info.images)]
        counts["events"] += sum(len(told.numbers) for told in task.told)
        wrong += said
        if info.state != "done":
            counts["lost"] += 1
            wrong.append(f"{task.key}: {info.state} {info.reason}")
        if sorted(task.files) != [-1, *range(info.images)]:
            wrong.append(f"{task.key}: files {sorted(task.files)}")
        for number, file in task.files.items():
            counts["pictures"] += 1
            if reason := differs(solo, number, file, task.fields):
                counts["different"] += 1
                wrong.append(f"{task.key}: picture {number}: {reason}")
    return counts, wrong


def some_fields(draw: random.Random, sides: Sequence[int], max_steps: int) -> dict[str, Any]:
    """Draw a random request."""
    guidance = draw.choice((1.0, 2.0, 3.0))
    return {
        "prompt": draw.choice(("a red apple", "a blue whale, doodle", "cat", "a dog, on a pink background")),
        "width": draw.choice(sides), "height": draw.choice(sides), "seed": draw.randrange(2**32),
        "images": draw.choice((1, 1, 2, 3)), "steps": draw.randint(1, max_steps),
        "guidance_scale": guidance, "solver": draw.choice(("euler", "heun")),
        "negative_prompt": draw.choice(("", "a dog")) if guidance != 1 else "",
        "lane": draw.choice(("fast", "fast", "relax", "turbo", "draft")),
        "previews": draw.choice((0, 0, 1)),
    }  # fmt: skip
