"""Stage `latents`: every picture of the plan through the encoder, once.

    python -m salon.models.mini.recipe.latents --work DIR

Writes `z_HxW.npy` float16 [N, C, H/8, W/8] and `entries_HxW.npy` (rows of the plan) for every picture size, and
`latents.json` with the scalar shift and scale that bring the latents to zero mean and unit deviation. Resumable in
parts of 1,024 pictures.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import time
from pathlib import Path

import numpy as np
import torch

from .autoencoder import load_model
from .config import Run, parser, run_of
from .errors import CacheError
from .pictures import composed, open_pictures
from .plan import stage as plan_stage
from .precision import autocast
from .progress import Progress
from .store import Done, Stage, atomic, open_stage
from .torch_tools import from_bytes, set_up

PART = 1024  # pictures between two saved states


def stage(run: Run) -> Stage:
    return Stage(
        run.work, "latents", {}, {"plan": plan_stage(run).key, "autoencoder": open_stage(run.work, "autoencoder").key}
    )


def run_stage(run: Run) -> Done:
    s = stage(run)
    if s.is_done():
        return open_stage(run.work, s.name)
    device = set_up(run, 0)
    model, pictures = load_model(run, device), open_pictures(run)
    entries, shapes = pictures.entries, [tuple(b) for b in pictures.plan["buckets"]]
    bar, start = Progress("latents", len(entries)), time.monotonic()
    total, square, count = 0.0, 0.0, 0
    channels = int(model.config.latent_channels)
    todo: list[tuple[Path, np.ndarray]] = []  # every part's file and its rows
    for number, (height, width) in enumerate(shapes):
        rows = np.flatnonzero(entries[:, 4] == number)
        for at in range(0, len(rows), PART):
            todo.append((s.path(f"resume/{s.key}-{height}x{width}-{at}.npy"), rows[at : at + PART]))
    missing = [(path, mine) for path, mine in todo if not path.is_file()]
    bar.skip = bar.done = len(entries) - sum(len(mine) for _, mine in missing)
    source = composed(run, pictures, [mine for _, mine in missing])
    for path, mine in missing:
        out: list[np.ndarray] = []
        while sum(map(len, out)) < len(mine):
            few = next(source)
            for x in from_bytes(few, device).split(max(1, 2**19 // (few.shape[1] * few.shape[2]))):
                with torch.no_grad(), autocast(device):
                    mean = model.encoder(x).float().chunk(2, 1)[0]
                out.append(mean.half().cpu().numpy())
            bar.step(len(few))
        with atomic(path) as f:
            np.save(f, np.concatenate(out))
    for number, (height, width) in enumerate(shapes):
        rows = np.flatnonzero(entries[:, 4] == number)
        parts = [np.zeros((0, channels, height // 8, width // 8), np.float16)]
        for path in [path for path, mine in todo if entries[mine[0], 4] == number]:
            try:
                parts.append(np.load(path))
            except (ValueError, EOFError) as e:
                raise CacheError(f"{path} is damaged ({e}): delete it and run latents again") from e
        z = np.concatenate(parts)
        s.write_array(f"z_{height}x{width}.npy", z)
        s.write_array(f"entries_{height}x{width}.npy", rows)
        total, count = total + float(z.sum(dtype=np.float64)), count + z.size
        square += float((z.astype(np.float64) ** 2).sum())
    shift = float(total / count)
    scale = float(1 / np.sqrt(square / count - shift**2))
    s.write_json("latents.json", {"shift": shift, "scale": scale, "buckets": shapes})
    s.finish(pictures=len(entries), shift=shift, scale=scale, seconds=time.monotonic() - start)
    for path in s.path("resume").glob("*.npy"):
        path.unlink()
    return open_stage(run.work, s.name)


if __name__ == "__main__":
    run_stage(run_of(parser(__doc__.split("\n")[0]).parse_args()))
