"""Stage `judge`: a classifier of pictures, trained on real ones only, with a head for every factor.

    python -m salon.models.mini.recipe.judge --work DIR

It scores generated pictures, so it never sees one, nor the held-out (concept, set) pairs. Further pairs are hidden
from it alone: on those its own accuracy on unseen real pictures is measured.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .config import JudgeConfig, Run, parser, run_of, with_changes
from .course import Course
from .judge_network import HEADS, Judge
from .kept import Kept
from .looks import PALETTES
from .pictures import Pictures, open_pictures
from .plan import HELD, JUDGE_HELD, TRAIN
from .plan import stage as plan_stage
from .precision import autocast
from .progress import Progress
from .store import Done, Stage, open_stage
from .torch_tools import from_float, machine_of, schedule, set_up

NATURAL = list(PALETTES).index("natural")
LOSS_WEIGHT = {"concept": 1.0, "style": 1.0, "palette": 0.3, "background": 0.2, "finish": 0.2}


def stage(run: Run) -> Stage:
    # how a step is run is no part of what it computes
    config = asdict(replace(run.recipe.judge, compile=False, checkpoint_every=0))
    return Stage(run.work, "judge", config, {"plan": plan_stage(run).key})


def classes_of(pictures: Pictures) -> dict[str, int]:
    plan = pictures.plan
    return {
        "concept": len(plan["concepts"]),
        "style": len(plan["styles"]),
        "palette": len(plan["palettes"]),
        "background": len(plan["backgrounds"]),
        "finish": len(plan["finishes"]),
    }


def blurred(x: Tensor, share: float) -> Tensor:
    """Blur pictures: a `share` of the mean over 3 x 3 pixels, the rest the picture itself."""
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1) * share + x * (1 - share)


def augment(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Shift by a few pixels, scale a little, add a little blur or noise: the judge must read generated pictures too."""
    b, _, h, w = x.shape
    scale = torch.from_numpy(rng.uniform(0.9, 1.12, b).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.08, 0.08, (b, 2)).astype(np.float32))
    theta = torch.zeros(b, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta.to(x.device), [b, 3, h, w], align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    if rng.random() < 0.3:
        x = blurred(x, 0.7)
    return x + 0.03 * torch.randn_like(x) if rng.random() < 0.5 else x


def cropped(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Crop the same window of seven eighths of every picture, half the time mirrored, now and then blurred.

    Resampling, as `augment` does, would smooth away what the texture tower is to see.
    """
    h, w = x.shape[2] * 7 // 8, x.shape[3] * 7 // 8
    top, left = rng.integers(x.shape[2] - h + 1), rng.integers(x.shape[3] - w + 1)
    x = x[:, :, top : top + h, left : left + w]
    x = x.flip(3) if rng.random() < 0.5 else x
    if rng.random() < 0.2:
        x = blurred(x, 0.5)
    return x + 0.01 * torch.randn_like(x) if rng.random() < 0.5 else x


def middle(x: Tensor) -> Tensor:
    """Crop the middle window of pictures, as large as those that `cropped` takes.

    The statistics over a whole picture, which has more of the background, are not those that the second tower has
    learned (.66 of the sets were named so, .77 by the window).
    """
    h, w = x.shape[2], x.shape[3]
    top, left = (h - h * 7 // 8) // 2, (w - w * 7 // 8) // 2
    return x[:, :, top : top + h * 7 // 8, left : left + w * 7 // 8]


@torch.no_grad()
def score(judge: Judge, pictures: np.ndarray, device: torch.device) -> dict[str, np.ndarray]:
    """Return class scores [N, classes] of pictures [N, H, W, 3] in 0..1, per head."""
    judge.eval()
    out: dict[str, list[np.ndarray]] = {h: [] for h in HEADS}
    for part in np.array_split(pictures, max(1, len(pictures) // 64)):
        x = from_float(part.astype(np.float32)).to(device)
        with autocast(device):
            scores = judge(x, middle(x).contiguous(memory_format=torch.channels_last))
        for head in HEADS:
            out[head].append(scores[head].float().cpu().numpy())
    return {h: np.concatenate(v) for h, v in out.items()}


def accuracy(scores: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> dict[str, float]:
    """Measure the share of right first answers per head, and of concepts among the first five.

    Styles are counted among pictures that keep their set's own colours (not there without any): recoloured by one
    palette, some sets can hardly be told apart.
    """
    right = {h: scores[h].argmax(1) == labels[h] for h in HEADS}
    five = (np.argsort(-scores["concept"], 1)[:, :5] == labels["concept"][:, None]).any(1)
    out = {h: float(r.mean()) for h, r in right.items()} | {"concept5": float(five.mean())}
    natural = labels["palette"] == NATURAL
    return out | ({"style_natural": float(right["style"][natural].mean())} if natural.any() else {})


def measure(judge: Judge, pictures: Pictures, rows: np.ndarray, device: torch.device) -> dict[str, float]:
    labels = pictures.labels()
    return accuracy(score(judge, pictures.batch(rows.tolist()), device), {h: labels[h][rows] for h in HEADS})


def run_stage(run: Run) -> Done:
    config, s = run.recipe.judge, stage(run)
    if s.is_done():
        return open_stage(run.work, s.name)
    device, rng = set_up(run, config.seed), np.random.default_rng(config.seed)
    pictures = open_pictures(run)
    labels, square = pictures.labels(), pictures.entries[:, 4] == 0
    split = pictures.entries[:, 5]
    train = np.flatnonzero((split == TRAIN) & square)
    kept = Kept(run, pictures, train, device)
    judge = Judge(config.width, config.deep, classes_of(pictures)).to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=config.rate, weight_decay=0.05)
    lasting = asdict(replace(config, samples=0, rate=0, compile=False, checkpoint_every=0))
    course = Course(s.path("resume/state.pt"), [lasting, s.inputs], rng, model=judge, optimiser=optimiser)
    course.resume()

    def loss_of(x: Tensor, near: Tensor, targets: dict[str, Tensor]) -> Tensor:
        with autocast(device):
            scores = judge(x, near)
        loss = torch.zeros((), device=device)
        for head, target in targets.items():
            smooth = 0.1 if head == "concept" else 0.02
            loss = loss + LOSS_WEIGHT[head] * F.cross_entropy(scores[head].float(), target, label_smoothing=smooth)
        return loss

    def some(value: int, number: int) -> np.ndarray:
        """Return up to `number` rows of square pictures of a part of the split, always the same ones."""
        return np.random.default_rng(value).permutation(np.flatnonzero((split == value) & square))[:number]

    # a GPU gains less by it than compiling takes
    fast = torch.compile(loss_of, dynamic=False) if config.compile and device.type == "cpu" else loss_of
    bar = Progress("judge", config.samples, skip=course.done)
    bar.done = course.done
    while (share := course.share(config.samples, run.seconds)) < 1:
        judge.train()
        factor = schedule(share, course.step, warmup=60, decay_from=0.1)
        for group in optimiser.param_groups:
            group["lr"] = config.rate * factor
        at = rng.integers(len(train), size=config.batch)
        rows = train[at]
        real = kept.batch(at)
        x, near = (f(real, rng).contiguous(memory_format=torch.channels_last) for f in (augment, cropped))
        loss = fast(x, near, {h: torch.from_numpy(labels[h][rows]).to(device) for h in HEADS})
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        course.advance(config.batch)
        bar.step(config.batch, f"loss {loss.item():.3f}" if course.step % 20 == 0 else "")
        if course.step % 1000 == 0:
            course.curve.append({"samples": course.done, **measure(judge, pictures, some(JUDGE_HELD, 500), device)})
            s.write_json("curve.json", course.curve)
        if course.step % config.checkpoint_every == 0:
            course.keep()
    course.keep()
    figures: dict[str, Any] = {}
    for name, value in (("seen", TRAIN), ("unseen", JUDGE_HELD), ("held", HELD)):
        rows = some(value, 1500)
        if len(rows):
            figures[name] = measure(judge, pictures, rows, device) | {"pictures": len(rows)}
    s.write_with("judge.pt", lambda f: torch.save(judge.state_dict(), f))
    if run.seconds:  # what the time was enough for
        s = replace(s, config=s.config | {"samples": course.done})
    s.finish(samples=course.done, machine=machine_of(device), **figures)
    return open_stage(run.work, s.name)


def load_judge(run: Run, pictures: Pictures, device: torch.device) -> Judge:
    done = open_stage(run.work, "judge")
    config = JudgeConfig(**done.config)
    judge = Judge(config.width, config.deep, classes_of(pictures))
    judge.load_state_dict(torch.load(done.folder / "judge.pt", map_location="cpu", weights_only=True))
    return judge.to(device, memory_format=torch.channels_last).eval()


if __name__ == "__main__":
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--samples", type=int, help="training pictures in all (the budget)")
    options.add_argument("--batch", type=int)
    options.add_argument("--rate", type=float)
    options.add_argument("--deep", type=int, help="width of the second texture tower; 0: none, ten times as fast")
    options.add_argument("--checkpoint-every", type=int, help="steps between two saved states")
    args = options.parse_args()
    run = run_of(args)
    names = ("samples", "batch", "rate", "deep", "checkpoint_every")
    given = {k: v for k in names if (v := getattr(args, k)) is not None}
    print(run_stage(replace(run, recipe=with_changes(run.recipe, judge=given))).figures)
