"""What a run of `grid` says: notes, ratios between its rows, and goals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import machine
from .facts import Facts
from .footprint import install_mib
from .job import decode_gflop, step_gflop
from .measure import Samples, quantile
from .peaks import floor_ms, gflops_per_core
from .peers.base import USUAL
from .report import Goal
from .runner import Bench

IMAGES = 4
Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Probe:
    """The probe of the peak: name of what it ran, and its runs between those of the candidates."""

    name: str
    peak: Samples


def publish(bench: Bench, facts: Facts, rows: Rows, probe: Probe, steps: int) -> None:
    """Finish the rows of a run, and add its notes and goals."""
    for row in rows.values():
        for key in ("first_step_s", "image_s", "rss_mib"):
            values = row.pop(f"_{key}", None)
            if values:
                row[key] = quantile(values, 0.5)
    own = facts.defaults
    bench.note(
        f"one grid = {IMAGES} pictures of {own['width']}x{own['height']}, {steps} steps, guidance "
        f"{own['guidance_scale']:g} ({IMAGES * facts.samples} samples x {facts.rows} rows): "
        f"{step_gflop(facts, IMAGES):.1f} GFLOP a step, {decode_gflop(facts, IMAGES):.1f} to decode"
    )
    whole = "steps and decodes" if bench.quick else "whole grids"
    bench.note(f"img_s_1 and img_s_16 come from measured steps and decodes of that batch; img_s_4 from {whole}")
    bench.note("rivals get the encoded text for nothing; Salon's cold start and memory include the text encoder")
    _goals(bench, facts, rows, probe)


def _goals(bench: Bench, facts: Facts, rows: Rows, probe: Probe) -> None:
    """State what was reached of what was wanted; fill in the shares and ratios of the rows."""
    salon = rows.get("salon", {})
    peak = gflops_per_core(probe.peak)
    floor = floor_ms(step_gflop(facts, IMAGES), probe.peak, bench.threads)
    decode_floor = floor_ms(decode_gflop(facts, IMAGES, folded=True), probe.peak, bench.threads)
    for name, row in rows.items():
        like = rows.get("salon-fp32" if name.startswith("salon-fp32") else "salon", {})
        for what in ("step", "decode", "grid"):  # how many times as long as Salon, by medians and by best runs
            row[f"{what}_times"] = _ratio(row.get(f"{what}_ms"), like.get(f"{what}_ms"))
            if "build" in row:
                row[f"{what}_best_times"] = _ratio(row.get(f"{what}_best"), like.get(f"{what}_best"))
        if row.get("precision") == USUAL:
            row["step_share"] = _ratio(floor, row.get("step_best"))
            row["decode_share"] = _ratio(decode_floor, row.get("decode_best"))
    note = ""
    if not machine.has_flag("amx_bf16"):
        note = "set for a CPU with AMX, which this one lacks"
    if peak is not None:
        middle = gflops_per_core(probe.peak, "median")
        rates = f"{probe.name}, between the turns: {peak:.0f} GFLOP/s a core at best, median {middle:.0f}"
        bench.note(f"floor at the {USUAL} peak ({rates}): {floor:.2f} ms a step, {decode_floor:.2f} ms to decode")
        bench.note("step_share, decode_share: floor over the best run; the other columns are medians")
        bench.report.details["floor"] = {"step_ms": floor, "decode_ms": decode_floor, "peak_gflops_a_core": peak}
    for rival, target in (("eager", 6.0), ("compile", 5.0), ("openvino", 3.0)):
        value = _ratio(rows.get(rival, {}).get("step_ms"), salon.get("step_ms"))
        most = _ratio(rows.get(rival, {}).get("step_ms"), floor)
        beyond = f"; even the floor would be {most:.2f}x" if most is not None and most < target else ""
        bench.goal(Goal.at_least(f"step faster than {rival}", target, value, "x", note + beyond if note else ""))
    bench.goal(Goal.at_most("step against its floor", 3.0, _ratio(salon.get("step_best"), floor), "x", "best runs"))
    decode = _ratio(rows.get("eager", {}).get("decode_ms"), salon.get("decode_ms"))
    most = _ratio(rows.get("eager", {}).get("decode_ms"), decode_floor)
    beyond = f"; even the floor would be {most:.2f}x" if most is not None and most < 4 else ""
    bench.goal(Goal.at_least("decoding faster than eager", 4.0, decode, "x", note + beyond if note else ""))
    bench.goal(Goal.at_most("cold start, process to first step", 0.7, salon.get("first_step_s"), " s"))
    bench.goal(Goal.at_most("peak memory", 400.0, _times(salon.get("rss_mib"), 1.048576), " MB"))
    bench.goal(Goal.at_most("default install", 300.0, install_mib(), " MiB"))
    bench.goal(Goal.at_least(f"PSNR against float32 diffusers, {USUAL}", 35.0, salon.get("psnr_db"), " dB"))
    exact = rows.get("salon-fp32", {}).get("latent_error")
    bench.goal(Goal.at_most("largest latent difference, float32", 1e-3, exact))


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None


def _times(a: float | None, factor: float) -> float | None:
    return None if a is None else a * factor
