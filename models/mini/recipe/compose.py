"""Stage `compose`: every picture of the plan as pixels, once.

    python -m salon.models.mini.recipe.compose --work DIR --threads N

Only for a GPU, which would else wait for the same pictures in `autoencoder`, `latents` and `judge` (10 GB of disk;
those stages draw their pictures themselves where it has not run). Writes `pictures_HxW.npy` uint8 [N, H, W, 3] for
every picture size, in the plan's order.
"""

import numpy as np

from .config import Run, parser, run_of
from .pictures import composed, file_of, open_pictures
from .plan import stage as plan_stage
from .progress import Progress
from .store import Done, Stage, atomic, need_space, open_stage


def stage(run: Run) -> Stage:
    return Stage(run.work, "compose", {}, {"plan": plan_stage(run).key})


def run_stage(run: Run) -> Done:
    s = stage(run)
    if s.is_done():
        return open_stage(run.work, s.name)
    pictures = open_pictures(run)
    shapes = [tuple(b) for b in pictures.plan["buckets"]]
    groups = [np.flatnonzero(pictures.entries[:, 4] == number) for number in range(len(shapes))]
    need_space(s.folder, sum(len(rows) * h * w * 3 for rows, (h, w) in zip(groups, shapes, strict=True)))
    bar, drawn = Progress("compose", len(pictures.entries)), composed(run, pictures, groups)
    for rows, (height, width) in zip(groups, shapes, strict=True):
        with atomic(s.path(file_of(height, width))) as f:
            whole = (len(rows), height, width, 3)
            np.lib.format.write_array_header_1_0(f, {"descr": "|u1", "fortran_order": False, "shape": whole})
            done = 0
            while done < len(rows):
                part = next(drawn)
                f.write(part.tobytes())
                done += len(part)
                bar.step(len(part))
    s.finish(pictures=len(pictures.entries))
    return open_stage(run.work, s.name)


if __name__ == "__main__":
    run_stage(run_of(parser(__doc__.split("\n")[0]).parse_args()))
