"""What other tools read of a picture: prompt and settings as the Stable Diffusion web UI writes them.

The layout is that of its "parameters" text: the prompt, a line for what to leave out, and a line of `Name: value` with
commas between; a value in which commas, colons or line breaks stand is quoted like JSON. Galleries, taggers and other
front ends read it. The whole recipe stands beside it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .recipe import Recipe

KEY: Final = "parameters"  # of the PNG chunk
HASH: Final = 10  # hex digits of a model's hash, as such tools show it


def infotext(recipe: Recipe) -> str:
    """Return the text of a recipe."""
    spec, model = recipe.spec, recipe.model
    said: dict[str, str] = {
        "Steps": str(spec.steps),
        "Sampler": spec.solver.capitalize(),
        "CFG scale": f"{spec.guidance_scale:g}",
        "Seed": str(spec.seed),
        "Size": f"{spec.width}x{spec.height}",
        "Model hash": model.digest[:HASH],
        "Model": str(model),
    }
    if spec.shift is not None:
        said["Shift"] = f"{spec.shift:g}"
    if spec.images > 1:
        said["Batch size"] = str(spec.images)
    if spec.images > 1 and recipe.image is not None:
        said["Batch pos"] = str(recipe.image)
    said |= {name.capitalize(): f"{value:g}" for name, value in spec.knobs.items()}
    said |= {f"Adapter {number}": f"{use.adapter} {use.weight:g}" for number, use in enumerate(spec.adapters, 1)}
    said |= {f"Term {number}": f"{term.text} {term.weight:g}" for number, term in enumerate(spec.terms, 1)}
    said["Version"] = f"Salon {recipe.salon}"
    away = [spec.negative_prompt, *(term.text for term in spec.terms if term.weight < 0)]
    without = ", ".join(text for text in away if text)
    negative = f"\nNegative prompt: {without}" if without else ""
    return f"{spec.prompt}{negative}\n" + ", ".join(f"{name}: {_quoted(value)}" for name, value in said.items())


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,:\n\"]", value) else value
