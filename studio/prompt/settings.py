"""What an account wants said where its prompts do not say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...bounds import MAX_PROMPT
from ...errors import complaint
from ...parameters.errors import ParameterError, PromptRefused
from ...parameters.known import checked, parameters
from ...parameters.language.data import data_of
from ...parameters.language.prompt import Prompt
from ...parameters.language.reading import parse_one

NEVER = (
    *("preset", "seed", "repeat", "image", "mask", "terms", "prompt_weight"),
    *("image_prompts", "image_weight", "blend", "omni_reference", "omni_weight"),
)  # what is of one prompt and no other


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """An account's settings.

    Attributes:
        parameters: values by the parameters' names, as data.
        suffix: parameters as they are typed; these win over `parameters`, and what a prompt says over both.
    """

    parameters: dict[str, Any] = {}
    suffix: str = ""

    def check(self) -> Settings:
        """Return the settings with every value in its range.

        Raises:
            ParameterError: an unknown name, or a value out of range.
            PromptRefused: a suffix with words, or that says something twice.
        """
        known = {name: each for name, each in parameters().items() if name not in NEVER and each.all_flags}
        for name in self.parameters:
            if name in NEVER:
                raise ParameterError(complaint("settings", name, "what is of every prompt", "say it in the prompt"))
        values = checked(self.parameters, known=known)
        if len(self.suffix) > MAX_PROMPT:
            got = f"{len(self.suffix):,} characters"
            raise ParameterError(complaint("suffix", got, f"up to {MAX_PROMPT:,}", "shorten it"))
        for name, one in said_in(self.suffix).said.items():
            if name in NEVER:
                text = complaint("suffix", one.flag, "what is of every prompt", "say it in the prompt")
                raise PromptRefused(text, self.suffix, one.position)
        return Settings(parameters=values, suffix=self.suffix.strip())


def said_in(suffix: str, name: str = "suffix") -> Prompt:
    """Return what a suffix says. PromptRefused: words, pictures, several prompts, or no parameters of this version.
    `name`: of the suffix, for the refusal."""
    found = parse_one(suffix)
    if found.terms or found.pictures:
        got = repr(found.terms[0].text[:40]) if found.terms else found.pictures[0].source[:40]
        raise PromptRefused(complaint(name, got, "parameters alone, like --s 250", "leave it out"), suffix)
    data_of(found, choose=lambda: 0)
    return found


def merged(settings: Settings, changes: Mapping[str, Any], suffix: str | None = None) -> Settings:
    """Return settings with changes, checked: values by name, None for one that shall go; a new suffix unless None."""
    kept = {name: value for name, value in {**settings.parameters, **changes}.items() if value is not None}
    return Settings(parameters=kept, suffix=settings.suffix if suffix is None else suffix).check()
