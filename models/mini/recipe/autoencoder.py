"""Stage `autoencoder`: AutoencoderKL, eight times down, trained with a loss on all three colour axes.

    python -m salon.models.mini.recipe.autoencoder --work DIR [--warm FOLDER] [--crops N]

It ends with the gate: on drawings held out of this training (weights to start from may have seen them), PSNR and the
R2 of block colours on luma, red-blue and green-magenta. Resumes where it was stopped; `curve.json` has the gate's
figures against crops seen.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from .colour import MATRIX, psnr, r_squared
from .config import AutoencoderConfig, Run, parser, run_of, with_changes
from .course import Course
from .crops import Crops, KeptCrops
from .errors import GateError
from .parallel import average_gradients, rank, run_in, world
from .pictures import Pictures, open_pictures
from .plan import HELD
from .progress import Progress
from .raster import stage as raster_stage
from .sets import BY_NAME
from .store import Done, Stage, open_stage, weights_digest, write_json
from .torch_tools import Average, bf16, from_float, machine_of, schedule, set_up
from .widen import even_out, widen_autoencoder

AXIS_SCALE = (0.55, 0.75, 0.30)  # standard deviation of block colours in the data: a loss blind to it drops green
CHECK_EVERY = 100  # steps between saved states
GATE_EVERY = 300  # steps between looks at the gate


def stage(run: Run) -> Stage:
    config = asdict(run.recipe.autoencoder)
    for name in ("warm", "follow"):
        if config[name]:
            config[name] = weights_digest(config[name], name, "an AutoencoderKL")
    # of the plan it reads the held-out pairs alone: a change of looks or sizes does not ask for a new autoencoder
    config["held"] = [run.recipe.data.seed, run.recipe.data.held_pairs]
    return Stage(run.work, "autoencoder", config, {"raster": raster_stage(run).key})


def build(config: AutoencoderConfig) -> AutoencoderKL:
    """Build an untrained autoencoder, or the one in `config.warm`, with more latent channels if it has fewer."""
    if config.warm:
        old = AutoencoderKL.from_pretrained(config.warm).float()
        return old if old.config.latent_channels == config.latents else widen_autoencoder(old, config.latents)
    levels = len(config.channels)
    model = AutoencoderKL(
        block_out_channels=config.channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=config.latents,
        layers_per_block=1,
        norm_num_groups=config.groups,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        sample_size=128,
    )
    model.encoder.conv_out.bias.data[config.latents :] = -5  # small posterior variance at the start
    return model


def followed(config: AutoencoderConfig, device: torch.device) -> Any:
    """Return the encoder whose means the first latent channels are to keep; None if there is none."""
    if not config.follow:
        return None
    encoder = AutoencoderKL.from_pretrained(config.follow).float().encoder
    return encoder.requires_grad_(False).to(device, memory_format=torch.channels_last)


@torch.no_grad()
def deviations(model: AutoencoderKL, crops: Crops | KeptCrops, device: torch.device) -> torch.Tensor:
    """Measure the deviation of every latent channel's means [C] over some training pictures."""
    with bf16(device):
        parts = [model.encoder(crops.batch(16, crops.size).to(device)).float().chunk(2, 1)[0] for _ in range(16)]
    return torch.cat(parts).std((0, 2, 3)).cpu()


def losses(config: AutoencoderConfig, y: torch.Tensor, x: torch.Tensor, sharp: float) -> torch.Tensor:
    """Compute the reconstruction loss: L1 and squared error of pixels, L1 of gradients, and scaled block colours."""
    d = y - x
    matrix = torch.from_numpy(MATRIX).to(d) / torch.tensor(AXIS_SCALE).to(d)[:, None]
    axes = torch.einsum("ac,bchw->bahw", matrix, d)
    gradient = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
    colour = axes.abs().mean() * 0.3 + F.avg_pool2d(axes, 8).abs().mean() + 0.5 * F.avg_pool2d(axes, 4).abs().mean()
    return d.abs().mean() + 2 * (d**2).mean() + sharp * gradient + config.colour * 0.4 * colour


@torch.no_grad()
def rebuild(model: AutoencoderKL, pictures: np.ndarray, device: torch.device) -> np.ndarray:
    """Encode to the posterior mean and decode: [B, H, W, 3] in 0..1 to the same."""
    out = []
    for part in np.array_split(pictures, max(1, len(pictures) // 16)):
        with bf16(device):
            mean = model.encoder(from_float(part).to(device)).float().chunk(2, 1)[0]
            y = model.decoder(mean).float()
        out.append(((y.clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(out)


def gate_pictures(pictures: Pictures, number: int = 192) -> dict[str, np.ndarray]:
    """Return held-out pictures: in all looks, and plain on white (where no background helps the figure)."""
    e = pictures.entries
    held = np.flatnonzero((e[:, 5] == HELD) & (e[:, 4] == 0))
    plain = held[(e[held, 1] == 0) & (e[held, 2] == 0) & (e[held, 3] == 0)]
    colourful = [int(i) for i in plain if not BY_NAME[pictures.style(int(i))].ink]
    rng = np.random.default_rng(0)
    some = rng.permutation(held)[:number]
    return {"held": pictures.batch(some.tolist()), "plain": pictures.batch((colourful or held.tolist())[:number])}


def gate_figures(model: AutoencoderKL, sets: dict[str, np.ndarray], device: torch.device) -> dict[str, Any]:
    """Measure PSNR and R2 of each set of pictures."""
    out = {}
    for name, x in sets.items():
        y = rebuild(model, x, device)
        out[name] = {"pictures": len(x), "psnr": psnr(x, y), "r2": r_squared(x, y)}
    return out


def passes(config: AutoencoderConfig, figures: dict[str, Any]) -> bool:
    return figures["held"]["psnr"] >= config.gate_psnr and all(
        v >= config.gate_r2 for part in figures.values() for v in part["r2"].values()
    )


def run_stage(run: Run, force: bool = False) -> Done | None:
    """Train to the budget, then measure the gate. Raises GateError below it, unless `force`; the weights stay.

    In a process other than the first (see `parallel`) it returns None.
    """
    config, s = run.recipe.autoencoder, stage(run)
    if s.is_done():
        return open_stage(run.work, s.name)
    device = set_up(run, config.seed + 1000 * rank())
    pictures, rng = open_pictures(run), np.random.default_rng([config.seed, rank()])
    size = run.recipe.data.size
    crops = Crops(pictures, size, rng) if device.type == "cpu" else KeptCrops(run, pictures, size, rng, device)
    model = build(config).to(device, memory_format=torch.channels_last)
    former = followed(config, device)
    weights = list(model.parameters())
    average = Average(weights, 0.998)
    optimiser = torch.optim.AdamW(weights, lr=config.rate, betas=(0.9, 0.98), weight_decay=1e-3, fused=True)
    course = Course(
        s.path("resume/state.pt"), [lasting_part(config), s.inputs], rng, average, model=model, optimiser=optimiser
    )
    course.resume()
    sets = gate_pictures(pictures)
    bar = Progress("autoencoder", config.crops, skip=course.done)
    bar.done = course.done
    while (share := course.share(config.crops, run.seconds)) < 1:
        whole = share >= 1 - config.whole
        crop = size if whole else config.crop
        number = max(1, config.batch * config.crop**2 // crop**2 + whole * 2)
        factor = schedule(share, course.step, warmup=config.warmup, decay_from=config.decay_from)
        for group in optimiser.param_groups:
            group["lr"] = config.rate * factor
        x = crops.batch(number, crop).to(device)
        with bf16(device):
            mean, log_variance = model.encoder(x).float().chunk(2, 1)
            log_variance = log_variance.clamp(-20, 8)
            y = model.decoder(mean + torch.randn_like(mean) * (0.5 * log_variance).exp()).float()
            told = former(x).float().chunk(2, 1)[0] if former is not None else mean[:, :0]
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        loss = losses(config, y, x, 1.0 if config.warm else min(1.0, course.step / 300)) + config.kl * kl
        if former is not None:
            loss = loss + config.follow_weight * F.mse_loss(mean[:, : told.shape[1]], told)
        loss.backward()
        average_gradients(weights)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        average.update()
        seen = number * crop**2 // config.crop**2 * world()
        course.advance(seen)
        if rank():
            continue
        bar.step(seen, f"loss {loss.item():.4f} std {mean.std().item():.2f}" if course.step % 20 == 0 else "")
        if course.step % GATE_EVERY == 0:
            with average.applied():
                figures = gate_figures(model, sets, device)
            course.curve.append({"crops": course.done, **figures})
            s.write_json("curve.json", course.curve)
            print(course.curve[-1], flush=True)
        if course.step % CHECK_EVERY == 0:
            course.keep()
    if rank():
        return None
    with average.applied():
        figures = gate_figures(model, sets, device)
    course.curve.append({"crops": course.done, **figures})
    s.write_json("curve.json", course.curve)
    course.keep()
    with average.applied():
        if former is not None:
            even_out(model, former.conv_out.out_channels // 2, deviations(model, crops, device))
        save_model(model, s.path("model"))
    write_json(s.path("gate.json"), {**figures, "passes": passes(config, figures)})
    if not passes(config, figures) and not force:
        raise GateError(
            f"the autoencoder is below its gate (PSNR {config.gate_psnr}, R2 {config.gate_r2}): {figures}. Give it "
            "more crops (--crops), or --force to go on regardless"
        )
    if run.seconds:  # what the time was enough for
        s = replace(s, config=s.config | {"crops": course.done})
    s.finish(crops=course.done, machine=machine_of(device), gate=figures, passes=passes(config, figures))
    return open_stage(run.work, s.name)


def lasting_part(config: AutoencoderConfig) -> dict[str, Any]:
    """Return the configuration that a resumed run must share; its budget, rates and loss weights may change."""
    return {k: v for k, v in asdict(config).items() if k in ("seed", "channels", "latents", "groups")}


def save_model(model: Any, folder: Path) -> None:
    """Save a diffusers folder, written beside and moved into place."""
    import shutil

    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    model.save_pretrained(new)
    config = json.loads((new / "config.json").read_text())
    config.pop("_name_or_path", None)  # where this machine had the weights that it started from
    (new / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def load_model(run: Run, device: torch.device) -> AutoencoderKL:
    """Load the trained autoencoder for inference. Raises CacheError unless the stage has finished."""
    done = open_stage(run.work, "autoencoder")
    model = AutoencoderKL.from_pretrained(done.folder / "model")
    return model.to(device, memory_format=torch.channels_last).eval()


if __name__ == "__main__":
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--warm", default="", help="diffusers folder of an autoencoder to start from")
    options.add_argument("--follow", default="", help="diffusers folder whose latents the first channels are to keep")
    options.add_argument("--crops", type=int, help="training crops in all (the budget)")
    options.add_argument("--rate", type=float)
    options.add_argument("--batch", type=int, help="crops a step")
    options.add_argument("--decay-from", type=float, help="share of the budget after which the rate falls")
    options.add_argument("--whole", type=float, help="share of the budget, at its end, spent on whole pictures")
    options.add_argument("--processes", type=int, default=1, help="training processes, --threads each")
    options.add_argument("--force", action="store_true", help="go on although the gate is not reached")
    args = options.parse_args()
    run = run_of(args)
    given = {
        k: v for k in ("warm", "follow", "crops", "rate", "batch", "decay_from", "whole") if (v := getattr(args, k))
    }
    run_in(args.processes, run_stage, replace(run, recipe=with_changes(run.recipe, autoencoder=given)), args.force)
