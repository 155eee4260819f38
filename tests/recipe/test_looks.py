"""Palettes, composing, and the rule that no object vanishes in its background."""

import numpy as np
import pytest

from salon.models.mini.recipe.looks import (
    BACKGROUNDS,
    FINISHES,
    PALETTES,
    Look,
    background,
    compose,
    edge_contrast,
    is_distinct,
    is_visible,
    lab,
    lightness,
    place,
    recolour,
    thumbnail,
)


def disc(rgb: tuple[int, ...], side: int = 128, radius: float = 0.35) -> np.ndarray:
    y, x = np.mgrid[:side, :side] / side - 0.5
    out = np.zeros((side, side, 4), np.uint8)
    out[..., :3] = rgb
    out[..., 3] = 255 * ((y**2 + x**2) < radius**2)
    return out


def test_enough_of_everything() -> None:
    assert len(PALETTES) >= 6
    assert len(BACKGROUNDS) >= 12


@pytest.mark.parametrize("finish", FINISHES)
@pytest.mark.parametrize(("height", "width"), [(128, 128), (96, 176), (176, 96), (32, 32), (256, 256)])
def test_pictures_have_their_size_and_range(finish: str, height: int, width: int) -> None:
    x = compose(disc((200, 60, 40)), Look("natural", "teal", finish), ink=False, height=height, width=width)
    assert x.shape == (height, width, 3)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    assert x.min() >= 0
    assert x.max() <= 1


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("ink", [False, True])
def test_palettes_stay_in_range(palette: str, ink: bool) -> None:
    rng = np.random.default_rng(0)
    for dark in (False, True):
        x = recolour(rng.random((9, 9, 3), np.float32), palette, ink=ink, dark=dark)
        assert np.isfinite(x).all()
        assert x.min() >= -1e-6
        assert x.max() <= 1 + 1e-6


def test_palettes_do_what_they_say() -> None:
    colour = np.array([[[0.8, 0.2, 0.1]]], np.float32)
    grey = recolour(colour, "monochrome", ink=False, dark=False)[0, 0]
    assert np.ptp(grey) < 1e-6
    ocean = recolour(colour, "ocean", ink=False, dark=False)[0, 0]
    assert ocean[2] > ocean[0]
    candy = recolour(colour, "candy", ink=False, dark=False)[0, 0]
    assert candy[0] > candy[1]
    assert np.allclose(recolour(colour, "natural", ink=False, dark=False), colour)


def test_natural_ink_turns_light_on_dark_ground() -> None:
    black = np.zeros((1, 1, 3), np.float32)
    assert recolour(black, "natural", ink=True, dark=True).min() == 1
    assert recolour(black, "natural", ink=True, dark=False).max() == 0


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_an_object_of_the_backgrounds_own_colour_is_refused(name: str) -> None:
    colours = BACKGROUNDS[name]
    middle = tuple(round((a + b) / 2) for a, b in zip(colours[0], colours[-1], strict=True))
    layer = thumbnail(disc(middle, radius=0.15))  # the middle of a gradient is its mean colour
    assert not is_visible(layer, Look("natural", name), ink=False)
    assert is_visible(layer, Look("natural", name, "sticker"), ink=False)


@pytest.mark.parametrize(
    ("rgb", "name", "visible"),
    [
        ((250, 214, 80), "yellow", False),
        ((250, 214, 80), "navy", True),
        ((250, 250, 250), "white", False),
        ((250, 250, 250), "black", True),
        ((20, 20, 24), "black", False),
        ((200, 40, 40), "green", True),
        ((90, 200, 60), "white", True),
    ],
)
def test_visibility_by_eye(rgb: tuple[int, int, int], name: str, visible: bool) -> None:
    assert is_visible(thumbnail(disc(rgb)), Look("natural", name), ink=False) is visible


def test_ink_is_always_visible_in_natural_colours() -> None:
    for name in BACKGROUNDS:
        assert is_visible(thumbnail(disc((17, 17, 17))), Look("natural", name), ink=True), name


def test_an_empty_drawing_has_no_contrast() -> None:
    assert edge_contrast(np.zeros((64, 64, 4), np.float32), Look(), ink=False) == 0


def test_monochrome_ink_is_not_a_look_of_its_own() -> None:
    assert not is_distinct(Look("monochrome"), ink=True)
    assert is_distinct(Look("monochrome"), ink=False)


def test_scaling_keeps_colour_at_transparent_edges() -> None:
    layer = place(disc((255, 0, 0), side=256), 64, 64)
    seen = layer[..., 3] > 0.1
    assert layer[seen][:, 0].min() > 0.99  # no dark fringe from the transparent black around


@pytest.mark.parametrize("side", [100, 128, 256])
def test_any_size_scales(side: int) -> None:
    layer = place(disc((255, 0, 0), side=side), 48, 80)
    assert layer.shape == (48, 80, 4)
    assert abs(float((layer[..., 3] > 0.5).mean()) - np.pi * 0.35**2 * 48 / 80) < 0.02


def test_sticker_has_a_rim() -> None:
    plain = compose(disc((200, 40, 40)), Look("natural", "teal"), ink=False)
    rim = compose(disc((200, 40, 40)), Look("natural", "teal", "sticker"), ink=False)
    assert (rim > 0.99).all(-1).sum() > 300
    assert (plain > 0.99).all(-1).sum() == 0


def test_gradient_runs_from_top_to_bottom() -> None:
    x = background("sunset gradient", 32, 8)
    assert np.allclose(x[0, 0] * 255, BACKGROUNDS["sunset gradient"][0], atol=1)
    assert np.allclose(x[-1, 0] * 255, BACKGROUNDS["sunset gradient"][1], atol=1)


def test_lightness_orders_backgrounds() -> None:
    assert lightness("black") < lightness("navy") < lightness("teal") < lightness("cream") < lightness("white")


def test_lab_knows_white_black_and_red() -> None:
    assert np.allclose(lab(np.array([[1, 1, 1]])), [[100, 0, 0]], atol=0.6)
    assert np.allclose(lab(np.array([[0, 0, 0]])), [[0, 0, 0]], atol=0.6)
    assert np.allclose(lab(np.array([[1, 0, 0]])), [[53.2, 80.1, 67.2]], atol=0.6)
