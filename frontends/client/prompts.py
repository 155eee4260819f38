"""What a client says in the prompt language, and what it does where the server is too old for that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from ...errors import SalonError, complaint
from ...parameters.errors import PromptRefused
from ...parameters.known import checked, parameters
from ...parameters.language.data import data_of, pictures_of
from ...parameters.language.options import prompts_of
from ...parameters.language.prompt import Prompt
from ..wire import messages as m
from .errors import RequestFailed, invalid
from .flavours import Flavour, operation
from .older import as_before, unsupported
from .steps import Steps, asked, call

R = TypeVar("R")


def said(lane: str | None, private: bool | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said beside a prompt, by name, in its range. Invalid: something is not."""
    try:
        return checked({"lane": lane, "private": private, **given}, known=parameters())
    except SalonError as error:
        raise invalid(str(error)) from error


def kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters that a server is to keep, by name, in their range. None stays. Invalid: something is not."""
    try:
        return {**dict.fromkeys(values), **checked(values, known=parameters())}
    except SalonError as error:
        raise invalid(str(error)) from error


def understood(prompt: Any, values: Mapping[str, Any]) -> tuple[Prompt, ...]:
    """Return what a prompt stands for. Invalid: it cannot be read; its cause knows the place."""
    try:
        prompts = prompts_of(prompt, values)
        for one in prompts:
            data_of(one)  # files of this machine mean nothing elsewhere
            pictures_of(one)
    except SalonError as error:
        here = isinstance(error, PromptRefused) and error.prompt == prompt
        raise invalid(str(error), error.position if isinstance(error, PromptRefused) and here else -1) from error
    return prompts


def placed(steps: Steps[R], prompt: str) -> Steps[R]:
    """Do the steps of a request. Where the server refuses a place of its prompt, the error's cause knows that."""
    try:
        return (yield from steps)
    except RequestFailed as error:
        if not 0 <= error.position <= len(prompt):
            raise
        raise error from PromptRefused(str(error), prompt, error.position)


def want_one(prompts: tuple[Prompt, ...]) -> None:
    """Raise Invalid for several prompts in one."""
    if len(prompts) > 1:
        raise invalid(complaint("prompt", f"{len(prompts)} prompts in one", "one", "call imagine_all"))


def before_language(request: m.Submit, prompts: tuple[Prompt, ...], features: tuple[str, ...]) -> m.Submit:
    """Return a request for a server from before the prompt language. Unsupported: it cannot do that."""
    first = prompts[0]
    terms = [term for term in first.terms if term.weight == 1]
    if len(prompts) > 1 or len(first.terms) > 1 or len(terms) != len(first.terms) or first.pictures or first.has_holes:
        raise unsupported("several prompts in one, pictures or lists in a prompt")
    values = data_of(first)
    lane, private = str(values.pop("lane", "fast")), bool(values.pop("private", False))
    text = terms[0].text if terms else ""
    changes: dict[str, Any] = {"prompt": text, "lane": lane, "private": private, "parameters": values}
    if "parameters" not in features:
        changes |= {"parameters": None, **as_before(values)}
    return msgspec.structs.replace(request, language=False, **changes)


class SettingsCommands(Flavour):
    """What the account wants said where its prompts say nothing."""

    @operation
    def show(self) -> Steps[m.SettingsInfo]:
        """Return the settings: values by name, and a suffix, which wins over them."""
        return (yield from call(self._core, m.GetSettings(), m.SettingsInfo, self._timeout_s))

    @operation
    def change(self, /, suffix: str | None = None, **parameters: Any) -> Steps[m.SettingsInfo]:
        """Change some settings, and return all.

        Args:
            suffix: parameters as they are typed, like `--s 250 --ar 3:2`; "": none; None: as it is.
            parameters: values by the names of docs/parameters.md; None takes one away.
        """
        request = asked(m.ChangeSettings(parameters=kept(parameters), suffix=suffix))
        return (yield from call(self._core, request, m.SettingsInfo, self._timeout_s))

    @operation
    def reset(self) -> Steps[m.SettingsInfo]:
        """Forget all settings."""
        return (yield from call(self._core, m.ChangeSettings(reset=True), m.SettingsInfo, self._timeout_s))
