"""Stage `style_encoder`: the style encoder by itself, taught to tell the factors of a style apart.

    python -m salon.models.mini.recipe.style_encoder --work DIR

It classifies drawing set, palette, background and finish of cached pictures from the style vector alone. That takes no
transformer, so a picture costs a fiftieth of what it costs the adapter's training: learned there alone, after 70,000
pictures the encoder named 44 % of the drawing sets and 80 % of the palettes of held-out pairs, here after 400,000 (in
eight minutes of two cores) 67 % and 94 %. The adapter starts from it.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .batches import Batches
from .config import Run, parser, run_of, with_changes
from .course import Course, Losses
from .network import unpack
from .precision import autocast
from .progress import Progress
from .store import Done, Stage, open_stage
from .style import FACTORS, FILES, StyleEncoder, build_encoder
from .torch_tools import Average, machine_of, schedule, set_up
from .transformer import put


def stage(run: Run) -> Stage:
    config = asdict(replace(run.recipe.style_encoder, checkpoint_every=0))
    config["width"] = run.recipe.adapter.width
    inputs = {name: open_stage(run.work, name).key for name in ("latents", "plan")}
    return Stage(run.work, "style_encoder", config, inputs)


def classes_of(batches: Batches) -> dict[str, int]:
    """Count the classes of each factor."""
    return {f: int(batches.labels[f].max()) + 1 for f in FACTORS}


def heads_of(width: int, classes: Mapping[str, int]) -> nn.ModuleDict:
    """Make a linear classifier of style vectors [B, width] for each factor."""
    return nn.ModuleDict({name: nn.Linear(width, n) for name, n in classes.items()})


def losses_of(heads: Mapping[str, nn.Module], vector: Tensor, targets: Tensor) -> Tensor:
    """Cross entropies [factors, B] of style vectors [B, width], targets [B, factors]."""
    each = [F.cross_entropy(heads[f](vector).float(), targets[:, i], reduction="none") for i, f in enumerate(FACTORS)]
    return torch.stack(each)


@torch.no_grad()
def measure(encoder: StyleEncoder, heads: Mapping[str, nn.Module], z: Tensor, targets: Tensor) -> dict[str, float]:
    """Measure the share of right answers for each factor, of latents [N, C, h, w]."""
    vectors = torch.cat([encoder(part) for part in z.split(256)])
    right = {f: heads[f](vectors).argmax(1) == targets[:, i] for i, f in enumerate(FACTORS)}
    return {f: float(r.float().mean()) for f, r in right.items()}


def run_stage(run: Run) -> Done:
    config, s = run.recipe.style_encoder, stage(run)
    if s.is_done():
        return open_stage(run.work, s.name)
    device, rng = set_up(run, config.seed), np.random.default_rng(config.seed)
    batches = Batches(run, device, rng)
    bucket = batches.buckets[0]
    h, w = bucket.height // 8, bucket.width // 8
    labels = torch.from_numpy(np.stack([batches.labels[f][bucket.entry] for f in FACTORS], 1)).to(device)
    encoder = build_encoder(run, bucket.x.shape[-1] // 4).to(device)
    heads = heads_of(run.recipe.adapter.width, classes_of(batches)).to(device)
    weights = [*encoder.parameters(), *heads.parameters()]
    average = Average(weights, config.average)
    optimiser = torch.optim.AdamW(weights, lr=config.rate, weight_decay=0.02)
    lasting = asdict(replace(config, samples=0, rate=0, checkpoint_every=0))
    course = Course(
        s.path("resume/state.pt"), [lasting, s.inputs], rng, average, encoder=encoder, heads=heads, optimiser=optimiser
    )
    course.resume()
    train, losses = bucket.train, Losses()
    bar = Progress("style encoder", config.samples, skip=course.done)
    bar.done = course.done
    while (share := course.share(config.samples, run.seconds)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = config.rate * schedule(share, course.step, warmup=50, decay_from=config.decay_from)
        rows = torch.from_numpy(train[rng.integers(len(train), size=config.batch)]).to(device)
        z = unpack(bucket.x[rows].float(), h, w)
        if rng.random() < 0.5:  # nothing of a style is left or right
            z = z.flip(3)
        with autocast(device):
            vector = encoder(z)
        loss = losses_of(heads, vector, labels[rows]).mean(1)
        loss.sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        average.update()
        losses.add(*loss)
        course.advance(config.batch)
        named = zip(FACTORS, losses.mean(100), strict=False)
        bar.step(config.batch, " ".join(f"{name} {v:.3f}" for name, v in named))
        if course.step % config.checkpoint_every == 0:
            course.keep()
    course.keep()
    with average.applied():
        held = torch.from_numpy(bucket.held).to(device)
        figures = measure(encoder, heads, unpack(bucket.x[held].float(), h, w), labels[held]) if len(held) else {}
        rest = {f"encoder.{k}": v for k, v in encoder.state_dict().items()}
        rest |= {f"heads.{k}": v for k, v in heads.state_dict().items()}
        rest = {k: v.detach().float().contiguous().cpu() for k, v in rest.items()}
        s.write_with(FILES[0], lambda f: put(f, rest))
    if run.seconds:  # what the time was enough for
        s = replace(s, config=s.config | {"samples": course.done})
    s.finish(samples=course.done, machine=machine_of(device), held=figures, classes=classes_of(batches))
    return open_stage(run.work, s.name)


if __name__ == "__main__":
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--samples", type=int, help="training pictures in all (the budget)")
    options.add_argument("--batch", type=int)
    options.add_argument("--rate", type=float)
    args = options.parse_args()
    run = run_of(args)
    given = {k: v for k in ("samples", "batch", "rate") if (v := getattr(args, k))}
    print(run_stage(replace(run, recipe=with_changes(run.recipe, style_encoder=given))).figures)
