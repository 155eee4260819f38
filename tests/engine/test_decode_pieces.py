"""One picture at a time is the same to the bit as all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import StateError
from salon.engine.spec import GenerationSpec


def done(engine: Engine, **fields: Any) -> Any:
    generation = engine.open(GenerationSpec(prompt="a red apple, on teal", steps=1, **fields))
    engine.step([generation])
    return generation


@pytest.mark.parametrize(("width", "height"), [(4, 4), (4, 20), (16, 16), (20, 8), (36, 28), (64, 48)])
@pytest.mark.parametrize("images", [1, 2, 5])
def test_pieces_are_the_whole(engine: Engine, width: int, height: int, images: int) -> None:
    generation = done(engine, width=width, height=height, images=images, seed=3)
    whole = engine.finish(generation)
    for image in reversed(range(images)):
        piece = engine.decode(generation, image)
        assert piece.shape == (height, width, 3)
        assert piece.dtype == np.uint8
        np.testing.assert_array_equal(piece, whole[image])
    engine.close(generation)


def test_pieces_after_parking(engine: Engine) -> None:
    generation = done(engine, width=16, height=16, images=2)
    whole = engine.finish(generation)
    generation = engine.resume(engine.park(generation))
    np.testing.assert_array_equal(engine.decode(generation, 1), whole[1])
    engine.close(generation)


def test_what_is_refused(engine: Engine) -> None:
    generation = engine.open(GenerationSpec(prompt="cat", width=16, height=16, steps=1))
    with pytest.raises(StateError, match="decode: got generation .* running, allowed done"):
        engine.decode(generation, 0)
    engine.step([generation])
    for image in (-1, 1, True, None, 0.0):
        with pytest.raises(StateError, match=f"decode: got image {image!r}, allowed 0 to 0"):
            engine.decode(generation, image)  # type: ignore[arg-type]
    engine.close(generation)
