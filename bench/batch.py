"""What sharing a step costs: eight generations of different sizes, prompts, guidance, adapters and strengths.

`python -m salon.bench.batch [--quick] [--threads N]`

One ragged step of all eight is compared with eight steps of one each, and with the same batch without adapters. The
adapters are random ones, which nothing can skip, the shipped one with the checkpoint's styles, and eight pictures that
users brought as style references, as `--sref` has them. Before anything is timed, the latents of the shared step are
checked to be those of the separate steps, bit for bit.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..engine.generation import State
from .adapters import Shipped, random_branch, random_tokens
from .measure import interleave, timed
from .report import Goal
from .runner import Bench, run

TOKENS = 4  # rows of an adapter
MOST_STEPS = 200
PROMPTS = (
    "a red apple, 3d render, on a teal background", "a blue whale, doodle", "a green cactus", "a rocket, retro poster",
    "a cat, bold ink", "a guitar, storybook", "a house, on a yellow background", "an umbrella, sepia tones",
)  # fmt: skip
SIZES = ((128, 128), (160, 96), (96, 160), (128, 96), (192, 128), (64, 64), (128, 128), (144, 112))
TINY_SIZES = ((64, 64), (80, 48), (48, 80), (64, 48), (96, 64), (32, 32), (64, 64), (64, 48))
VARIANTS = ("no adapters", "1 adapter each", "4 adapters each", "1 shipped style each", "1 reference each")
NONE, ONE, FOUR, SHIPPED_ONE, REFERENCE = VARIANTS
COLUMNS = [["step", "adapters", "ms", "p10", "p90", "samples", "rows", "against_none"]]


class Group:
    """Eight generations stepped together or one by one; opened anew when their steps are used up."""

    def __init__(
        self,
        engine: Any,
        adapters: Sequence[Sequence[str]],
        together: bool,
        sizes: Sequence[tuple[int, int]] = SIZES,
    ) -> None:
        self.engine, self.adapters, self.together = engine, adapters, together  # names of adapters of each generation
        self.sizes = sizes
        self.generations: list[Any] = []
        self.left = 0

    def specs(self) -> list[Any]:
        from ..engine.spec import AdapterUse, GenerationSpec
        from ..engine.styles import names as styles

        specs = []
        for i, (prompt, (width, height)) in enumerate(zip(PROMPTS, self.sizes, strict=True)):
            uses = tuple(
                AdapterUse(name, 0.2 + 0.1 * i, styles.NONE if styles.is_style(name) else None)
                for name in self.adapters[i]
            )
            guidance = self.engine.model.defaults["guidance_scale"] + 0.25 * i
            specs.append(
                GenerationSpec(
                    prompt=prompt, width=width, height=height, steps=MOST_STEPS, seed=i, guidance_scale=guidance,
                    adapters=uses,
                )
            )  # fmt: skip
        return specs

    def open(self) -> None:
        self.close()
        self.generations = [self.engine.open(spec) for spec in self.specs()]
        self.left = MOST_STEPS

    def close(self) -> None:
        for generation in self.generations:
            self.engine.close(generation)
        self.generations = []

    def step(self) -> None:
        for members in [self.generations] if self.together else [[g] for g in self.generations]:
            self.engine.step(members)
        self.left -= 1

    def latents(self) -> list[np.ndarray[Any, Any]]:
        return [np.asarray(self.engine.ops.numpy(generation.latents)) for generation in self.generations]

    def turn(self, count: int) -> Callable[[], Sequence[float]]:
        """Take one untimed step (it lays out the batch), then `count` timed ones."""

        def measure() -> Sequence[float]:
            if self.left < count + 1:
                self.open()
            self.step()
            return timed(self.step, count)

        return measure


def verify(groups: Sequence[Group], steps: int) -> None:
    """Raise ArithmeticError unless all groups, which have equal specs, hold equal, finite latents after some steps."""
    for group in groups:
        group.open()
        for _ in range(steps):
            group.step()
    first = groups[0].latents()
    for group in groups[1:]:
        for number, (a, b) in enumerate(zip(first, group.latents(), strict=True)):
            if not np.isfinite(a).all() or not np.array_equal(a, b):
                raise ArithmeticError(f"generation {number}: its latents depend on what else is in the step")


def references(engine: Any, **size: int) -> list[str]:
    """Draw a picture for each prompt, and return the names of their styles, as the engine takes users' references.

    `size`: the pictures' width and height in pixels, if they are not to have the model's own.
    """
    names = []
    for number, prompt in enumerate(PROMPTS):
        generation = engine.open(engine.make_spec(prompt, steps=2, seed=number, **size))
        while generation.state is State.RUNNING:
            engine.step([generation])
        pixels = engine.finish(generation)[0]
        engine.close(generation)
        names.append(engine.add_style_picture(hashlib.sha256(pixels.tobytes()).hexdigest(), pixels))
    return names


def body(bench: Bench) -> None:
    from ..engine.engine import Engine

    engine = Engine.load(backend="cpu", threads=bench.threads)
    bench.note(f"Salon runs {engine.ops.name} ({engine.ops.compute}); 8 guided generations, {TOKENS} tokens an adapter")
    model = engine.model.architecture
    engine.add_branch(random_branch(model.adapter_layers, model.adapter_width, model.adapter_width))
    names = [[f"{i}.{k}" for k in range(4)] for i in range(len(PROMPTS))]
    flat = [name for each in names for name in each]
    for name, tokens in zip(flat, random_tokens(engine, [TOKENS] * len(flat)), strict=True):
        engine.register_adapter(name, tokens)
    styles = Shipped.of(engine).register(engine, len(PROMPTS))
    sizes = bench.pick(TINY_SIZES, SIZES, SIZES)
    brought = references(engine, **({"width": 64, "height": 64} if bench.tiny else {}))
    chosen: dict[str, Sequence[Sequence[str]]] = {
        NONE: [[] for _ in PROMPTS], ONE: [each[:1] for each in names], FOUR: names,
        SHIPPED_ONE: [[style] for style in styles], REFERENCE: [[style] for style in brought],
    }  # fmt: skip
    groups: dict[tuple[str, str], Group] = {}
    for variant, each in chosen.items():
        pair = [Group(engine, each, together, sizes) for together in (True, False)]
        verify(pair, bench.pick(1, 3, 3))
        groups[("one step of 8", variant)], groups[("8 steps of one", variant)] = pair
    bench.note(f"latents of the shared step equal those of separate steps, bit for bit, with {', '.join(VARIANTS)}")

    rounds, count = bench.pick((1, 1), (4, 5), (20, 10))
    with bench.progress("batch", rounds) as advance:
        results = interleave(
            {" / ".join(key): group.turn(count) for key, group in groups.items()},
            rounds=rounds,
            deadline=bench.deadline,
            on_round=lambda: advance(""),
        )
    medians: dict[tuple[str, str], float | None] = {}
    for (step, adapters), group in groups.items():
        samples = results[f"{step} / {adapters}"]
        medians[step, adapters] = samples.median
        spread = samples.spread or (None, None)
        none = medians[step, NONE]
        bench.row(
            step=step,
            adapters=adapters,
            ms=samples.median,
            p10=spread[0],
            p90=spread[1],
            n=len(samples),
            samples=sum(g.num_samples for g in group.generations),
            rows=engine.step_rows(group.generations),
            against_none=samples.median / none if samples.median and none else None,
        )
    bench.columns = COLUMNS
    goals(bench, medians)
    for group in groups.values():
        group.close()


def goals(bench: Bench, medians: dict[tuple[str, str], float | None]) -> None:
    none, one, four, ours, brought = (medians["one step of 8", name] for name in VARIANTS)
    alone = medians["8 steps of one", ONE]
    more = (one / none - 1) * 100 if one and none else None
    bench.goal(Goal.at_most("8 different adapters, sizes, strengths: more than with none", 5.0, more, " %"))
    more = (ours / none - 1) * 100 if ours and none else None
    bench.goal(Goal.at_most("8 shipped styles, sizes, strengths: more than with none", 5.0, more, " %"))
    more = (brought / none - 1) * 100 if brought and none else None
    bench.goal(Goal.at_most("8 style references of 8 users: more than with none", 5.0, more, " %"))
    each = (four / none - 1) * 100 / 4 if four and none else None
    bench.goal(Goal.at_most("each adapter of a generation", 2.0, each, " % of a step", "slope of 4 adapters each"))
    bench.goal(Goal.at_least("one shared step against 8 separate", 1.0, alone / one if alone and one else None, "x"))


main = partial(run, "batch", (__doc__ or "").splitlines()[0], body)


if __name__ == "__main__":
    sys.exit(main())
