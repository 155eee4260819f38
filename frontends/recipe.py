"""Export the recipe of a picture under the name that README and programs know.

`studio/service/recipe.py` defines it.
"""

from __future__ import annotations

from ..recipe_text import CHUNK
from ..studio.service.infotext import infotext
from ..studio.service.recipe import Recipe, RecipeError, pixel_hash, plain, recipe_of
from ..studio.service.recipe_files import encode, encode_png, read_picture_file, read_png

__all__ = [
    "CHUNK",
    "Recipe",
    "RecipeError",
    "encode",
    "encode_png",
    "infotext",
    "pixel_hash",
    "plain",
    "read_picture_file",
    "read_png",
    "recipe_of",
]
