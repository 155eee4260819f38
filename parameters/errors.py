"""Define the errors of a request's parameters.

ParameterError
└── PromptRefused          a prompt that is not of the language; it knows the place
"""

from __future__ import annotations

from typing import Any

from ..errors import SalonError, complaint


class ParameterError(SalonError):
    """A parameter that does not exist, or a value that it does not take."""


class PromptRefused(ParameterError):
    """A prompt that cannot be read, or says something that cannot be done.

    Attributes:
        prompt: as it came.
        position: of the character that the message speaks of, from 0.
    """

    def __init__(self, message: str, prompt: str = "", position: int = 0) -> None:
        super().__init__(message)
        self.prompt, self.position = prompt, position

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.prompt, self.position)

    def pointer(self, width: int = 100) -> str:
        """Return the line of the prompt that the message speaks of, up to `width` characters of it, and below it a
        caret under the place."""
        start = self.prompt.rfind("\n", 0, self.position) + 1
        end = self.prompt.find("\n", self.position)
        line, at = self.prompt[start : len(self.prompt) if end < 0 else end], self.position - start
        first = max(0, min(at - width // 2, len(line) - width))
        shown = "".join(char if char.isprintable() else " " for char in line[first : first + width])
        return f"{shown}\n{' ' * (at - first)}^"


def refused(prompt: str, position: int, what: str, got: Any, allowed: str, remedy: str) -> PromptRefused:
    """Return the error for a place of a prompt, in the usual words; -1: it is beside the prompt."""
    return refusal_of(complaint(what, got, allowed, remedy), prompt, position)


def refusal_of(message: str, prompt: str, position: int) -> PromptRefused:
    """Return the error for a place of a prompt; -1: it is beside the prompt, and no place of it is shown."""
    return PromptRefused(message, prompt, position) if position >= 0 else PromptRefused(message)
