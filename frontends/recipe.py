"""Export the recipe of a picture under the name that README and programs know.

`studio/service/recipe.py` defines it.
"""

from __future__ import annotations

from ..studio.service.recipe import CHUNK, Recipe, RecipeError, encode_png, pixel_hash, plain, read_png, recipe_of

__all__ = ["CHUNK", "Recipe", "RecipeError", "encode_png", "pixel_hash", "plain", "read_png", "recipe_of"]
