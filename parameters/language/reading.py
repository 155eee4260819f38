"""The prompt language: text to prompts, and back (`printing.py`).

    text -> tokens.py -> permutations.py -> grammar.py, terms.py -> prompt.py

Everything that is read keeps its place, and every refusal is a PromptRefused that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from ...bounds import MAX_JOBS
from ..errors import PromptRefused, refused
from . import grammar
from .permutations import expand
from .prompt import Prompt, Said
from .tokens import tokens_of

NOTHING: Mapping[str, Said] = MappingProxyType({})


def parse(prompt: str, most: int = MAX_JOBS, options: Mapping[str, Said] = NOTHING) -> tuple[Prompt, ...]:
    """Return all prompts that a prompt stands for, in order, without `--repeat`: each is there as often as that says.

    Args:
        prompt: as it was typed.
        most: prompts that are allowed.
        options: what is said beside the prompt, by the parameters' names. It means the same as within.

    Raises:
        PromptRefused: it is not of the language, says something twice or otherwise than `options`, or stands for too
            many.
    """
    found: list[Prompt] = []
    for tokens in expand(prompt, tokens_of(prompt), most):
        one = _merged(grammar.read(prompt, tokens), options)
        repeat = one.said.get("repeat")
        times = 1
        if repeat is not None:
            times = repeat.value
            said = {name: said for name, said in one.said.items() if name != "repeat"}
            one = replace(one, said=MappingProxyType(said))
        if len(found) + times > most:
            got = f"{len(found) + times} prompts in one"
            place = 0 if repeat is None else repeat.position
            raise refused(prompt, place, "--repeat", got, f"up to {most}", "nothing was made; ask for fewer")
        found += [one] * times
    return tuple(found)


def parse_one(prompt: str) -> Prompt:
    """Return what a prompt says that stands for itself alone. PromptRefused, also for one that stands for several."""
    found = parse(prompt)
    if len(found) != 1:
        got = f"{len(found)} prompts in one"
        raise PromptRefused(f"prompt: got {got}, allowed one; write them one by one", prompt, 0)
    return found[0]


def _merged(prompt: Prompt, options: Mapping[str, Said]) -> Prompt:
    """Return a prompt with what is said beside it."""
    if not options:
        return prompt
    for name, one in prompt.said.items():
        if name in options and options[name].value != one.value:
            got = f"another value than {options[name].flag} beside the prompt"
            raise refused(prompt.source, one.position, one.flag, got, "one of them", "drop one")
    said = {**options, **prompt.said}
    grammar.check_conflicts(prompt.source, said)
    return replace(prompt, said=MappingProxyType(said))
