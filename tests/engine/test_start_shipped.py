"""What strength and masks do on the shipped model: measured by pixels, by latents and by its own style encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from salon.engine import pictures
from salon.engine.engine import Engine
from salon.engine.generation import State
from salon.engine.start import PictureUse, Start, forms_of

SIDE = 128
THINGS = (("a cat, flat cartoon", "a dog, doodle"), ("a house, woodcut", "a castle, watercolour"))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(dtype="float32", threads=2)


def drawn(engine: Engine, prompt: str, start: Start | None = None, source: Any = None, mask: Any = None) -> Any:
    """A picture of 5 steps, from what is given for its start."""
    spec = engine.make_spec(prompt, width=SIDE, height=SIDE, steps=5, seed=3, start=start)
    for form in forms_of(spec):
        engine.add_picture(form, mask if form.use is PictureUse.MASK else source)
    generation = engine.open(spec)
    while generation.state is State.RUNNING:
        engine.step([generation])
    made = engine.finish(generation)[0]
    engine.close(generation)
    return made


def features(engine: Engine, picture: Any) -> dict[str, Any]:
    """A picture as each measure sees it."""
    tokens = pictures.encode(engine.ops, engine.model.denoiser.codec, picture)
    side = SIDE // engine.model.architecture.granularity
    assert engine.model.styles is not None
    vector = engine.model.styles.encoder.vector(engine.ops, engine.model.denoiser.codec.latents(tokens, (side, side)))
    return {"pixels": picture.astype(np.float64), "latents": tokens, "style": np.asarray(vector)}


def test_the_less_strength_the_nearer_to_the_picture(engine: Engine) -> None:
    """Of each thing, by every measure."""
    for index, (before, after) in enumerate(THINGS):
        source = drawn(engine, before)
        near = features(engine, source)
        rows: dict[str, list[float]] = {name: [] for name in near}
        for strength in (0.3, 0.6, 1.0):
            made = features(engine, drawn(engine, after, Start(f"{index:064x}", strength), source))
            for name, far in rows.items():
                far.append(float(np.sqrt(np.mean((made[name] - near[name]) ** 2))))
        for name, far in rows.items():
            assert sorted(far) == far, (before, name, rows)
            assert far[2] > 1.2 * far[1] > 1.2 * far[0], (before, name, rows)


@pytest.mark.parametrize("strength", [0.8, 1.0])
def test_a_region_changes_and_nothing_else(engine: Engine, strength: float) -> None:
    source = drawn(engine, "a cat, flat cartoon")
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[: SIDE // 2] = 255
    start = Start("a" * 64, strength, "b" * 64, 8)
    made = drawn(engine, "a pumpkin", start, source, mask)
    np.testing.assert_array_equal(made[SIDE // 2 + 8 :], source[SIDE // 2 + 8 :])
    assert np.abs(made[: SIDE // 2].astype(int) - source[: SIDE // 2]).mean() > 5
