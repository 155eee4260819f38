"""What LoRAs cost: 8 users with 8 LoRAs in one step, against none, against 8 steps, and against diffusers one by one.

`python -m salon.bench.lora [--quick] [--threads N]`

One double and one single block at the width of FLUX.1, random weights, and a LoRA of rank 16 for every linear layer of
both, from files in diffusers' layout. diffusers draws for one user at a time: `load_lora_weights` of the user's file,
`fuse_lora`, the step, `unfuse_lora`, `unload_lora_weights`; its steps alone are a row of their own. Without the package
peft, which these need, they are imitated by the one product and sum of each layer that they cannot do without, and a
note says so. Before anything is timed, the velocities of the shared step are checked to be those of 8 steps, bit for
bit, and diffusers' to be those of Salon's but for rounding. Then the same on the model that ships, whose width of 384
leaves a LoRA of rank 16 a larger share of the work. Of a file's first use the digest says that it is still the file
that was named, packing is all that makes factors of its arrays, and both go on at once. Reading is that of its bytes;
cold means that no page of the file is in the system's memory.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .batch import PROMPTS
from .flux_width import CHANNELS, FLUX, POOLED_WIDTH, TEXT_WIDTH, TINY, Shape, load, random_model
from .measure import Samples, interleave, timed
from .peers.base import DTYPES, USUAL, image_ids
from .report import Goal
from .runner import Bench, run
from .torch_mode import torch_as_rival

USERS, RANK = 8, 16
NONE, SHARED, APART, RIVAL = (
    "no LoRA, one step",
    "8 LoRAs, one step",
    "8 LoRAs, 8 steps",
    "diffusers, one user at a time",
)
STEPS, SWITCH = "diffusers: its 8 steps alone", "diffusers: load, fuse, unfuse and unload alone"
WIDTH = "FLUX.1's width, 2 blocks"
COLUMNS = [
    ["model", "candidate", "ms", "p10", "p90", "over_none"],
    ["model", "lora_mb", "read_ms", "cold_read_ms", "digest_ms", "pack_ms", "first_ms", "cold_first_ms", "again_ms"],
]
NEAR = 2e-2  # of the largest value: how far diffusers' velocity may be from Salon's


def write_lora(path: Path, layers: dict[str, tuple[int, int]], seed: int) -> str:
    """Write a random LoRA in diffusers' layout. Return its digest."""
    from safetensors.numpy import save_file

    from ..engine.files.lora import file_digest

    random, arrays = np.random.default_rng(seed), {}
    for name, (rows, depth) in layers.items():
        down, up = (random.standard_normal(size, np.float32) for size in ((RANK, depth), (rows, RANK)))
        arrays[f"transformer.{name}.lora_A.weight"] = down / np.float32(np.sqrt(depth))
        arrays[f"transformer.{name}.lora_B.weight"] = up * np.float32(0.05)
    save_file(arrays, path)
    return file_digest(path)


def layers_of(where: Any) -> dict[str, tuple[int, int]]:
    """Return the linear layers of all blocks by diffusers' names, with their sides; not those of modulation."""
    found = {}
    for name, places in where.layers.items():
        if "transformer_blocks." in name and "norm" not in name:
            found[name] = max(place.stop for place in places), where.targets[places[0].target][1]
    return found


def pipeline_of(transformer: Any) -> Any:
    """Return a pipeline of diffusers that has a transformer alone."""
    from diffusers import FluxPipeline

    rest = ("scheduler", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    return FluxPipeline(**dict.fromkeys(rest), transformer=transformer)


class Wide:
    """Blocks of a width, with Salon's and diffusers' model of the same weights, and the users' LoRAs."""

    def __init__(self, bench: Bench, root: Path) -> None:
        from ..engine.lora_rules import LoraRules
        from ..engine.weights.flux_lora import lora_map

        self.shape: Shape = TINY if bench.tiny else FLUX
        self.theirs = random_model(self.shape, root / "transformer")
        self.pipeline = pipeline_of(self.theirs) if find_spec("peft") is not None else None
        self.ops, self.ours = load(root, bench.threads)
        self.users = bench.pick(3, USERS, USERS)
        self.side, self.text_rows = bench.pick((64, 8), (128, 64), (256, 128))
        self.where = lora_map(self.ours.config)
        self.rules = LoraRules("flux", self.where)
        self.paths = [root / f"user{i}.safetensors" for i in range(self.users)]
        self.digests = [write_lora(path, layers_of(self.where), i) for i, path in enumerate(self.paths)]
        self.loras = [self.packed(path) for path in self.paths]

    @staticmethod
    def read(path: Path) -> dict[str, Any]:
        """Return the arrays of a file, as diffusers reads it."""
        from diffusers import FluxPipeline

        return dict(FluxPipeline.lora_state_dict(path))

    def packed(self, path: Path) -> Any:
        """Open and pack a LoRA, as the engine does at its first use."""
        from ..engine.weights.lora import pack_lora

        file, placed = self.rules.open(path)
        return pack_lora(self.ops, file, placed, self.where, 0)

    def known(self) -> Any:
        """Return what keeps LoRAs in an engine."""
        from ..engine.families.flux import Flux
        from ..engine.loras import Loras

        denoiser: Any = Flux.__new__(Flux)
        denoiser.config = self.ours.config
        return Loras(self.ops, denoiser, "flux", 1 << 40)

    def inputs(self, user: int) -> tuple[Any, Any, Any]:
        """Return latents, text and pooled text of a user."""
        random, rows = np.random.default_rng(100 + user), (self.side // 16) ** 2
        shapes = ((rows, CHANNELS), (self.text_rows, TEXT_WIDTH), (POOLED_WIDTH,))
        latents, text, pooled = (random.standard_normal(shape, np.float32) for shape in shapes)
        return latents, text, pooled

    def salon(self, users: Sequence[int], *, loras: bool) -> Callable[[], Any]:
        """Return a step of these users together."""
        from ..engine.denoiser import Sample
        from ..engine.models import flux
        from ..engine.text.pipeline import TextEncoding

        grid, inputs = (self.side // 16, self.side // 16), [self.inputs(user) for user in users]
        samples = [
            Sample(grid, TextEncoding(text, pooled), None, ((self.loras[user], 1.0),) if loras else ())
            for user, (_, text, pooled) in zip(users, inputs, strict=True)
        ]
        layout = flux.layout(self.ops, self.ours, samples)
        noisy = self.ops.array(np.concatenate([latents for latents, _, _ in inputs]), "float32")
        (times,) = self.ops.vectors(np.full(len(users), 500, np.float32))
        return lambda: flux.velocity(self.ops, self.ours, layout, noisy, times)

    def step(self, user: int) -> Any:
        """Take a user's step with diffusers' model as it is. Return the velocity."""
        import torch

        latents, text, pooled = self.inputs(user)
        dtype = getattr(torch, DTYPES[USUAL])
        return self.theirs(
            hidden_states=torch.from_numpy(latents)[None].to(dtype),
            encoder_hidden_states=torch.from_numpy(text)[None].to(dtype),
            pooled_projections=torch.from_numpy(pooled)[None].to(dtype),
            timestep=torch.tensor([0.5]),
            img_ids=torch.from_numpy(image_ids(self.side, self.side)),
            txt_ids=torch.zeros(self.text_rows, 3),
            return_dict=False,
        )[0][0]

    def rival(self, user: int) -> tuple[Any, float]:
        """Load a user's LoRA into diffusers' model, fuse it, take a step, unfuse and unload it.

        Returns:
            The velocity, and the milliseconds of the step alone.
        """
        if self.pipeline is None:
            read = self.read(self.paths[user])
            self._add(read, 1.0)
        else:
            self.pipeline.load_lora_weights(str(self.paths[user]), adapter_name="user")
            self.pipeline.fuse_lora()
        start = time.perf_counter()
        velocity = self.step(user)
        milliseconds = 1e3 * (time.perf_counter() - start)
        if self.pipeline is None:
            self._add(read, -1.0)
        else:
            self.pipeline.unfuse_lora()
            self.pipeline.unload_lora_weights()
        return velocity, milliseconds

    def _add(self, read: dict[str, Any], sign: float) -> None:
        modules = dict(self.theirs.named_modules())
        for key, down in read.items():
            if ".lora_A." in key:
                weight: Any = modules[key.removeprefix("transformer.").removesuffix(".lora_A.weight")].weight
                up = read[key.replace("lora_A", "lora_B")]
                weight.data.addmm_(up.to(weight.dtype), down.to(weight.dtype), alpha=sign)


def wide(bench: Bench) -> None:
    """Measure blocks of FLUX.1's width beside diffusers."""
    with tempfile.TemporaryDirectory(prefix="salon-bench-") as scratch:
        model = Wide(bench, Path(scratch))
        users = range(model.users)
        shared, none = model.salon(users, loras=True), model.salon(users, loras=False)
        alone = [model.salon([user], loras=True) for user in users]
        together = np.asarray(model.ops.numpy(shared()))
        apart = np.concatenate([np.asarray(model.ops.numpy(each())) for each in alone])
        if not np.array_equal(together, apart):
            raise ArithmeticError("the velocities of the shared step are not those of steps of one")
        theirs = model.rival(0)[0].float().numpy()
        error = float(np.abs(together[: len(theirs)] - theirs).max() / np.abs(theirs).max())
        if not error <= NEAR:
            raise ArithmeticError(f"diffusers' velocity: {error:.3g} of the largest from Salon's, allowed {NEAR}")
        bench.use("torch", "diffusers", "peft")
        way = "its own"
        if model.pipeline is None:
            way = "what peft does, W += B A of each layer and -= after the step, for peft is not installed"
        rows = model.users * ((model.side // 16) ** 2 + model.text_rows)
        bench.note(f"{model.ops.name} and diffusers eager {USUAL}; fusing is {way}; {rows:,} rows of all users")
        bench.note(f"diffusers' velocity is {error:.1e} of the largest apart from Salon's")
        stepping = Samples()

        def one_by_one() -> None:
            for each in alone:
                each()

        def theirs_all() -> None:
            stepping.values.append(sum(model.rival(user)[1] for user in users))

        turns: dict[str, Callable[[], Sequence[float]]] = {
            NONE: lambda: timed(none, 1), SHARED: lambda: timed(shared, 1), APART: lambda: timed(one_by_one, 1),
            RIVAL: lambda: timed(theirs_all, 1),
        }  # fmt: skip
        results = _rows(bench, WIDTH, turns, bench.pick(1, 2, 6))
        base, ours, rival = (results[name].median for name in (NONE, SHARED, RIVAL))
        switching = Samples([a - b for a, b in zip(results[RIVAL].values, stepping.values, strict=True)])
        for name, samples in ((STEPS, stepping), (SWITCH, switching)):
            _row(bench, WIDTH, name, samples, base)
        if base and ours:
            more = (ours / base - 1) * 100
            bench.goal(
                Goal.at_most(f"{model.users} LoRAs of rank {RANK} in one step: more than none", 10.0, more, " %")
            )
        if ours and rival:
            bench.goal(Goal.at_least("diffusers (load to unload), against one shared step", 3.0, rival / ours))
        first_use(bench, WIDTH, model.known(), model.digests, model.paths)


def first_use(bench: Bench, model: str, loras: Any, digests: Sequence[str], paths: Sequence[Path]) -> None:
    """Add a row of how long the first use of a file takes, and its parts: medians of all files.

    Args:
        loras: the engine's `Loras`, which knows none of the files.
    """
    from ..engine.files.lora import file_digest
    from ..engine.lora_uses import LoraUse
    from ..engine.weights.lora import pack_lora

    def pack(path: Path) -> None:
        file, placed = rules.open(path)
        pack_lora(loras._ops, file, placed, rules.where, 0)

    def use(digest: str) -> None:
        uses = (LoraUse(digest),)
        loras.pin(uses)
        loras.unpin(uses)

    def median(call: Callable[[Any], Any], of: Sequence[Any], before: Callable[[Path], Any] = lambda path: None) -> Any:
        found = []
        for each, path in zip(of, paths, strict=True):
            before(path)
            found += timed(partial(call, each), 1)
        return Samples(found).median

    # first what is cold: of a file that is mapped and was read, pages stay
    cold_read = median(Path.read_bytes, paths, forget)
    for digest, path in zip(digests, paths, strict=True):
        loras.add(digest, path)
    cold_first, rules = median(use, digests, forget), loras._rules
    for known in loras._known.values():
        known.weights = None
    row = bench.row(
        model=model, lora_mb=paths[0].stat().st_size / 1e6, read_ms=median(Path.read_bytes, paths),
        cold_read_ms=cold_read, digest_ms=median(file_digest, paths), pack_ms=median(pack, paths),
        first_ms=median(use, digests), cold_first_ms=cold_first, again_ms=median(use, digests),
    )  # fmt: skip
    for what, first, read, most in (
        ("packing a LoRA, of reading its file", "pack_ms", "read_ms", 2.0),
        ("first use of a LoRA from a cold disk, of reading it", "cold_first_ms", "cold_read_ms", 1.0),
    ):
        bench.goal(Goal.at_most(f"{model}: {what}", most, row[first] / row[read], "x"))


def forget(path: Path) -> None:
    """Take a file's pages out of the system's memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def shipped(bench: Bench) -> None:
    """Measure the model that ships."""
    from ..engine.engine import Engine
    from ..engine.lora_rules import load_lora_rules

    engine = Engine.load(threads=bench.threads)
    users = bench.pick(3, USERS, USERS)
    with tempfile.TemporaryDirectory(prefix="salon-bench-") as scratch:
        paths = [Path(scratch) / f"user{i}.safetensors" for i in range(users)]
        where = load_lora_rules().where
        digests = [write_lora(path, layers_of(where), i) for i, path in enumerate(paths)]
        first_use(bench, "shipped", engine.loras, digests, paths)

        def opened(loras: bool) -> list[Any]:
            return [
                engine.open(engine.make_spec(prompt, seed=i, steps=200, images=1, loras=[digest] if loras else []))
                for i, (prompt, digest) in enumerate(zip(PROMPTS, digests, strict=False))
            ]

        none, with_loras = opened(False), opened(True)
        turns: dict[str, Callable[[], Sequence[float]]] = {
            NONE: lambda: timed(partial(engine.step, none), 1),
            SHARED: lambda: timed(partial(engine.step, with_loras), 1),
            APART: lambda: timed(lambda: [engine.step([each]) for each in alone], 1),
        }  # fmt: skip
        alone = opened(True)
        _rows(bench, "shipped", turns, bench.pick(1, 5, 40))


def _rows(bench: Bench, model: str, turns: dict[str, Callable[[], Sequence[float]]], rounds: int) -> dict[str, Samples]:
    """Let candidates take turns, and add a row for each."""
    with bench.progress(model, rounds) as advance:
        results = interleave(turns, rounds=rounds, deadline=bench.deadline, on_round=lambda: advance(""))
    for name, samples in results.items():
        _row(bench, model, name, samples, results[NONE].median)
    return dict(results)


def _row(bench: Bench, model: str, name: str, samples: Samples, base: float | None) -> None:
    low, high = samples.spread or (None, None)
    over = samples.median / base if samples.median and base else None
    bench.row(model=model, candidate=name, ms=samples.median, p10=low, p90=high, n=len(samples), over_none=over)


def body(bench: Bench) -> None:
    bench.columns = COLUMNS
    with torch_as_rival(bench.threads):
        wide(bench)
    shipped(bench)


main = partial(run, "lora", (__doc__ or "").splitlines()[0], body)


if __name__ == "__main__":
    sys.exit(main())
