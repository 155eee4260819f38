"""What comes beside a prompt as data, said as if it were in the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ..known import checked, parameters
from .printing import printed
from .prompt import Prompt, Said
from .reading import parse


def as_typed(name: str, value: Any) -> Any:
    """Return a value as data in the form in which a prompt has it."""
    kind = parameters()[name].kind
    if not kind.many:
        return value
    return tuple(kind.read(name, kind.write((each,)), parameters()[name].remedy) for each in value)


def options_of(given: Mapping[str, Any]) -> dict[str, Said]:
    """Return what is said by data, by name. ParameterError: an unknown name, or a value out of range."""
    values = checked(given, known=parameters())
    return {name: Said(name, parameters()[name].label, as_typed(name, value)) for name, value in values.items()}


def prompts_of(prompt: str, given: Mapping[str, Any]) -> tuple[Prompt, ...]:
    """Return all prompts that a prompt and what comes beside it stand for. PromptRefused, ParameterError."""
    return parse(prompt, options=options_of(given))


def words_of(prompt: Prompt) -> str:
    """Return a prompt without its parameters."""
    return printed(replace(prompt, said=MappingProxyType({})))
