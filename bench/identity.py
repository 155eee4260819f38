"""Same seed, same picture, whatever the company: random mixed jobs through the real studio, against solo runs.

`python -m salon.bench.identity [--quick] [--plans N] [--threads N] [--out DIR]`

Two worker processes, all lanes, mixed sizes, steps, guidance, solvers, adapters (random ones, and the shipped one with
its null reference). Jobs are paused and resumed at random
steps, moved between workers, and workers are killed (SIGKILL) amid their work. Every picture is compared with that of
an engine which makes it alone, and every job has to give exactly one final answer.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
from functools import partial
from typing import Any

from ..engine.engine import Engine
from ..engine.spec import AdapterUse
from ..scheduler.policy import Policy
from ..scheduler.tickets import Lane
from ..studio.job import Job, JobState
from ..studio.scheduling.loop import Loop
from ..studio.workers.messages import Setup
from ..studio.workers.process import ProcessWorker
from .adapters import BRANCH, Shipped, random_branch, random_tokens
from .report import Goal
from .runner import Bench, positive, run

JOBS = 8  # submitted together
KILL_EVERY = 3  # rounds
DEADLINE_S = 120.0
SIZES = ((64, 64), (96, 64), (64, 96), (128, 128), (160, 96))
TINY_SIZES = ((32, 32), (48, 32), (32, 48), (64, 64))
FINAL = [state.value for state in JobState if state.final]
ADAPTERS = {f"style{k}": k + 1 for k in range(4)}  # name -> tokens, of the random branch
STYLES = 4  # of the shipped adapter


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plans", type=positive, help="plans to compare (default: 5000; --quick: 500)")


def fields(draw: random.Random, guidance: float, tiny: bool) -> dict[str, Any]:
    """Draw a random request. `guidance` is the model's own."""
    width, height = draw.choice(TINY_SIZES if tiny else SIZES)
    known = [*sorted(ADAPTERS), *(f"{BRANCH}-{k}" for k in range(STYLES))]
    names = draw.sample(known, draw.choice((0, 0, 1, 2)))
    null = f"{BRANCH}-null"
    return {
        "prompt": draw.choice(("a red apple", "a blue whale, doodle", "a cat, on a pink background")),
        "width": width, "height": height, "seed": draw.randrange(2**32), "images": draw.choice((1, 1, 2, 3)),
        "steps": draw.randint(1, 2 if tiny else 8), "guidance_scale": draw.choice((1.0, guidance, guidance + 1)),
        "solver": draw.choice(("euler", "euler", "heun")),
        "adapters": tuple(
            AdapterUse(name, draw.choice((0.3, 1.0)), null if name.startswith(BRANCH) else None) for name in names
        ),
    }  # fmt: skip


class Comparison:
    """Counts of what was compared."""

    def __init__(self, bench: Bench) -> None:
        self.alone = Engine.load(threads=1)
        self.tiny = bench.tiny
        self.guidance: float = self.alone.model.defaults["guidance_scale"]
        sizes = self.alone.model.architecture
        branch = random_branch(sizes.adapter_layers, sizes.adapter_width, sizes.adapter_width)
        tokens = dict(zip(ADAPTERS, random_tokens(self.alone, list(ADAPTERS.values()), 0.2, 11), strict=True))
        shipped = Shipped.of(self.alone)
        setup = Setup(threads=1)
        self.ports = [ProcessWorker(setup, f"worker-{k}") for k in range(2)]
        self.loop = Loop(self.ports, policy=Policy(max_losses=1000)).start()
        for house in (self.alone, self.loop):
            house.add_branch(branch)
            for name, values in tokens.items():
                house.register_adapter(name, values)
            shipped.register(house, STYLES)
        self.draw = random.Random(1)
        self.jobs = self.pictures = self.different = self.kills = self.pauses = self.answers = 0

    @property
    def plans(self) -> int:
        return self.loop.scheduler.num_plans

    def round(self, number: int) -> None:
        draw, jobs = self.draw, []
        for _ in range(JOBS):
            spec = self.loop.model.make_spec(**fields(draw, self.guidance, self.tiny))
            jobs.append(self.loop.submit(spec, account=draw.choice("abcd"), lane=draw.choice(list(Lane))))
        for job in draw.sample(jobs, 3):
            self._wait_for_step(job, draw.randint(0, job.spec.steps))
            self.pauses += job.pause()
        if number % KILL_EVERY == KILL_EVERY - 1:
            pid = draw.choice(self.ports).pid
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                self.kills += 1
        for job in jobs:
            job.resume()
        for job in jobs:
            self._compare(job)

    @staticmethod
    def _wait_for_step(job: Job, step: int) -> None:
        for event in job.events(DEADLINE_S):
            if event.step >= step or event.kind in FINAL:
                return

    def _compare(self, job: Job) -> None:
        pictures = job.result(DEADLINE_S)
        self.answers += sum(event.kind in FINAL for event in job.events(DEADLINE_S))
        generation = self.alone.open(job.spec)
        while generation.state == "running":
            self.alone.step([generation])
        expected = self.alone.finish(generation)
        self.alone.close(generation)
        self.jobs += 1
        self.pictures += len(expected)
        self.different += int((expected != pictures).any(axis=(1, 2, 3)).sum())


def body(bench: Bench) -> None:
    wanted = bench.options.plans or bench.pick(60, 500, 5000)
    test = Comparison(bench)
    try:
        with bench.progress("plans", wanted) as advance:
            number = before = 0
            while test.plans < wanted and bench.deadline.left() > 0:
                test.round(number)
                number += 1
                for _ in range(test.plans - before):
                    advance("")
                before = test.plans
        bench.row(
            plans=test.plans, jobs=test.jobs, pictures=test.pictures, different=test.different,
            final_answers=test.answers, workers_killed=test.kills, pauses=test.pauses, workers=len(test.ports),
        )  # fmt: skip
    finally:
        test.loop.close()
    bench.goal(Goal.at_least("plans", 500, test.plans))
    bench.goal(Goal.at_most("pictures that differ from their solo run", 0, test.different))
    bench.goal(Goal.at_most("jobs with other than one final answer", 0, abs(test.answers - test.jobs)))
    bench.goal(Goal.at_least("workers killed", 1, test.kills))


main = partial(run, "identity", (__doc__ or "").splitlines()[0], body, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
