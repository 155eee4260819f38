"""How much of a seam is seen where a picture was continued or meets itself, and what doubling a picture's size does."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ..report import Goal
from ..runner import Bench
from .house import House, Pixels

SEAM = 1.2  # ruling: at most so many times an inner step
PATTERN = "a sunflower, woodcut, on a green background"


def step_at(pictures: list[Pixels], column: int) -> float:
    """Return the mean step of values into a column from the one before, over that between all others."""
    steps = np.abs(np.diff(np.stack(pictures).astype(np.float64), axis=2)).mean((0, 1, 3))
    inner = np.delete(steps, column - 1)
    return float(steps[column - 1] / inner.mean())


def round_step(pictures: list[Pixels]) -> float:
    """Return the mean step from the last column to the first, over that between others."""
    values = np.stack(pictures).astype(np.float64)
    return float(np.abs(values[:, :, 0] - values[:, :, -1]).mean() / np.abs(np.diff(values, axis=2)).mean())


def body(bench: Bench, house: House) -> None:
    """Measure `--tile` and pans."""
    images = bench.pick(1, 2, 8)
    found = {}
    for tile in (False, True):
        job = house.studio.make("imagine", PATTERN, seed=3, images=images, tile=tile, **house.steps, **house.size)
        found[tile] = round_step(house.pictures(job))
        bench.row(picture=f"imagine tile={tile}", pictures=images, seam=found[tile])
    bench.goal(Goal.at_most("seam of --tile, in steps between inner columns", SEAM, found[True]))
    for side in ("left", "right"):
        source = house.pictures(house.parent)[0]
        job = house.studio.make("pan", sources=house.sources_of(house.parent), side=side, images=images, **house.steps)
        made = house.pictures(job)
        join = made[0].shape[1] - source.shape[1] if side == "left" else source.shape[1]
        seam = step_at(made, join)
        bench.row(picture=f"pan side={side}", pictures=images, seam=seam)
        bench.goal(Goal.at_most(f"seam of a pan to the {side}, likewise", SEAM, seam))


def psnr(a: Pixels, b: Pixels) -> float:
    """Return the peak signal-to-noise ratio of two pictures, dB."""
    error = float(((a.astype(np.float64) - b.astype(np.float64)) ** 2).mean())
    return float("inf") if not error else 10 * float(np.log10(255**2 / error))


def laplacian(picture: Pixels) -> float:
    """Return the mean square of the Laplacian of a picture's grey values, 0..1, without its border."""
    grey = picture.astype(np.float64).mean(2) / 255
    inner = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return float((inner**2).mean())


def upscales(bench: Bench, house: House) -> None:
    """Measure how near a doubled picture is to its source, and how sharp it is beside bicubic interpolation."""
    source = house.pictures(house.parent)[0]
    high, wide = source.shape[:2]
    bicubic = np.asarray(Image.fromarray(source).resize((2 * wide, 2 * high), Image.Resampling.BICUBIC))
    for creative in (False, True):
        said: dict[str, Any] = {"creative": True} if creative else {}
        job = house.studio.make("upscale", sources=house.sources_of(house.parent), seed=5, **said, **house.steps)
        made = house.pictures(job)[0]
        if made.shape != (2 * high, 2 * wide, 3):
            raise ArithmeticError(f"upscale: got {made.shape}, want exactly twice {source.shape}")
        back = np.asarray(Image.fromarray(made).resize((wide, high), Image.Resampling.BOX))
        near, sharper = psnr(back, source), laplacian(made) / laplacian(bicubic)
        bench.row(picture=f"upscale creative={creative}", pictures=1, psnr=near, laplacian_of_bicubic=sharper)
        if not creative:
            bench.goal(Goal.at_least("dB of a subtle 2x brought down again", 35.0, near))
            bench.goal(Goal.at_least("energy of its Laplacian, of bicubic's", 1.0, sharper))
