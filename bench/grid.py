"""The main job, side by side: one grid of four pictures by Salon and by its rivals, on one checkpoint.

`python -m salon.bench.grid [--quick] [--threads N] [--model DIR] [--only NAME,...] [--rival NAME=PYTHON]`

Same weights, text tokens, initial noise, the checkpoint's own size, steps and guidance (see `job`), same thread count,
each candidate in a process of its own, measured in interleaved rounds, in which the probe of the machine's peak takes
its turn too. Rivals are set up as their own documentation advises (peers/). What a rival builds once (an exported
graph, a compiled kernel) is kept in a cache folder and is not part of its cold start; with --quick a rival that has
nothing built yet is left out, with --tiny the one that takes minutes to build. `--rival` adds another build of Salon,
in the environment of the named Python, as one more candidate; `--only salon` measures nothing else beside it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..system import python_command
from .facts import SHIPPED, Facts
from .fleet import Candidate, CandidateFailed, last_lines
from .grid_report import IMAGES, Probe, publish
from .job import sigmas
from .kept import cache_folder
from .measure import Samples, interleave
from .peaks import DotProducts
from .peers.base import DTYPES, USUAL, Job, Peer
from .runner import Bench, positive, run
from .worker import peer_class

PEERS = {
    "salon": "salon_cpu:SalonCpu",
    "eager": "diffusers_eager:DiffusersEager",
    "compile": "diffusers_compile:DiffusersCompile",
    "openvino": "openvino_cpu:OpenVino",
    "onnxruntime": "onnx_runtime:OnnxRuntime",
    "salon-fp32": "salon_cpu:SalonFloat32",
    "fp32": "diffusers_eager:DiffusersFloat32",
}
REFERENCE = "fp32"
SLOW_TO_BUILD = ("compile",)  # minutes
TINY_STEPS = 2
PEAK = "peak"  # the candidate that is the probe
COLUMNS = [
    ["candidate", "precision", "step_ms", "step_p10", "step_p90", "step_share", "decode_ms", "decode_share", "grid_ms"],
    [
        "candidate",
        "step_times",
        "step_best_times",
        "decode_times",
        "decode_best_times",
        "grid_times",
        "grid_best_times",
    ],
    ["candidate", "img_s_1", "img_s_4", "img_s_16", "rss_mib", "first_step_s", "image_s", "psnr_db", "latent_error"],
]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, default=SHIPPED, help="diffusers-layout folder (default: models/mini)")
    parser.add_argument("--only", default=",".join(PEERS), help=f"candidates, of: {', '.join(PEERS)}; or MODULE:CLASS")
    parser.add_argument("--rival", action="append", default=[], metavar="NAME=PYTHON", type=_rival,
                        help="another build of Salon: its name, and the Python it is installed for")  # fmt: skip
    parser.add_argument("--rounds", type=positive, help="of steps, decodes and grids (default: 8, 3 of grids)")
    parser.add_argument("--cache", type=Path, help="where rivals keep what they build (default: user cache)")


def _rival(text: str) -> tuple[str, str]:
    name, equals, python = text.partition("=")
    if not name or not equals or not Path(python).is_file():
        raise argparse.ArgumentTypeError(f"got {text!r}, want NAME=PYTHON with an executable that exists")
    return name, python


def body(bench: Bench) -> None:
    names = bench.options.only.split(",")
    if unknown := [name for name in names if name not in PEERS and ":" not in name]:
        raise SystemExit(f"--only: got {unknown[0]!r}, want any of {', '.join(PEERS)}, or MODULE:CLASS; correct it")
    if bench.options.rival:
        bench.report.bench = "grid_rival"  # beside the result of the whole field, not in its place
    if bench.tiny:
        names = [name for name in names if name not in SLOW_TO_BUILD]
    with tempfile.TemporaryDirectory(prefix="salon-bench-") as scratch:
        grid = Grid(bench, names, Path(scratch))
        try:
            grid.measure()
        finally:
            grid.stop()
            publish(bench, grid.facts, grid.rows, Probe(grid.probe.name, grid.peak), grid.steps)


class Grid:
    def __init__(self, bench: Bench, names: list[str], scratch: Path) -> None:
        self.bench, self.scratch = bench, scratch
        self.model: Path = bench.options.model.resolve()
        self.facts = Facts.of(self.model)
        self.probe = DotProducts(DTYPES[USUAL])
        self.peak = Samples()
        self.cache = cache_folder(bench.options.cache, self.model, bench.threads)
        self.steps: int = TINY_STEPS if bench.tiny else self.facts.defaults["steps"]
        self.job = self.scratch / "job.npz"
        self.candidates: dict[str, Candidate] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        for name in names:
            spec = PEERS.get(name, name)  # MODULE:CLASS for one that is not of the table
            peer = peer_class(spec)
            folder = self.cache / name.replace(":", ".")
            self.candidates[name] = Candidate(spec, peer, self.model, folder, self.job, bench.threads)
            self.rows[name] = bench.row(candidate=peer.name, precision=peer.precision, setup=peer.setup)
            bench.use(*peer.packages)
            for build, python in bench.options.rival if name in ("salon", "salon-fp32") else ():
                other, folder = f"{name}, {build}", self.cache / f"{name}-{build}"
                self.candidates[other] = Candidate(
                    spec, peer, self.model, folder, self.job, bench.threads, python=python
                )
                self.rows[other] = bench.row(
                    candidate=f"{peer.name}, build {build}", precision=peer.precision, setup=peer.setup, build=build
                )
        bench.columns = COLUMNS

    # ---- the parts of a run ------------------------------------------------------------------------------------

    def measure(self) -> None:
        quick, tiny = self.bench.quick, self.bench.tiny
        self._make_job()
        self._each("build", self._prepare)
        self._each("cold start", self._cold, repeats=1 if quick else 3)
        self._agreement()
        rounds = self.bench.options.rounds or self.bench.pick(1, 3, 8)
        self._store("step", self._rounds("steps", IMAGES, count=self.bench.pick(1, 4, 10), rounds=rounds))
        self._store("decode", self._rounds("decode", IMAGES, count=self.bench.pick(1, 2, 4), rounds=rounds))
        if not quick:
            grids = self.bench.options.rounds or 3
            self._store("grid", self._rounds("grid", IMAGES, count=1, rounds=grids))
        for images in (1,) if tiny else (1, 16):
            step = self._rounds("steps", images, count=self.bench.pick(1, 2, 5), rounds=1 if quick else 3)
            decode = self._rounds("decode", images, count=1 if quick else 2, rounds=1 if quick else 3)
            for name, row in self.rows.items():
                s, d = _median(step, name), _median(decode, name)
                if s is not None and d is not None:
                    row[f"img_s_{images}"] = images / (s * self.steps + d) * 1e3
        for row in self.rows.values():
            if row.get("step_ms") and row.get("decode_ms"):
                row["img_s_4"] = IMAGES / row.get("grid_ms", row["step_ms"] * self.steps + row["decode_ms"]) * 1e3

    def stop(self) -> None:
        for candidate in self.candidates.values():
            candidate.stop()

    def _make_job(self) -> None:
        kept = self.cache / "job.npz"
        if not kept.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            made_here = kept.with_suffix(f".{os.getpid()}.npz")
            command = python_command(f"{__package__}.job", str(self.model), str(made_here))
            made = subprocess.run(command, timeout=self._timeout(120), capture_output=True, text=True, check=False)
            if made.returncode:
                said = last_lines(made.stderr)
                raise CandidateFailed(f"the job could not be made (code {made.returncode}); its last lines: {said}")
            made_here.replace(kept)
        replace(Job.load(kept), sigmas=sigmas(self.facts, self.steps)).save(self.job)

    def _each(self, what: str, part: Callable[[str], None], repeats: int = 1) -> None:
        """Do `part` for every candidate still in the run; one that fails leaves it, with the reason in its row."""
        with self.bench.progress(what, repeats * len(self.candidates)) as advance:
            for _ in range(repeats):
                for name in list(self.candidates):
                    self._guard(name, part)
                    advance(name)

    def _guard(self, name: str, part: Callable[[str], None]) -> None:
        if self.bench.deadline.left() <= 0:
            return
        try:
            part(name)
        except CandidateFailed as error:
            self.rows[name]["error"] = str(error)
            self.bench.note(f"{self.rows[name]['candidate']}: {error}")
            self.candidates.pop(name).stop()

    def _timeout(self, most: float) -> float:
        return max(0.5, min(most, self.bench.deadline.left()))

    def _prepare(self, name: str) -> None:
        candidate = self.candidates[name]
        ready = candidate.cache / "READY"
        if candidate.peer.prepare is Peer.prepare or ready.exists():
            return
        if self.bench.quick and not self.bench.tiny:
            raise CandidateFailed("left out of --quick: nothing built yet (a full run builds and keeps it)")
        candidate.start()
        candidate.ask("prepare", timeout=1800)
        candidate.stop()
        ready.touch()

    def _cold(self, name: str) -> None:
        candidate = self.candidates[name]
        candidate.start()
        save = str(self.scratch / f"{name}.npz")
        answer = candidate.ask("cold", images=IMAGES, save=save, timeout=self._timeout(300))
        row = self.rows[name]
        for key, source in (("first_step_s", "first_step_at"), ("image_s", "image_at")):
            row.setdefault(f"_{key}", []).append(answer[source] - candidate.started_at)
        row.setdefault("_rss_mib", []).append(answer["peak_rss_mib"])

    def _agreement(self) -> None:
        """Compute PSNR of the pictures and largest latent difference against diffusers in float32."""
        reference = self.scratch / f"{REFERENCE}.npz"
        if not reference.exists():
            return
        with np.load(reference) as truth:
            for name, row in self.rows.items():
                if name == REFERENCE or not (self.scratch / f"{name}.npz").exists():
                    continue
                with np.load(self.scratch / f"{name}.npz") as mine:
                    row["psnr_db"] = psnr(mine["pictures"], truth["pictures"])
                    if mine["latents"].size:
                        row["latent_error"] = float(np.abs(mine["latents"] - truth["latents"]).max())

    def _rounds(self, do: str, images: int, count: int, rounds: int) -> dict[str, Samples]:
        def turn(name: str) -> Callable[[], list[float]]:
            def ask() -> list[float]:
                values: list[float] = []

                def part(name: str) -> None:
                    warmup = self.bench.pick(0, 1, 1) * (2 if do == "steps" else 1)
                    extra = {} if do == "grid" else {"count": count, "warmup": warmup}
                    # A rival may build for a batch size that it has not seen: a long first answer, only in full runs.
                    answer = self.candidates[name].ask(do, images=images, timeout=self._timeout(600), **extra)
                    values.extend(answer["ms"])

                if name in self.candidates:
                    self._guard(name, part)
                return values

            return ask

        with self.bench.progress(f"{do}, {images} images", rounds) as advance:
            turns = {name: turn(name) for name in self.candidates}
            if self.probe.name:
                turns[PEAK] = self.probe.turn
            found = interleave(turns, rounds=rounds, deadline=self.bench.deadline, on_round=lambda: advance(""))
            self.peak.values += found.pop(PEAK, Samples()).values
            return found

    def _store(self, what: str, results: dict[str, Samples]) -> None:
        for name, samples in results.items():
            if samples.values:
                row = self.rows[name]
                row[f"{what}_ms"], row[f"{what}_best"] = samples.median, samples.best
                low_high = samples.spread
                if low_high is not None:
                    row[f"{what}_p10"], row[f"{what}_p90"] = low_high
                row[f"{what}_n"] = len(samples)


def psnr(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Return 10 log10(255^2 / mean squared difference) of uint8 pictures; 99 where they are equal."""
    mse = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return 99.0 if mse == 0 else 10 * float(np.log10(255.0**2 / mse))


def _median(results: dict[str, Samples], name: str) -> float | None:
    return results[name].median if name in results else None


main = partial(run, "grid", (__doc__ or "").splitlines()[0], body, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
