"""The lanes under load, simulated: the real scheduler under a virtual clock, beside four baselines on the same traces.

`python -m salon.bench.simulate [--quick] [--gpus N] [--jobs N] [--trace NAME] [--overhead] [--out DIR]`

The cost of work is stated in physics.py, the traces in traces.py, the baselines in baselines.py, what is measured in
metrics.py and checks.py. Tables and goals go to simulate.json, pictures to simulate/ beside it.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from ..runner import Bench, positive, run
from .suite import Scale, Suite, simulate_big
from .traces import NAMES as TRACES

COLUMNS = [
    ["what", "load", "scheduler", "slo", "turbo_slo", "fast_slo", "draft_slo", "relax_slo", "goodput", "gain_reached",
     "jain", "plan_p50_us", "plan_p99_us", "difference_true_ms"],
    ["what", "load", "scheduler", "turbo_start_s_p95", "fast_start_s_p95", "draft_start_s_p95", "relax_start_s_p95",
     "turbo_stretch_p99", "fast_stretch_p99", "draft_stretch_p99", "relax_stretch_p99", "oldest_relax_s"],
]  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gpus", type=positive, help="simulated workers (default: 8)")
    parser.add_argument("--jobs", type=positive, help="jobs of a trace (default: 3000)")
    parser.add_argument("--big-gpus", type=positive, help="workers of the large simulation (default: 1000)")
    parser.add_argument("--big-jobs", type=positive, help="jobs of the large simulation (default: 1,000,000)")
    parser.add_argument("--trace", choices=TRACES, help="only this trace, at every load")
    parser.add_argument("--overhead", action="store_true", help="only what the scheduler itself costs")


def body(bench: Bench) -> None:
    options = bench.options
    bench.use("matplotlib")
    suite = Suite(bench, Scale.of(options))
    bench.columns = COLUMNS
    if options.overhead:
        bench.columns = None
        suite.overhead()
        return
    if options.trace is not None:
        suite.loads(options.trace)
        suite.finish()
        return
    suite.overhead()  # before the other process starts: it would be in the way of the clock
    with ProcessPoolExecutor(1) as pool:
        coming = pool.submit(simulate_big, suite.scale.big_workers, suite.scale.big_jobs)
        suite.loads("poisson")
        suite.few_steps()
        suite.traces(TRACES)
        suite.fair()
        suite.big(coming)
    suite.finish()


main = partial(run, "simulate", (__doc__ or "").splitlines()[0], body, arguments=arguments, tied_to="nothing")


if __name__ == "__main__":
    sys.exit(main())
