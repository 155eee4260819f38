"""Tell of the server's model as OpenAI's clients ask for it, by its own name and by those that they have built in."""

from __future__ import annotations

import re
from typing import Any, Final

from ...engine.info import ModelIdentity
from ...errors import complaint
from ...values import shown
from .errors import HttpRefused

ALIASES: Final = (
    "dall-e-2", "dall-e-3", "gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2", "chatgpt-image-latest",
)  # fmt: skip


def name_of(identity: ModelIdentity) -> str:
    """Return the id of a model: its own name, in letters that need no quoting in an address."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", identity.name).strip("-") or "salon"


def model_of(identity: ModelIdentity) -> dict[str, Any]:
    """Return what there is to say of a model."""
    return {"id": name_of(identity), "object": "model", "created": 0, "owned_by": "salon"}


def want_model(identity: ModelIdentity, name: str) -> None:
    """Raise HttpRefused for a name that is neither the model's nor one that clients have built in. Empty: any."""
    if name and name != name_of(identity) and name not in ALIASES:
        text = complaint("model", shown(name), f"{name_of(identity)}, or one of OpenAI's names", "see /v1/models")
        raise HttpRefused(text, status=404, param="model", code="model_not_found")
