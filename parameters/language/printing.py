"""What a prompt says, as text that is read as the same again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from ..errors import PromptRefused
from ..kinds import Switch, Words, plain_number
from ..known import Parameter, parameters
from ..pictures import named
from .prompt import Prompt, Said, Term
from .reading import parse
from .tokens import Kind, Token, tokens_of

_SPECIAL: Final = re.compile(r'[\\{}"“”—–－:]|-(?=-)|_(?=_)|(?<=_)_|(?<=-)-')
_SAFE: Final = re.compile(r"[\w./@%+~#=:-]+")
_Escape = Callable[[str], str]


def printed(prompt: Prompt) -> str:
    """Return a prompt as text. `parse` of it says the same; characters are marked as plain only where they have to be.
    Parameters stand in the order of the list."""
    plain = _assembled(prompt, lambda text: text)
    try:
        if parse(plain) == (prompt,):
            return plain
    except PromptRefused:
        pass
    return _assembled(prompt, escaped)


def joined(prompts: Sequence[Prompt]) -> str:
    """Return several prompts as one that stands for them, in their order."""
    if len(prompts) == 1:
        return printed(prompts[0])
    choices = ["".join(_within_braces(token) for token in tokens_of(printed(prompt))) for prompt in prompts]
    return "{" + ", ".join(choices) + "}"


def _within_braces(token: Token) -> str:
    return f"\\{token.text}" if token.kind is Kind.COMMA else token.text


def escaped(text: str) -> str:
    """Return words of a prompt with everything that could mean something marked as plain."""
    first = text.split(maxsplit=1)[:1]
    marked = _SPECIAL.sub(r"\\\g<0>", text)
    return f"\\{marked}" if marked == text and first and _means_more(first[0]) else marked


def print_said(one: Said, escape: _Escape = escaped) -> str:
    """Return a parameter with its value as text; empty where it has no flag that says so."""
    parameter = parameters()[one.name]
    is_switch = isinstance(parameter.kind, Switch)
    if parameter.flags and not is_switch:
        return f"{parameter.flags[0]} {_value(parameter, one, escape)}".strip()
    if parameter.flags and one.value:
        return parameter.flags[0]
    spellings = (each for each in parameter.spellings if each.value == one.value)
    return next((f"{each.flag} {each.word}".strip() for each in spellings), "")


def _assembled(prompt: Prompt, escape: _Escape) -> str:
    parts = [picture.source for picture in prompt.pictures]
    if len(prompt.terms) == 1 and prompt.terms[0].weight == 1:
        parts.append(_term(prompt.terms[0], escape))
    else:
        parts += [f"{_term(term, escape)}::{plain_number(term.weight)}" for term in prompt.terms]
    order = {name: place for place, name in enumerate(parameters())}
    parts += [print_said(one, escape) for one in sorted(prompt.said.values(), key=lambda one: order[one.name])]
    return " ".join(filter(None, parts))


def _term(term: Term, escape: _Escape) -> str:
    parts, at = [], 0
    for hole in term.holes:
        parts += [escape(term.text[at : hole.start]), term.text[hole.start : hole.end]]
        at = hole.end
    return "".join([*parts, escape(term.text[at:])])


def _value(parameter: Parameter, one: Said, escape: _Escape) -> str:
    kind = parameter.kind
    if isinstance(kind, Words) and kind.to_end:
        return escape(kind.write(one.value))
    words = [kind.write((each,)) for each in one.value] if kind.many else [kind.write(one.value)]
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if _SAFE.fullmatch(word) and not word.startswith("-") and "--" not in word:
        return word
    return '"' + re.sub(r'(["\\])', r"\\\1", word) + '"'


def _means_more(word: str) -> bool:
    """Return whether words that begin with this one would be read as more than words."""
    return named(word) is not None or word[:1].isdigit() or word[:1] in "+-."
