"""Measure one GPU in one short run: `python -m salon.bench.gpu [--device cuda:0] [--only PHASE,...] [--seconds 480]`.

Six phases, the one worth most first; each writes `gpu_PHASE.json` when it is done, and one that fails leaves the
others alone. `smoke`: every op against the reference, a picture alone and in a batch of 8, bit for bit. `kernels`: each
kernel against what the device can do and against torch. `flux`: a model of FLUX.1's shape beside diffusers. `sharing`:
what sharing a step gains, adapters, graphs, start, parking. `flux2` and `sdxl`: models of their shapes beside
diffusers.

Without a GPU this refuses. With --tiny and --device cpu, under Triton's interpreter (TRITON_INTERPRET=1), every phase
runs on as little as it takes and checks results alone; nothing is timed there.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from rich.console import Console

from ..measure import Deadline
from ..report import TiedTo
from ..runner import Bench, run
from . import flux, flux2, kernels, sdxl, sharing, smoke
from .setting import Gpu

SECONDS: Final = 480.0
PHASES: Final[dict[str, tuple[Callable[[Bench, Gpu], None], TiedTo, float]]] = {  # with their share of the time
    "smoke": (smoke.body, "shapes", 0.15),
    "kernels": (kernels.body, "nothing", 0.2),
    "flux": (flux.body, "nothing", 0.3),
    "sharing": (sharing.body, "shapes", 0.15),
    "flux2": (flux2.body, "nothing", 0.1),
    "sdxl": (sdxl.body, "nothing", 0.1),
}


def main(argv: Sequence[str] | None = None, console: Console | None = None) -> int:
    """Run the phases and return the exit code: 0; 1 a phase failed; 2 there is no such device."""
    own = argparse.ArgumentParser(prog="python -m salon.bench.gpu", description=(__doc__ or "").splitlines()[0])
    own.add_argument("--device", default="cuda:0", help="cuda:N (cuda:0), or cpu for a tiny run in the interpreter")
    own.add_argument("--only", default=",".join(PHASES), help=f"some of {', '.join(PHASES)}")
    own.add_argument("--seconds", type=float, default=SECONDS, help=f"for all phases ({SECONDS:g})")
    mine, rest = own.parse_known_args(argv)
    only = mine.only.split(",")
    if unknown := [name for name in only if name not in PHASES]:
        print(f"--only: got {unknown[0]!r}, allowed {', '.join(PHASES)}; name some of these", file=sys.stderr)
        return 2
    try:
        gpu = Gpu(mine.device)
    except (ValueError, ImportError) as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return 2
    end, shares, code = time.monotonic() + mine.seconds, sum(PHASES[name][2] for name in only), 0
    for name in only:
        body, tied_to, share = PHASES[name]
        seconds = max(0.0, end - time.monotonic()) * share / max(shares, share)  # what one leaves goes to the others
        shares -= share
        try:
            bound = partial(_phase, body=body, gpu=gpu)
            failed = run(
                f"gpu_{name}", (body.__doc__ or "").splitlines()[0], bound, argv=rest, console=console,
                deadline=Deadline(seconds), tied_to=tied_to, prog="python -m salon.bench.gpu",
            )  # fmt: skip
        except Exception:
            traceback.print_exc()
            failed = 1
        code = code or failed
    return code


def _phase(bench: Bench, body: Callable[[Bench, Gpu], None], gpu: Gpu) -> None:
    report: Any = bench.report
    report.machine = {**report.machine, "gpu": gpu.label}
    report.isa = f"{gpu.ops.name} {gpu.ops.compute}"
    bench.use("torch", "triton")
    if not gpu.timed:
        bench.note("Triton's interpreter on the CPU: results are checked, nothing is timed")
    body(bench, gpu)


if __name__ == "__main__":
    sys.exit(main())
