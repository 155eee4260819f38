"""List the words that the rules of a conversation know. They are English."""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COLOURS: Final = _words(
    "red orange yellow green blue purple violet pink brown black white grey gray teal cyan turquoise magenta gold "
    "golden silver beige navy maroon olive lime indigo crimson scarlet lavender cream ivory coral"
)
SIZES: Final = _words("big large huge giant small little tiny")
BIGGER: Final = {"bigger": "big", "larger": "large", "smaller": "small", "tinier": "tiny", "huger": "huge"}
COMPARED: Final = {  # what is said -> what is drawn
    "brighter": "bright", "lighter": "light", "darker": "dark", "warmer": "warm colours", "cooler": "cold colours",
    "colder": "cold colours", "softer": "soft", "sharper": "sharp", "simpler": "simple", "happier": "happy",
    "sadder": "sad", "older": "old", "younger": "young", "cuter": "cute", "scarier": "scary", "fluffier": "fluffy",
    "rounder": "round", "paler": "pale", "shinier": "shiny", "prettier": "pretty", "weirder": "weird",
}  # fmt: skip
STYLES: Final = _words(
    "watercolor watercolour painting drawing sketch photo photograph cartoon comic engraving woodcut mosaic render "
    "illustration icon logo poster sculpture collage neon 3d anime linocut etching fresco stencil sticker"
) | {
    "oil painting", "pixel art", "line art", "line drawing", "pencil drawing", "ink drawing", "stained glass",
    "flat design", "low poly", "clay model", "paper cut",
}  # fmt: skip
TIMES: Final = frozenset({
    "at night", "at dawn", "at dusk", "at sunset", "at sunrise", "at noon", "at midnight", "in the morning",
    "in the evening", "in the afternoon", "by day", "by night", "in daylight", "in moonlight", "by candlelight",
})  # fmt: skip
SEASONS: Final = frozenset({
    "in spring", "in summer", "in autumn", "in fall", "in winter",
})  # fmt: skip
WEATHER: Final = frozenset({
    "in the rain", "in rain", "in the snow", "in snow", "in fog", "in the fog", "in a storm", "in the sun",
    "in sunshine", "in the wind", "in mist",
})  # fmt: skip
BARE: Final = {  # "make it night" -> "at night"
    "night": "at night", "dawn": "at dawn", "dusk": "at dusk", "sunset": "at sunset", "sunrise": "at sunrise",
    "noon": "at noon", "midnight": "at midnight", "morning": "in the morning", "evening": "in the evening",
    "spring": "in spring", "summer": "in summer", "autumn": "in autumn", "fall": "in fall", "winter": "in winter",
    "rainy": "in the rain", "raining": "in the rain", "snowy": "in the snow", "snowing": "in the snow",
    "foggy": "in fog", "stormy": "in a storm", "sunny": "in the sun", "windy": "in the wind",
}  # fmt: skip
PLACES: Final = _words(
    "at in on under underneath during by near inside outside behind beside above over against beneath among"
)
NUMBERS: Final = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "a single": 1, "single": 1,
}  # fmt: skip
ORDINALS: Final = {
    word: number
    for number, words in enumerate(
        ("first 1st", "second 2nd", "third 3rd", "fourth 4th", "fifth 5th", "sixth 6th", "seventh 7th", "eighth 8th"), 1
    )
    for word in words.split()
}
SHAPES: Final = ((1, 2), (9, 16), (2, 3), (3, 4), (1, 1), (4, 3), (3, 2), (16, 9), (2, 1))  # narrow to wide
NAMED_SHAPES: Final = {
    "square": (1, 1), "landscape": (3, 2), "upright": (2, 3), "widescreen": (16, 9), "panorama": (2, 1),
    "panoramic": (2, 1),
}  # fmt: skip
