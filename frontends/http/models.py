"""Tell of the server's model as OpenAI's clients ask for it, by its own name and by those that they have built in."""

from __future__ import annotations

import re
from typing import Any, Final

from ...engine.info import ModelIdentity
from ...errors import complaint
from ...studio.service.context import ServiceContext
from ...values import shown
from .errors import HttpRefused

ALIASES: Final = (
    "dall-e-2", "dall-e-3", "gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2", "gpt-image-2-2026-04-21",
    "gpt-image-2.5-sunburst", "gpt-image-2.5-sunburst-2026-09-08", "gpt-image-2.5-flare",
    "gpt-image-2.5-flare-2026-09-08", "gpt-image-2.6-sunburst", "gpt-image-2.6-flare", "chatgpt-image-latest",
)  # fmt: skip


def name_of(identity: ModelIdentity) -> str:
    """Return the id of a model: its own name, in letters that need no quoting in an address."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", identity.name).strip("-") or "salon"


def models_of(context: ServiceContext) -> list[dict[str, Any]]:
    """Return what there is to say of the model, under its own name and those that the operator gave it."""
    names = [name_of(context.studio.loop.model.identity), *context.options.model_aliases]
    return [{"id": name, "object": "model", "created": 0, "owned_by": "salon"} for name in dict.fromkeys(names)]


def model_of(context: ServiceContext, name: str) -> dict[str, Any]:
    """Return what there is to say of the model, by one of its names. HttpRefused: as `want_model`."""
    want_model(context, name)
    models = {str(model["id"]): model for model in models_of(context)}
    return models.get(name, next(iter(models.values())))


def want_model(context: ServiceContext, name: str, field: str = "model") -> None:
    """Raise HttpRefused, which names the field, for a name that is neither the model's nor one that the operator gave
    it or that clients have built in. Empty: any."""
    own = [name_of(context.studio.loop.model.identity), *context.options.model_aliases]
    if name and name not in own and name not in ALIASES:
        text = complaint(field, shown(name), f"{', '.join(own)}, or one of OpenAI's names", "see /v1/models")
        raise HttpRefused(text, status=404, param=field, code="model_not_found")
