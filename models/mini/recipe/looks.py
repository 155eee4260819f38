"""Looks: palettes, backgrounds and finishes, composing a picture, and the rule that no object vanishes.

Pictures are float32 RGB in 0..1, [height, width, 3]; drawings are [side, side, 4] RGBA with straight alpha.
"""

# mypy: disable-error-code="no-any-return"

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

VERSION = 2  # raise it when the same look gives another picture: caches of pictures are then made anew
PALETTES = {  # name -> the words of its clause
    "natural": "",
    "pastel": "pastel colours",
    "monochrome": "monochrome",
    "sepia": "sepia tones",
    "neon": "neon colours",
    "ocean": "ocean blues",
    "candy": "candy pinks",
}
BACKGROUNDS: dict[str, tuple[tuple[int, int, int], ...]] = {  # one colour, or top and bottom of a gradient
    "white": ((255, 255, 255),),
    "black": ((24, 24, 28),),
    "sky blue": ((140, 200, 240),),
    "yellow": ((250, 214, 80),),
    "pink": ((248, 180, 205),),
    "green": ((110, 180, 100),),
    "teal": ((32, 150, 150),),
    "navy": ((30, 42, 90),),
    "cream": ((250, 240, 215),),
    "orange": ((245, 150, 60),),
    "purple": ((125, 80, 170),),
    "grey": ((150, 152, 158),),
    "red": ((200, 55, 55),),
    "brown": ((120, 80, 50),),
    "sunset gradient": ((250, 170, 90), (190, 70, 130)),
    "ocean gradient": ((150, 220, 240), (30, 70, 150)),
    "mint gradient": ((240, 255, 245), (120, 200, 170)),
    "night gradient": ((20, 20, 50), (90, 60, 140)),
}
FINISHES = {"none": "", "sticker": "sticker outline", "mosaic": "pixel mosaic", "halftone": "halftone dots"}

_INK = {  # the ink of black-and-white sets; natural ink is light on a dark background
    "pastel": (0.55, 0.45, 0.75),
    "sepia": (0.40, 0.26, 0.12),
    "neon": (0.10, 0.95, 0.60),
    "ocean": (0.05, 0.30, 0.65),
    "candy": (0.90, 0.25, 0.55),
}
_RAMP = {  # dark, middle and light end of a palette that keeps lightness only
    "ocean": ((0.03, 0.10, 0.30), (0.10, 0.50, 0.78), (0.85, 0.97, 1.00)),
    "candy": ((0.35, 0.02, 0.25), (0.95, 0.35, 0.60), (1.00, 0.92, 0.95)),
}
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Look:
    palette: str = "natural"
    background: str = "white"
    finish: str = "none"


PLAIN = Look()


def lightness(name: str) -> float:
    """Return the mean luma of a background, 0..1; below .45 its tone counts as dark."""
    return float((np.array(BACKGROUNDS[name], np.float32).mean(0) / 255 * _LUMA).sum())


def background(name: str, height: int, width: int) -> Array:
    """Draw a background as [height, width, 3]."""
    ends = np.array(BACKGROUNDS[name], np.float32) / 255
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    column = ends[0] * (1 - t) + ends[-1] * t
    return np.broadcast_to(column, (height, width, 3)).astype(np.float32)


def recolour(colour: Array, palette: str, *, ink: bool, dark: bool) -> Array:
    """Apply a palette to [..., 3] colours; `ink` for black drawings, `dark` for the background's tone."""
    if ink:
        if palette in _INK:
            tint = np.array(_INK[palette], np.float32)
            if dark and palette in ("sepia", "ocean", "pastel"):
                tint = 0.45 * tint + 0.55
            return np.broadcast_to(tint, colour.shape).astype(np.float32)
        return 1 - colour if dark else colour
    luma = (colour * _LUMA).sum(-1, keepdims=True)
    if palette == "natural":
        return colour
    if palette == "pastel":
        return (luma + (colour - luma) * 0.6) * 0.5 + 0.5
    if palette == "monochrome":
        return np.repeat(luma, 3, -1)
    if palette == "sepia":
        tint, lift = np.array([1.05, 0.86, 0.64], np.float32), np.array([0.10, 0.06, 0.02], np.float32)
        return np.clip(luma * tint + lift, 0, 1)
    if palette == "neon":
        hot = np.clip(luma + (colour - luma) * 2.4, 0, 1)
        hot = np.clip((hot - 0.5) * 1.5 + 0.5, 0, 1)
        return np.clip(hot * 0.85 + np.array([0.15, 0.0, 0.25], np.float32) * (1 - luma), 0, 1)
    low, middle, high = (np.array(c, np.float32) for c in _RAMP[palette])
    return np.where(luma < 0.5, low + (middle - low) * luma * 2, middle + (high - middle) * (luma * 2 - 1))


def grow(mask: Array, radius: int) -> Array:
    """Dilate a [H, W] mask by a disc of about `radius` pixels."""
    out = mask.copy()
    for i in range(radius):
        p = np.pad(out, 1)
        near = [p[:-2, 1:-1], p[2:, 1:-1], p[1:-1, :-2], p[1:-1, 2:]]
        if i % 2:  # every second step also diagonally: an octagon
            near += [p[:-2, :-2], p[:-2, 2:], p[2:, :-2], p[2:, 2:]]
        out = np.maximum(out, np.maximum.reduce(near))
    return out


def place(drawing: Array, height: int, width: int) -> Array:
    """Scale a uint8 RGBA drawing to the shorter side and centre it: [height, width, 4] float32, straight alpha."""
    side, small = drawing.shape[0], min(height, width)
    x = drawing.astype(np.float32) / 255
    x[..., :3] *= x[..., 3:]
    if side % small == 0:
        f = side // small
        x = x.reshape(small, f, small, f, 4).mean((1, 3))
    else:
        bands = [Image.fromarray(x[..., i]).resize((small, small), Image.Resampling.BOX) for i in range(4)]
        x = np.stack([np.asarray(b) for b in bands], -1)
    out = np.zeros((height, width, 4), np.float32)
    top, left = (height - small) // 2, (width - small) // 2
    out[top : top + small, left : left + small] = x
    out[..., :3] /= np.maximum(out[..., 3:], 1e-4)
    return np.clip(out, 0, 1)


def compose(drawing: Array, look: Look, *, ink: bool, height: int = 128, width: int = 128) -> Array:
    """Compose the picture of a drawing in a look, [height, width, 3] in 0..1."""
    return compose_placed(place(drawing, height, width), look, ink=ink)


def compose_placed(layer: Array, look: Look, *, ink: bool) -> Array:
    """Compose the picture of a drawing on its canvas, by `place`: scaling it costs four times as much as the rest."""
    height, width = layer.shape[:2]
    alpha = layer[..., 3:]
    dark = lightness(look.background) < 0.45
    behind = background(look.background, height, width)
    sticker = look.finish == "sticker"
    colour = recolour(layer[..., :3], look.palette, ink=ink, dark=dark and not sticker)
    if look.finish == "halftone":
        colour = colour * (1 - 0.45 * dots(height, width)[..., None])
    if sticker:
        rim = grow(alpha[..., 0], max(1, min(height, width) // 26))[..., None]
        behind = behind * (1 - rim) + rim * (0.12 if lightness(look.background) > 0.9 and not ink else 1.0)
    out = colour * alpha + behind * (1 - alpha)
    if look.finish == "mosaic":
        f = 1 << max(0, (min(height, width) - 1) // 32).bit_length()  # 4 at 96 to 128 pixels: 32 blocks or fewer
        out = out.reshape(height // f, f, width // f, f, 3).mean((1, 3)).repeat(f, 0).repeat(f, 1)
    return np.clip(out, 0, 1).astype(np.float32)


def dots(height: int, width: int) -> Array:
    """Draw a soft dot screen with 10 dots along the shorter side (finer ones do not survive the latents), in 0..1."""
    period = min(height, width) / 10
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    wave = np.cos(2 * np.pi * x / period) * np.cos(2 * np.pi * y / period)
    return np.clip(wave * 2 + 0.2, 0, 1)


def lab(rgb: Array) -> Array:
    """Turn sRGB in 0..1 into CIE L*a*b* (D65), last axis 3."""
    c = np.asarray(rgb, np.float32)
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    m = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32)
    xyz = linear @ m.T / np.array([0.9505, 1.0, 1.089], np.float32)
    f = np.where(xyz > 0.008856, np.cbrt(np.maximum(xyz, 1e-9)), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def thumbnail(drawing: Array) -> Array:
    """Make the small RGBA layer on which visibility is decided."""
    side = min(64, drawing.shape[0])
    return place(drawing, side, side)


def edge_contrast(layer: Array, look: Look, *, ink: bool) -> float:
    """Measure how far from the background the median pixel of the object's rim is. `layer`: a thumbnail.

    The distance is CIE76 with chroma at half weight: the eye follows an outline by lightness first.
    """
    height, width = layer.shape[:2]
    solid = (layer[..., 3] > 0.5).astype(np.float32)
    rim = (solid > 0) & (grow(1 - solid, 2) > 0)
    if not rim.any():
        rim = solid > 0
    if not rim.any():
        return 0.0
    alpha = layer[rim][:, 3:]
    behind = background(look.background, height, width)[rim]
    dark = lightness(look.background) < 0.45
    front = recolour(layer[rim][:, :3], look.palette, ink=ink, dark=dark) * alpha + behind * (1 - alpha)
    apart = (lab(front) - lab(behind)) * np.array([1, 0.5, 0.5], np.float32)
    return float(np.median(np.sqrt((apart**2).sum(-1))))


MIN_CONTRAST = 24.0  # below this an outline is hard to follow by eye


def is_visible(layer: Array, look: Look, *, ink: bool) -> bool:
    """Return False when the object would vanish in its background. A sticker's rim always sets it off."""
    return look.finish == "sticker" or edge_contrast(layer, look, ink=ink) >= MIN_CONTRAST


def is_distinct(look: Look, *, ink: bool) -> bool:
    """Return False for a look whose caption would not match: monochrome ink is the same as natural ink."""
    return not (ink and look.palette == "monochrome")
