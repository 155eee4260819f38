"""Each op on the model's shapes: against its floor on this machine, and against torch (oneDNN) on the same numbers.

`python -m salon.bench.ops [--quick] [--threads N]`

The shapes are those that the shipped model calls the ops with: a default grid of four is run on a backend that notes
every call (`recording`). The floor of a case is the larger of its operations over the dot-product peak of all threads
and its bytes over the copy rate of an equal working set. Both probes take turns with what they judge, and a share of
the floor is best run against best run. Every result is verified against float32 before it is timed. Operands are bf16
where the CPU multiplies them, else float32, with float32 accumulation on both sides; torch's weights also prepacked, as
its compiler does it.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import Any

from . import machine
from .cases import Case, Cases
from .measure import Samples, budgeted, interleave
from .peaks import GB, Copies, DotProducts, floor_ms, gflops_per_core
from .peers.base import DTYPES, USUAL
from .recording import record
from .report import Goal
from .runner import Bench, run
from .torch_mode import torch_as_rival

PEAK, COPIES = "peak", "copies"  # candidates that are the probes
COLUMNS = [["op", "shape", "calls", "salon_ms", "floor_ms", "share", "gflops", "rival_ms", "rival", "times"]]


def body(bench: Bench) -> None:
    with torch_as_rival(bench.threads):
        compare(bench)


def compare(bench: Bench) -> None:
    """Time every op beside its rivals."""
    from ..kernels.backends import create

    bench.use("torch")
    bench.columns = COLUMNS
    ops = create("cpu", threads=bench.threads)
    bench.note(f"Salon runs {ops.name} ({ops.compute}), torch {DTYPES[USUAL]}, both {bench.threads} threads")
    bench.note("calls: how often a default grid of four makes the call, in one step or in decoding")
    make = Cases(ops)
    measure(bench, ((make.of(call), number) for call, number in record()[0].items()), len(record()[0]), ops.compute)
    goals(bench)


def measure(bench: Bench, cases: Any, count: int, dtype: Any) -> None:
    """Verify and time (case, calls) one after another, and add their rows."""
    turn, rounds, least = bench.pick((0.001, 1, 1), (0.02, 2, 3), (0.04, 8, 3))
    probe = DotProducts(dtype)
    best = Samples()
    with bench.progress("ops", count) as advance:
        for case, calls in cases:
            if bench.deadline.left() <= 0:
                break
            case.verify()
            turns = {"salon": budgeted(case.salon, turn, at_least=least, before=case.before)}
            turns |= {name: budgeted(call, turn, at_least=least) for name, call in case.rivals.items()}
            working_set = 1 << max(16, math.ceil(math.log2(case.bytes)))
            turns[COPIES] = Copies(bench.threads, working_set).turn
            if probe.name:
                turns[PEAK] = probe.turn
            results = interleave(turns, rounds=rounds, deadline=bench.deadline)
            best.values += results.get(PEAK, Samples()).values
            bench.report.rows.append({**as_row(case, results, bench.threads), "calls": calls})
            advance(case.op)
    if best.values:
        top, middle = gflops_per_core(best), gflops_per_core(best, "median")
        bench.note(f"dot-product peak ({probe.name}): {top:.0f} GFLOP/s a core at best, {middle:.0f} in the median")


def as_row(case: Case, results: dict[str, Samples], threads: int) -> dict[str, Any]:
    """Return medians, the floor and Salon's share of it (best run against best run), and the ratio to the best
    rival."""
    salon = results["salon"].median
    others = {name: samples for name, samples in results.items() if name not in ("salon", PEAK, COPIES)}
    rivals = {name: samples.median for name, samples in others.items() if samples.median}
    best = min(rivals, key=lambda name: rivals[name] or math.inf) if rivals else None
    rival_ms = rivals[best] if best else None
    floor, top = least_ms(case, results, threads), results["salon"].best
    return {
        "op": case.op,
        "shape": case.shape,
        "tags": " ".join(sorted(case.tags)),
        "salon_ms": salon,
        "salon_best": top,
        "salon_p90": results["salon"].spread[1] if results["salon"].spread else None,
        "floor_ms": floor,
        "share": floor / top if floor and top else None,
        "gflops": case.flops / salon / 1e6 if salon and case.flops else None,
        "rival": best,
        "rival_ms": rival_ms,
        **{f"{name} ms": value for name, value in rivals.items()},
        "times": rival_ms / salon if rival_ms and salon else None,
    }


def least_ms(case: Case, results: dict[str, Samples], threads: int) -> float | None:
    """Return the least time that the machine allows, in ms: operations over the peak, or bytes over the copy rate.

    Both are by the best runs of the probes that took turns with the case.
    """
    copies, peak = results.get(COPIES), results.get(PEAK)
    moved = case.bytes / GB * copies.best if copies is not None and copies.best else None
    if not case.flops:
        return moved
    work = floor_ms(case.flops / 1e9, peak, threads)
    return None if work is None else max(work, moved or 0.0)


def goals(bench: Bench) -> None:
    """State geometric means over the model's shapes, against the better of torch's two ways."""
    amx = machine.has_flag("amx_bf16")
    note = "" if amx else "set for a CPU with AMX, which this one lacks"
    wanted = (("packed GEMM faster than oneDNN", "gemm", 1.7), ("attention faster than SDPA", "attention", 4.0))
    for goal, tag, target in wanted:
        rows = [row for row in bench.report.rows if tag in row["tags"].split() and row["times"]]
        value = math.exp(sum(math.log(row["times"]) for row in rows) / len(rows)) if rows else None
        share = [row["share"] for row in rows if row["share"]]
        spread = ""
        if rows:
            times = [row["times"] for row in rows]
            spread = f"{min(times):.2f}x to {max(times):.2f}x over {len(rows)} shapes"
        if share:
            spread += f", {min(share):.0%} to {max(share):.0%} of the floor's speed"
        bench.goal(Goal.at_least(goal, target, value, "x", "; ".join(filter(None, [note, spread]))))


main = partial(run, "ops", (__doc__ or "").splitlines()[0], body)


if __name__ == "__main__":
    sys.exit(main())
