"""Stage `adapter`: the style adapter, on the finished transformer and style encoder (whose weights stay).

    python -m salon.models.mini.recipe.adapter --work DIR

A reference picture goes through a small convolutional encoder that keeps only statistics over the picture (no layout
can leak through) to a 256-d style vector, then to four tokens, then to keys and values of each double block. It is
trained with references of the same style (set, palette, background, finish) and ANOTHER concept, to answer as the
transformer itself does when the words name that style: that target has no noise of its own, so far fewer samples
are needed than with the flow's. With a learned null reference, for the unconditional branch, it is to answer as the
transformer does without an adapter. Writes `adapter.safetensors` in diffusers' Flux IP-Adapter layout and
`style_encoder.safetensors`.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file
from torch import Tensor

from .batches import Batches, Bucket
from .checked import compiled
from .config import Run, parser, run_of, with_changes
from .course import Course, Losses
from .half import LossScale, halve
from .network import Velocity, unpack
from .precision import autocast
from .progress import Progress
from .store import Done, Stage, file_digest, open_stage
from .style import FACTORS, FILES, StyleAdapter, StyleEncoder, build_adapter, build_encoder, part, read_adapter
from .torch_tools import Average, machine_of, schedule, set_up
from .transformer import noisy, put, times

REFITTED = 8192  # pictures that a style encoder is compared with another on


def stage(run: Run) -> Stage:
    config = asdict(run.recipe.adapter)
    config |= {"compile": False, "checkpoint_every": 0}  # how a step is run is no part of what it computes
    if config["warm"]:
        paths = [Path(config["warm"]) / name for name in FILES]
        config["warm"] = [file_digest(path) if path.is_file() else "" for path in paths]
    inputs = {name: open_stage(run.work, name).key for name in ("transformer", "style_encoder")}
    return Stage(run.work, "adapter", config, inputs)


class References:
    """Pairs every drawn picture with another picture of the same style and another concept."""

    def __init__(self, batches: Batches, bucket: Bucket, rng: np.random.Generator) -> None:
        entry = bucket.entry
        self.key = np.stack([batches.labels[f][entry] for f in FACTORS], 1)
        self.concept, self.rng = batches.labels["concept"][entry], rng
        train = bucket.train
        self.group = np.unique(self.key, axis=0, return_inverse=True)[1].reshape(-1)  # of every row: its style's number
        self.members = train[np.argsort(self.group[train], kind="stable")]  # training rows, style by style
        every = np.arange(self.group.max() + 2)
        self.first = np.searchsorted(self.group[self.members], every)

    def pick(self, rows: np.ndarray) -> np.ndarray:
        """Draw a reference row for each row, -1 where the style has no other concept (or none came up)."""
        out = np.full(len(rows), -1)
        low, high = self.first[self.group[rows]], self.first[self.group[rows] + 1]
        for _ in range(4):
            at = low + (self.rng.random(len(rows)) * (high - low)).astype(int)
            other = self.members[np.minimum(at, len(self.members) - 1)]
            out = np.where((out < 0) & (high > low) & (self.concept[other] != self.concept[rows]), other, out)
        return out


@torch.no_grad()
def refit(adapter: StyleAdapter, old: StyleEncoder, new: StyleEncoder, z: Tensor) -> None:
    """Have an adapter read the vectors of another style encoder than it was trained with: by least squares over latents
    `z` [N, C, h, w], the new vectors are mapped to the old ones, and the map goes into the projection. Of latents that
    have been given more channels an encoder sees the first, as many as it knows."""
    before, after = (torch.cat([e(part[:, : e.channels]) for part in z.split(256)]) for e in (old, new))
    ones = torch.ones(len(after), 1, device=after.device)
    found = torch.linalg.lstsq(torch.cat([after, ones], 1).cpu(), before.cpu()).solution.to(after.device)
    to_old, offset = found[:-1].T, found[-1]  # old = to_old @ new + offset
    first = adapter.project.image_embeds
    first.bias += first.weight @ offset
    first.weight.copy_(first.weight @ to_old)
    adapter.null.copy_(torch.linalg.lstsq(to_old.cpu(), (adapter.null - offset).cpu()[:, None]).solution[:, 0])


def run_stage(run: Run) -> Done:
    config, s = run.recipe.adapter, stage(run)
    if s.is_done():
        return open_stage(run.work, s.name)
    device, rng = set_up(run, config.seed), np.random.default_rng(config.seed)
    batches = Batches(run, device, rng)
    bucket = batches.buckets[0]
    h, w = bucket.height // 8, bucket.width // 8
    model = FluxTransformer2DModel.from_pretrained(open_stage(run.work, "transformer").folder / "model").float()
    model = model.to(device).requires_grad_(False)
    taught = load_file(open_stage(run.work, "style_encoder").folder / FILES[0])
    encoder = build_encoder(run, model.config.in_channels // 4)
    encoder.load_state_dict(part(taught, "encoder."))
    encoder.requires_grad_(False).to(device)
    adapter = build_adapter(run, model).to(device)
    net, scale = Velocity(model, list(adapter.blocks)), LossScale(halve(model, device))
    references = References(batches, bucket, rng)
    weights = list(adapter.parameters())
    average = Average(weights, config.average)
    optimiser = torch.optim.AdamW(weights, lr=config.rate, betas=(0.9, 0.98), weight_decay=0.01)
    lasting = asdict(replace(config, samples=0, rate=0, compile=False, checkpoint_every=0, warm="", strength=0))
    course = Course(
        s.path("resume/state.pt"), [lasting, s.inputs], rng, average, adapter=adapter, optimiser=optimiser, scale=scale
    )
    if not course.resume() and config.warm:
        old, taught_before, _ = read_adapter(run, model, Path(config.warm))
        adapter.load_state_dict(taught_before.state_dict())
        some = torch.from_numpy(bucket.train[::4][:REFITTED]).to(device)
        refit(adapter, old.to(device), encoder, unpack(bucket.x[some].float(), h, w))
        average = course.average = Average(weights, config.average)
    rotary = net.rotary(h, w)

    def train_step(
        x: Tensor,
        t: Tensor,
        text: tuple[Tensor, Tensor, Tensor],
        told: tuple[Tensor, Tensor, Tensor],
        reference: Tensor,
        use: Tensor,
    ) -> Tensor:
        with autocast(device):
            with torch.no_grad():
                teacher = net(x, *told[:2], t, rotary, None, None, told[2]).float()
                vector = encoder(unpack(reference, h, w))
            mixed = torch.where(use[:, None] > 0, vector, adapter.null[None].expand_as(vector))
            v = net(x, *text[:2], t, rotary, adapter.project(mixed), torch.ones_like(use), text[2]).float()
        return ((v - teacher) ** 2).mean()

    fast = compiled(train_step, net, weights) if config.compile else train_step
    bar = Progress("adapter", config.samples, skip=course.done)
    bar.done = course.done
    losses = Losses()

    def write_down() -> None:
        losses.fetch()
        course.curve.append({"samples": course.done, "loss": losses.mean()})
        s.write_json("curve.json", course.curve)
        course.keep()

    while (share := course.share(config.samples, run.seconds)) < 1:
        factor = schedule(share, course.step, warmup=config.warmup, decay_from=config.decay_from)
        for group in optimiser.param_groups:
            group["lr"] = config.rate * factor
        rows = batches.rows(bucket, config.batch)
        other = references.pick(rows)
        use = (other >= 0) & (rng.random(config.batch) >= config.null_share)
        keep = batches.keeps(config.batch)
        for f in FACTORS:  # with a reference, the words for its style are mostly left to it
            keep[f] &= ~use | (rng.random(config.batch) < 0.15)
        keep["subject"] |= use & (rng.random(config.batch) < 0.95)
        entry = bucket.entry[rows]
        forms = batches.random_forms(entry)
        text = batches.folded(entry, keep, forms)
        said = {k: keep[k] | use if k in FACTORS else keep[k] for k in keep}
        told = batches.folded(entry, said, forms)
        x0 = bucket.x[torch.from_numpy(rows).to(device)].float()
        reference = bucket.x[torch.from_numpy(np.maximum(other, 0)).to(device)].float()
        noise, t = torch.randn(x0.shape, device=device), times(config.batch).to(device)
        x, shown = noisy(x0, noise, t), torch.from_numpy(use.astype(np.float32)).to(device)
        loss = fast(x, t, text, told, reference, shown)
        (loss * scale.factor).backward()
        if scale.apply(weights, 1.0):
            optimiser.step()
            average.update()
        optimiser.zero_grad()
        losses.add(loss)
        course.advance(config.batch)
        bar.step(config.batch, " ".join(f"to words {v:.4f}" for v in losses.mean(100)))
        if course.step % config.checkpoint_every == 0:
            write_down()
    write_down()
    with average.applied():
        strengthen(adapter, config.strength)
        s.write_with("adapter.safetensors", lambda f: put(f, adapter.layout()))
        more = {"null": adapter.null.detach(), "styles": style_vectors(encoder, batches, device)}
        rest = taught | {k: v.float().contiguous().cpu() for k, v in more.items()}
        s.write_with("style_encoder.safetensors", lambda f: put(f, rest))
    if run.seconds:  # what the time was enough for
        s = replace(s, config=s.config | {"samples": course.done})
    s.finish(samples=course.done, machine=machine_of(device), loss=course.curve[-1]["loss"])
    return open_stage(run.work, s.name)


@torch.no_grad()
def strengthen(adapter: StyleAdapter, factor: float) -> None:
    """Multiply the adapter's values: at weight 1 it then acts as it did at weight `factor`."""
    for block in adapter.blocks:
        for p in (block.to_v_ip.weight, block.to_v_ip.bias):
            p *= factor


@torch.no_grad()
def style_vectors(encoder: StyleEncoder, batches: Batches, device: torch.device) -> Tensor:
    """Return the mean style vector of every drawing set's plain pictures [sets, width], of unit RMS: styles to start
    from."""
    bucket, out = batches.buckets[0], []
    style = batches.labels["style"][bucket.entry]
    for number in range(int(style.max()) + 1):
        rows = [r for r in bucket.plain if style[r] == number][:256] or [int(bucket.plain[0])]
        z = unpack(bucket.x[torch.tensor(rows, device=device)].float(), bucket.height // 8, bucket.width // 8)
        mean = encoder(z).mean(0)
        out.append(mean / (mean.pow(2).mean() + 1e-6).sqrt())
    return torch.stack(out)


if __name__ == "__main__":
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--warm", default="", help="folder of an adapter, of any style encoder, to start from")
    options.add_argument("--samples", type=int, help="training samples in all (the budget)")
    options.add_argument("--batch", type=int)
    options.add_argument("--rate", type=float)
    options.add_argument("--strength", type=float, help="factor of the values when all is learned")
    options.add_argument("--checkpoint-every", type=int, help="steps between two saved states")
    options.add_argument("--no-compile", action="store_true")
    args = options.parse_args()
    run = run_of(args)
    names = ("warm", "samples", "batch", "rate", "strength", "checkpoint_every")
    given: dict[str, object] = {k: v for k in names if (v := getattr(args, k))}
    if args.no_compile:
        given["compile"] = False
    run_stage(replace(run, recipe=with_changes(run.recipe, adapter=given)))
