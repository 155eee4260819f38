"""Stage `transformer`: a small FluxTransformer2DModel, trained by flow matching on cached latents and texts.

    python -m salon.models.mini.recipe.transformer --work DIR [--warm FOLDER] [--samples N]

Resumes where it was stopped. `curve.json` has the loss on fixed validation noise, for seen and held-out pairs, against
samples seen; `model/` the averaged weights so far, `snapshots/` some of them from on the way.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import save
from torch import Tensor

from .autoencoder import save_model
from .batches import DROPPED, Batches, lengthened
from .checked import compiled
from .config import Run, TransformerConfig, parser, run_of, with_changes
from .course import Course, Losses
from .half import LossScale, halve
from .muon import Mixed
from .network import Velocity, build
from .parallel import average_gradients, rank, run_in, world
from .precision import autocast
from .progress import Progress
from .store import STAMP, Done, Stage, need_space, open_stage, read_json, weights_digest
from .torch_tools import Average, machine_of, schedule, set_up
from .widen import widened_rows


def stage(run: Run) -> Stage:
    config = asdict(run.recipe.transformer)
    for name in ("warm", "follow"):
        if config[name]:
            config[name] = weights_digest(config[name], name, "a FluxTransformer2DModel")
    config |= {"compile": False, "snapshots": 0, "checkpoint_every": 0}  # no part of what it computes
    inputs = {name: open_stage(run.work, name).key for name in ("latents", "text", "plan")}
    return Stage(run.work, "transformer", config, inputs)


def snapshots(run: Run) -> list[Path]:
    """Return the averaged weights that the training has set aside so far, named by the samples seen, in order."""
    return sorted((run.work / "transformer" / "snapshots").glob("*.safetensors"))


def times(number: int) -> Tensor:
    """Draw flow times in 0..1, denser where the composition is decided (logit-normal)."""
    return torch.sigmoid(torch.randn(number) + 0.3)


def noisy(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Compute x_t = (1 - t) x0 + t noise of packed latents [B, L, 4C], t [B]."""
    at = t[:, None, None]
    return (1 - at) * x0 + at * noise


def flow_loss(net: Any, x0: Tensor, noise: Tensor, t: Tensor, *inputs: Any) -> Tensor:
    """Return the mean squared error of the velocity (noise - x0) at x_t = (1 - t) x0 + t noise, per sample [B]."""
    v = net(noisy(x0, noise, t), inputs[0], inputs[1], t, *inputs[2:])
    return ((v.float() - (noise - x0)) ** 2).mean((1, 2))


@torch.no_grad()
def validate(net: Velocity, batches: Batches, device: torch.device, number: int = 256) -> dict[str, float]:
    """Measure the loss with full captions at fixed noise and times, on seen and on held-out pairs."""
    bucket, out = batches.buckets[0], {}
    keep = {k: np.ones(number, bool) for k in ("subject", *DROPPED)}
    for name, rows in (("seen", bucket.other if len(bucket.other) else bucket.plain), ("held", bucket.held)):
        if not len(rows):
            continue
        rng, g = np.random.default_rng(7), torch.Generator().manual_seed(7)
        mine = rows[rng.integers(len(rows), size=number)]
        form = batches.forms[batches.first[batches.labels["concept"][bucket.entry[mine]]]]
        tokens, pooled = batches.texts(bucket.entry[mine], keep, form)
        x0 = bucket.x[torch.from_numpy(mine).to(device)].float()
        noise, t = torch.randn(x0.shape, generator=g).to(device), torch.linspace(0.05, 0.95, number).to(device)
        losses = []
        for at in range(0, number, 64):
            part = slice(at, at + 64)
            rotary = net.rotary(bucket.height // 8, bucket.width // 8)
            with autocast(device), torch.compiler.set_stance("force_eager"):
                losses.append(flow_loss(net, x0[part], noise[part], t[part], tokens[part], pooled[part], rotary))
        out[name] = float(torch.cat(losses).mean())
    return out


def put(f: BinaryIO, tensors: dict[str, Tensor]) -> None:
    f.write(save(tensors))


def before(warm: str) -> dict[str, Any] | None:
    """Return how the weights were trained that a training starts from, if they lie in a finished stage's folder."""
    stamp = Path(warm).parent / STAMP
    if not warm or not stamp.is_file():
        return None
    figures = read_json(stamp)["figures"]
    curve = Path(warm).parent / "curve.json"
    return figures | {"curve": read_json(curve) if curve.is_file() else []}


def weights_in(folder: str, model: FluxTransformer2DModel) -> dict[str, Tensor]:
    """Return the weights in a diffusers folder, made as wide as `model` where they know fewer latent channels."""
    old = FluxTransformer2DModel.from_pretrained(folder).float().state_dict()
    if old["x_embedder.weight"].shape[1] < model.x_embedder.weight.shape[1]:
        old |= widened_rows(old, model)
    return old


@torch.no_grad()
def blend(model: FluxTransformer2DModel, folder: str, share: float) -> None:
    """Mix a `share` of a diffusers folder's weights into the model's: what a short training has taught stays, most
    of what it has made worse goes. Source: Wortsman et al., Robust fine-tuning of zero-shot models (2109.01903)."""
    old = weights_in(folder, model)
    for name, value in model.state_dict().items():
        value.lerp_(old[name].to(value.device), share)


def load_warm(model: FluxTransformer2DModel, folder: str) -> list[str]:
    """Copy every weight of the same name and shape from a diffusers folder; returns the names left as they were."""
    old, new = weights_in(folder, model), model.state_dict()
    kept = [k for k in new if k not in old or old[k].shape != new[k].shape]
    model.load_state_dict({k: new[k] if k in kept else old[k] for k in new})
    return kept


def run_stage(run: Run, stop_at: int = 0) -> Done | None:
    """Train to the budget, or to `stop_at` samples for a piece of it; then, and in other processes, it returns None."""
    config, s = run.recipe.transformer, stage(run)
    if s.is_done():
        return open_stage(run.work, s.name)
    device = set_up(run, config.seed)  # every process builds the same weights
    rng = np.random.default_rng([config.seed, rank()])
    batches = Batches(run, device, rng)
    channels = batches.buckets[0].x.shape[-1] // 4
    model = build(config, channels).to(device)
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    need_space(
        s.folder, size * (5 + 1 + config.snapshots // 2)
    )  # state (written anew beside the old), model, snapshots
    net, scale = Velocity(model), LossScale(halve(model, device))
    torch.manual_seed(config.seed + 1000 * rank())
    weights = list(model.parameters())
    average = Average(weights, config.average)
    optimiser = Mixed(model, config.rate, config.muon_rate)
    course = Course(
        s.path("resume/state.pt"), [lasting_part(config), s.inputs], rng, average, model=model, optimiser=optimiser,
        scale=scale,
    )  # fmt: skip
    if not course.resume():
        for left in () if rank() else snapshots(run):  # of a run that was begun anew
            left.unlink()
        if config.warm:
            print("not warm:", load_warm(model, config.warm), flush=True)
            average = course.average = Average(weights, config.average)

    teacher = None
    if config.follow:
        teacher = Velocity(FluxTransformer2DModel.from_pretrained(config.follow).float().to(device))
        teacher.requires_grad_(False)
    square = batches.buckets[0].x.shape[1:]

    def train_step(
        x0: Tensor, noise: Tensor, t: Tensor, tokens: Tensor, pooled: Tensor, bias: Tensor, rotary: Any
    ) -> Tensor:
        with autocast(device):
            if teacher is None or x0.shape[1:] != square:
                return flow_loss(net, x0, noise, t, tokens, pooled, rotary, None, None, bias).mean()
            x = noisy(x0, noise, t)
            with torch.no_grad():
                told = teacher(x, tokens, pooled, t, rotary, None, None, bias).float()
            own = net(x, tokens, pooled, t, rotary, None, None, bias).float()
            return config.follow_weight * ((own - told) ** 2).mean()

    fast = compiled(train_step, net, weights, square) if config.compile else train_step
    bar = Progress("transformer", config.samples, skip=course.done)
    bar.done = course.done
    losses = Losses()

    def keep(last: bool = False) -> None:
        losses.fetch()
        with average.applied():
            if last and (other := config.follow or config.warm) and config.warm_share:
                blend(model, other, config.warm_share)
            figures = validate(net, batches, device)
            save_model(model, s.path("model"))
        loss = losses.mean() or [course.curve[-1]["loss"]]  # none yet: resumed when all was done
        course.curve.append({"samples": course.done, "loss": loss[0], **figures, "time": time.time()})
        s.write_json("curve.json", course.curve)
        course.keep()
        print(course.curve[-1], flush=True)

    def set_aside(before: float, now: float) -> None:
        """Set the averaged weights aside in half precision, when another part of the training is done."""
        if int(before * config.snapshots) < int(now * config.snapshots):
            names = [n for n, _ in model.named_parameters()]
            halves = {n: m.to(torch.bfloat16).contiguous().cpu() for n, m in zip(names, average.mean, strict=True)}
            s.write_with(f"snapshots/{course.done:09d}.safetensors", lambda f: put(f, halves))

    while (share := course.share(config.samples, run.seconds)) < 1 and not 0 < stop_at <= course.done:
        bucket = batches.pick(share, course.step)
        factor = schedule(share, course.step, warmup=config.warmup, decay_from=config.decay_from)
        number = batches.number(bucket)
        rows = batches.rows(bucket, number)
        entry = bucket.entry[rows]
        tokens, pooled, bias = batches.folded(entry, batches.keeps(number), batches.random_forms(entry))
        x0 = bucket.x[torch.from_numpy(rows).to(device)].float()
        h, w = bucket.height // 8, bucket.width // 8
        if batches.longer(bucket, course.step):
            x0, h, w = lengthened(x0, h, w)
        noise, t = torch.randn(x0.shape, device=device), times(number).to(device)
        loss = fast(x0, noise, t, tokens, pooled, bias, net.rotary(h, w))
        (loss * scale.factor).backward()
        average_gradients(weights)
        losses.add(loss)
        if scale.apply(weights, 1.0):
            optimiser.step(factor)
            average.update()
        else:
            optimiser.clear()
        course.advance(number * world())
        if rank():
            continue
        set_aside(share, course.share(config.samples, run.seconds))
        bar.step(number * world(), "loss " + " ".join(f"{v:.4f}" for v in losses.mean(100)))
        if course.step % config.checkpoint_every == 0:
            keep()
    if rank():
        return None
    keep(last=share >= 1)
    if share < 1:
        return None
    if run.seconds:  # what the time was enough for
        s = replace(s, config=s.config | {"samples": course.done})
    s.finish(samples=course.done, machine=machine_of(device), validation=course.curve[-1], shift=batches.shift,
             scale=batches.scale, before=before(config.warm))  # fmt: skip
    return open_stage(run.work, s.name)


def lasting_part(config: TransformerConfig) -> dict[str, Any]:
    """Return the configuration that a resumed run must share; its budget, rate and manner of running may change."""
    out = asdict(config)
    free = (
        "samples rate muon_rate warmup decay_from compile checkpoint_every snapshots warm average plain_share "
        "aspect_from aspect_share longer_share large_from large_share warm_share follow follow_weight"
    )
    for key in free.split():
        out.pop(key)
    return out | {"muon": bool(config.muon_rate)}  # the state's layout depends on it


SHARES = ("aspect_from", "aspect_share", "longer_share", "large_from", "large_share", "warm_share")
GIVEN = ("warm", "follow", "samples", "rate", "batch", "checkpoint_every", "snapshots", "average", "warmup")

if __name__ == "__main__":
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--warm", default="", help="diffusers folder of a transformer to start from")
    options.add_argument("--follow", default="", help="diffusers folder of a transformer whose square pictures to keep")
    options.add_argument("--samples", type=int, help="training samples in all (the budget)")
    options.add_argument("--stop-at", type=int, default=0, help="stop after so many samples, to go on later")
    options.add_argument("--rate", type=float)
    options.add_argument("--muon-rate", type=float, help="rate of the blocks' matrices, 0 for AdamW alone")
    options.add_argument("--batch", type=int)
    options.add_argument("--processes", type=int, default=1, help="training processes, --threads each")
    options.add_argument("--checkpoint-every", type=int, help="steps between two saved states")
    options.add_argument("--snapshots", type=int, help="weights set aside on the way")
    options.add_argument("--average", type=float, help="decay of the averaged weights")
    options.add_argument("--warmup", type=int, help="steps until the full rate")
    for name in SHARES:
        options.add_argument(f"--{name.replace('_', '-')}", type=float, help="see TransformerConfig")
    options.add_argument("--no-compile", action="store_true")
    args = options.parse_args()
    run = run_of(args)
    given: dict[str, object] = {k: v for k in GIVEN if (v := getattr(args, k))}
    if args.muon_rate is not None:
        given["muon_rate"] = args.muon_rate
    given |= {k: v for k in SHARES if (v := getattr(args, k)) is not None}
    if args.no_compile:
        given["compile"] = False
    run_in(args.processes, run_stage, replace(run, recipe=with_changes(run.recipe, transformer=given)), args.stop_at)
