"""What the embedded model makes of its pictures, measured: enlarged ones, and those with a new surface."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.engine.engine import Engine
from salon.engine.info import ModelInfo
from salon.engine.projection import halved
from salon.engine.spec import GenerationSpec
from salon.parameters.job_request import JobRequest, Source
from salon.scheduler.tickets import Lane
from salon.studio.flattening import DARKEST, flattened
from salon.studio.kinds import Asked, Input, kind_of
from salon.studio.references import digest_of, pictures_of
from salon.studio.resources import References

THINGS = ("a red apple, 3d render, on a teal background", "a cat", "a castle, flat cartoon")
SURFACES = ("an apple, woodcut, sepia tones", "a cat, woodcut, sepia tones", "a castle, woodcut, sepia tones")
STEPS = 8  # as few as show it


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def drawn(engine: Engine, spec: GenerationSpec, file: bytes = b"") -> Any:
    """The first picture of a spec, which may start from a file."""
    for form, pixels in pictures_of(spec, {digest_of(file): file}.get, References(), engine.info).items():
        engine.add_picture(form, pixels)
    generation = engine.open(spec)
    while not engine.step([generation])[0].done:
        pass
    made = engine.finish(generation)[0]
    engine.close(generation)
    return made


def asked(info: ModelInfo, kind: str, parent: GenerationSpec, file: bytes, prompt: str = "", **said: Any) -> Any:
    source = Source(digest=digest_of(file))
    picture = Input(source=source, digest=source.digest, width=parent.width, height=parent.height, spec=parent)
    request = JobRequest(
        key="k", prompt=prompt, kind=kind, sources=(source,), parameters={"seed": 3, "steps": STEPS, **said}
    )
    return kind_of(request).spec(Asked(request=request, lane=Lane.FAST, inputs=(picture,)), info)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(threads=1)


@pytest.fixture(scope="module")
def sources(engine: Engine) -> list[tuple[GenerationSpec, Any]]:
    specs = [engine.make_spec(prompt, images=1, seed=40, stylize=100, steps=STEPS) for prompt in THINGS]
    return [(spec, drawn(engine, spec)) for spec in specs]


def detail(picture: Any) -> float:
    """The energy of a picture's Laplacian."""
    grey = picture.astype(float).mean(-1)
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(((around - 4 * grey[1:-1, 1:-1]) ** 2).mean())


def edges(picture: Any) -> Any:
    """The sizes of the Sobel gradient of a picture's luminance."""
    grey = picture.astype(float) @ [0.299, 0.587, 0.114]
    across, down = grey[:, 2:] - grey[:, :-2], grey[2:] - grey[:-2]
    return np.hypot(across[:-2] + 2 * across[1:-1] + across[2:], down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:])


def test_an_upscale_has_detail_and_is_its_picture_brought_down(engine: Engine, sources: Any) -> None:
    """At least 35 dB, and more detail than bicubic enlargement; a creative one is not held to that."""
    spec, picture = sources[0]
    file = png(picture)
    subtle = drawn(engine, asked(engine.info, "upscale", spec, file), file)
    creative = drawn(engine, asked(engine.info, "upscale", spec, file, creative=True), file)
    plain = np.asarray(Image.fromarray(picture).resize((256, 256), Image.Resampling.BICUBIC))
    errors = [np.sqrt(((halved(made) - picture) ** 2).mean()) for made in (subtle, creative)]
    assert subtle.shape == creative.shape == plain.shape
    assert 20 * np.log10(255 / errors[0]) >= 35
    assert errors[1] > errors[0]
    assert min(map(detail, (subtle, creative))) > 1.5 * detail(plain)


def test_a_retexture_is_nearer_in_shape_than_the_same_words_alone(engine: Engine, sources: Any) -> None:
    """And its colours are those of the words. How near is measured over many pictures, not here."""
    near: list[float] = []
    free: list[float] = []
    for (spec, picture), prompt in zip(sources, SURFACES, strict=True):
        file = png(picture)
        request = asked(engine.info, "retexture", spec, file, prompt, images=1)
        for start, found in ((request.start, near), (None, free)):
            made = drawn(engine, replace(request, start=start), file)
            found.append(float(np.corrcoef(edges(picture).ravel(), edges(made).ravel())[0, 1]))
            assert np.ptp(made.astype(int), axis=2).mean() < np.ptp(picture.astype(int), axis=2).mean()  # sepia
    assert all(a > b for a, b in zip(near, free, strict=True)), (near, free)
    assert np.mean(near) > np.mean(free) + 0.15, (near, free)


def test_what_is_flattened_has_no_colours_and_a_white_background() -> None:
    picture = np.full((64, 64, 3), (10, 200, 90), np.uint8)
    picture[16:48, 16:48] = (200, 10, 90)
    picture[24:40, 24:40] = (110, 110, 90)
    shades = flattened(picture)
    assert (shades == shades[..., :1]).all()
    assert (shades[:16] == 255).all()
    assert (shades[16:24, 16:48] == shades[16, 16]).all()
    assert (shades[24:40, 24:40] == shades[30, 30]).all()
    assert DARKEST < shades[16, 16, 0] < shades[30, 30, 0] < 255
    picture[16:48, 16:48] = 0
    assert (flattened(picture)[16:48, 16:48] == DARKEST).all()
    assert (flattened(np.full((8, 8, 3), 7, np.uint8)) == 255).all()
