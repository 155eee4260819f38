"""The recipe's numbers. One frozen dataclass a stage; `full()` trains the shipped model, `smoke()` a toy in minutes."""

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class DataConfig:
    seed: int = 20
    canvas: int = 256  # pixels of a raster's side
    glyph: int = 224  # pixels of the drawing inside it
    size: int = 128  # side of a training picture, pixels
    min_sets: int = 3  # a concept is kept when at least this many drawing sets have it
    max_concepts: int = 0  # 0 = all
    looks: int = 15  # square pictures of one drawing beside its plain one
    aspect_looks: int = 3  # further ones in random other aspects
    large_looks: int = 3  # further ones of twice the side
    held_pairs: float = 0.05  # share of (concept, set) pairs that no training stage sees
    extra_sets: bool = True  # sets that train the autoencoder only
    max_extra: int = 700  # drawings taken from each of those


@dataclass(frozen=True)
class AutoencoderConfig:
    seed: int = 1
    channels: tuple[int, ...] = (32, 64, 128, 128)
    latents: int = 16
    groups: int = 4
    crop: int = 64
    batch: int = 16
    crops: int = 400_000  # training crops seen, the budget
    rate: float = 6e-4
    warmup: int = 60  # steps
    decay_from: float = 0.4  # share of the budget after which the rate falls to a hundredth
    kl: float = 2e-4
    colour: float = 2.0  # weight of the block colour loss
    whole: float = 0.15  # share of the budget, at its end, spent on whole pictures
    warm: str = ""  # diffusers folder to start from; it may have fewer latent channels
    follow: str = ""  # diffusers folder of an autoencoder whose latents the first channels are to keep
    follow_weight: float = 1.0
    gate_psnr: float = 28.0
    gate_r2: float = 0.98


@dataclass(frozen=True)
class TransformerConfig:
    seed: int = 2
    heads: int = 6
    head_width: int = 64
    double: int = 3  # with three single ones as fast as four and two, and 6 MB smaller: all weights are to fit 60 MB
    single: int = 3
    batch: int = 96
    samples: int = 1_000_000  # the budget
    rate: float = 1e-3  # of AdamW: modulations, embeddings, vectors
    muon_rate: float = 2e-3  # of Muon: the blocks' matrices; 0 = AdamW for those, too
    warmup: int = 100
    decay_from: float = 0.5
    average: float = 0.998
    plain_share: float = 0.15  # of the square pictures: plain ones, drawn more often than their number says
    aspect_from: float = 0.3  # share of the budget after which the other aspects join,
    aspect_share: float = 0.15  # in so many of the steps
    longer_share: float = 0.3  # of those steps: the picture a row of tokens longer than it was made, as for 2:3 and 2:1
    large_from: float = 0.5  # likewise pictures of twice the side (in batches of a quarter)
    large_share: float = 0.4
    compile: bool = True
    warm: str = ""
    warm_share: float = 0.0  # of the weights that it follows, or else started from, in the mean that it ends with
    follow: str = ""  # diffusers folder of a transformer whose answers square pictures are to keep
    follow_weight: float = 4.0  # of the distance to those, which has no noise of its own and is a tenth of the loss
    checkpoint_every: int = 200  # steps
    snapshots: int = 6  # averaged weights set aside on the way, for the curve of quality against samples


@dataclass(frozen=True)
class StyleEncoderConfig:
    seed: int = 6
    batch: int = 128
    samples: int = 500_000
    rate: float = 2e-3
    decay_from: float = 0.3
    average: float = 0.99
    checkpoint_every: int = 500  # steps


@dataclass(frozen=True)
class AdapterConfig:
    seed: int = 3
    width: int = 256  # of the style vector
    tokens: int = 4
    batch: int = 32
    samples: int = 250_000
    rate: float = 2e-4
    warmup: int = 40
    decay_from: float = 0.5
    average: float = 0.995
    null_share: float = 0.15
    strength: float = 1.1  # factor of the values when all is learned: the least squares answer is a mild one
    compile: bool = True
    warm: str = ""
    checkpoint_every: int = 300


@dataclass(frozen=True)
class JudgeConfig:
    seed: int = 4
    width: int = 32
    deep: int = 32  # width of the second texture tower, nine tenths of the work; 0: none, which two cores can train
    batch: int = 64
    samples: int = 400_000
    rate: float = 2e-3
    compile: bool = True
    checkpoint_every: int = 200  # steps
    held_pairs: float = 0.06  # further pairs that the judge never sees, to know its own accuracy


@dataclass(frozen=True)
class EvaluateConfig:
    seed: int = 5
    pictures: int = 1024
    held: int = 384  # pictures of every further row
    probe: int = 96  # pictures of each row of a probe
    steps: int = 20
    guidances: tuple[float, ...] = (4.0, 2.0, 3.0, 5.0, 6.0)  # the best one is taken
    few_steps: tuple[int, ...] = (4, 6, 8)  # does a draft hold its quality?
    few_heun: tuple[int, ...] = (3,)
    shifts: tuple[float, ...] = (1.0, 2.0)
    batch: int = 128  # pictures drawn at a time; their noise depends on it
    compile: bool = True


@dataclass(frozen=True)
class Recipe:
    name: str = "full"
    data: DataConfig = field(default_factory=DataConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    style_encoder: StyleEncoderConfig = field(default_factory=StyleEncoderConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


def full() -> Recipe:
    return Recipe()


def smoke() -> Recipe:
    """Return every stage at toy size: it shows that the pipeline runs, not that it learns."""
    return Recipe(
        name="smoke",
        data=DataConfig(
            canvas=64,
            glyph=56,
            size=32,
            max_concepts=6,
            looks=2,
            aspect_looks=1,
            large_looks=1,
            held_pairs=0.1,
            max_extra=8,
        ),
        autoencoder=AutoencoderConfig(
            channels=(8, 16, 16, 16), crop=32, batch=4, crops=48, warmup=2, gate_psnr=0.0, gate_r2=-1e9
        ),
        transformer=TransformerConfig(
            heads=2,
            head_width=16,
            double=1,
            single=1,
            batch=8,
            samples=64,
            warmup=2,
            compile=False,
            checkpoint_every=4,
            snapshots=2,
        ),
        style_encoder=StyleEncoderConfig(batch=8, samples=64),
        adapter=AdapterConfig(batch=8, samples=32, warmup=2, compile=False, checkpoint_every=4),
        judge=JudgeConfig(width=8, batch=8, samples=64, compile=False),
        evaluate=EvaluateConfig(
            pictures=8,
            held=4,
            probe=4,
            steps=2,
            guidances=(3.0, 2.0),
            few_steps=(1,),
            few_heun=(2,),
            shifts=(1.0,),
            batch=8,
            compile=False,
        ),
    )


PRESETS = {"full": full, "smoke": smoke}


@dataclass(frozen=True)
class Run:
    """Where and how a stage runs; none of it changes what the stage computes, so none of it enters a stage's key."""

    work: Path
    recipe: Recipe
    threads: int = 2
    device: str = "cpu"
    seconds: float = 0.0  # a training that is given some ends when they are over, if not before: for a leased machine


def parser(description: str) -> argparse.ArgumentParser:
    """Make the command line that all stages share."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--work", type=Path, required=True, help="folder for packages, caches and checkpoints")
    p.add_argument("--preset", choices=sorted(PRESETS), default="full")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--device", default="cpu", help="cpu or cuda")
    p.add_argument("--seconds", type=float, default=0.0, help="end a training after so many, if not before")
    return p


def run_of(args: argparse.Namespace) -> Run:
    return Run(args.work, PRESETS[args.preset](), args.threads, args.device, args.seconds)


def with_changes(recipe: Recipe, **parts: dict[str, object]) -> Recipe:
    """Replace some fields of some stages of a recipe: with_changes(r, transformer={"samples": 1000})."""
    new = {k: replace(getattr(recipe, k), **v) for k, v in parts.items() if v}
    return replace(recipe, **new)
