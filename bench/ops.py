"""Each op on the model's shapes: against its floor on this machine, and against torch (oneDNN) on the same numbers.

`python -m salon.bench.ops [--quick] [--threads N]`

The floor of a case is the larger of its operations over the measured dot-product peak (all threads) and its bytes over
the measured copy rate of an equal working set. Every result is verified against float32 before it is timed; candidates
take turns. bf16 operands, float32 accumulation on both sides; torch's weights also prepacked, as its compiler does it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

from . import machine
from .cases import Case, Cases
from .measure import Samples, budgeted, interleave
from .peaks import bytes_per_second, flops_per_core
from .report import Goal
from .runner import Bench, run

SAMPLES, TEXT_ROWS, IMAGE_ROWS, ROWS, HEADS, WIDTH = 8, 16, 64, 80, 6, 64
D = HEADS * WIDTH
COLUMNS = [["op", "shape", "salon_ms", "floor_ms", "share", "gflops", "rival_ms", "rival", "times"]]


def model_cases(make: Cases) -> Iterator[Case]:
    """The shapes of one grid of four pictures on the embedded model: a guided step, then the decoder."""
    for rows in (SAMPLES * IMAGE_ROWS, SAMPLES * TEXT_ROWS):
        yield make.linear(rows, D, 3 * D)
        yield make.linear(rows, D, D)
        yield make.linear(rows, D, 4 * D, "gelu_tanh")
        yield make.linear(rows, 4 * D, D)
    for k, n, activation in ((D, 3 * D, "none"), (D, 4 * D, "gelu_tanh"), (5 * D, D, "none")):
        yield make.linear(SAMPLES * ROWS, k, n, activation)
    yield make.linear(SAMPLES, D, 6 * D)
    yield make.linear(SAMPLES, D, 3 * D)
    yield make.attention(SAMPLES, ROWS, HEADS, WIDTH)
    yield make.attention(SAMPLES, ROWS, HEADS, WIDTH, adapters=1)
    yield make.attention(SAMPLES, ROWS, HEADS, WIDTH, adapters=4)
    yield make.attention(2, 1040, HEADS, WIDTH)
    yield make.modulate(SAMPLES, ROWS, D)
    yield make.qk_norm_rope(SAMPLES * ROWS, HEADS, WIDTH)
    for side, inputs, outputs in ((16, 8, 128), (16, 128, 128), (32, 128, 128), (64, 128, 64), (64, 64, 64),
                                  (128, 64, 32), (128, 32, 32), (128, 32, 3)):  # fmt: skip
        yield make.conv(4, side, inputs, outputs)
    for side, channels in ((16, 128), (32, 128), (64, 64)):
        yield make.conv(4, side, channels, channels, upsample=True)
    for side, channels in ((16, 128), (64, 64), (128, 32)):
        yield make.group_norm_silu(4, side, channels, 4)


def body(bench: Bench) -> None:
    import torch

    from ..kernels.backends import create

    torch.set_num_threads(bench.threads)
    torch.set_grad_enabled(False)
    bench.use("torch")
    bench.columns = COLUMNS
    ops = create("cpu", dtype="bfloat16", threads=bench.threads)
    bench.note(f"Salon runs {ops.name}, both sides {bench.threads} threads")
    measure(bench, list(model_cases(Cases(ops))))
    goals(bench)


def measure(bench: Bench, cases: list[Case]) -> None:
    peak = flops_per_core("bfloat16")
    bench.note(f"dot-product peak {peak / 1e9:.0f} GFLOP/s a core" if peak else "no dot-product peak measured")
    turn, rounds = (0.02, 2) if bench.quick else (0.1, 4)
    with bench.progress("ops", len(cases)) as advance:
        for case in cases:
            if bench.deadline.left() <= 0:
                break
            case.verify()
            calls = {"salon": budgeted(case.salon, turn)}
            calls |= {name: budgeted(call, turn) for name, call in case.rivals.items()}
            results = interleave(calls, rounds=rounds, deadline=bench.deadline)
            bench.report.rows.append(as_row(case, results, peak, bench.threads))
            advance(case.op)


def as_row(case: Case, results: dict[str, Samples], peak: float | None, threads: int) -> dict[str, Any]:
    """Medians, the floor and Salon's share of it, and how many times faster Salon is than the best rival."""
    salon = results["salon"].median
    rivals = {name: samples.median for name, samples in results.items() if name != "salon" and samples.median}
    best = min(rivals, key=lambda name: rivals[name] or math.inf) if rivals else None
    rival_ms = rivals[best] if best else None
    floor = floor_ms(case, peak, threads)
    return {
        "op": case.op,
        "shape": case.shape,
        "tags": " ".join(sorted(case.tags)),
        "salon_ms": salon,
        "salon_p90": results["salon"].spread[1] if results["salon"].spread else None,
        "floor_ms": floor,
        "share": floor / salon if floor and salon else None,
        "gflops": case.flops / salon / 1e6 if salon and case.flops else None,
        "rival": best,
        "rival_ms": rival_ms,
        **{f"{name} ms": value for name, value in rivals.items()},
        "times": rival_ms / salon if rival_ms and salon else None,
    }


def floor_ms(case: Case, peak: float | None, threads: int) -> float | None:
    """The least time that the machine allows: operations over the peak, or bytes over the copy rate, in ms."""
    moved = case.bytes / bytes_per_second(threads, 1 << max(16, math.ceil(math.log2(case.bytes)))) * 1e3
    if not case.flops:
        return moved
    return None if peak is None else max(moved, case.flops / (peak * threads) * 1e3)


def goals(bench: Bench) -> None:
    """Geometric means over the model's shapes, against the better of torch's two ways."""
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


if __name__ == "__main__":
    sys.exit(run("ops", (__doc__ or "").splitlines()[0], body))
