"""Parameters that stand under a name: which may, and what a request does with the name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ...bounds import MAX_PRESET
from ...errors import complaint
from ...parameters.errors import ParameterError, PromptRefused
from ...parameters.language.options import options_of
from ...parameters.language.printing import print_said
from .settings import said_in

Presets: TypeAlias = Callable[[str], str]  # from a name to the parameters, as they are typed
NEVER = ("preset", "repeat", "terms", "prompt_weight", "image_prompts")  # what says how many jobs, or whose words


def no_presets(name: str) -> str:
    """Refuse a preset where nothing keeps any."""
    got, allowed = f"{name} without a server", "it on one, where accounts keep them"
    raise ParameterError(complaint("--preset", got, allowed, "write the parameters, or pass --server"))


def left_open(name: str) -> str:
    """Return no parameters: the server fills them in."""
    return ""


def typed(values: Mapping[str, Any]) -> str:
    """Return values by parameters' names as they are typed.

    Raises:
        ParameterError: an unknown name, a value that is out of its range, or one that no flag says.
    """
    texts = []
    for name, one in options_of(values).items():
        text = print_said(one)
        if not text:
            raise ParameterError(complaint("preset", name, "what prompts have flags for", "leave it out"))
        texts.append(text)
    return " ".join(texts)


def checked_preset(parameters: str) -> str:
    """Return parameters as a preset keeps them.

    Raises:
        PromptRefused: words among them, or a value that is out of its range.
        ParameterError: they are too long, none at all, or such as no preset may have.
    """
    if len(parameters) > MAX_PRESET:
        got = f"{len(parameters):,} characters"
        raise ParameterError(complaint("preset", got, f"up to {MAX_PRESET:,}", "shorten it"))
    said = said_in(parameters, "preset").said
    if not said:
        raise ParameterError(complaint("preset", "no parameters", "some, like --ar 3:2 --s 250", "write them"))
    for name, one in said.items():
        if name in NEVER:
            text = complaint("preset", one.flag, "what every prompt may say", "say it in the prompt")
            raise PromptRefused(text, parameters, one.position)
    return parameters.strip()
