"""Say how the methods of a studio check what a program hands them."""

from __future__ import annotations

from typing import Any, Final

from ..engine.errors import SpecError
from ..engine.limits import Limits
from ..engine.lora_rules import LoraRules
from ..engine.spec import GenerationSpec
from ..engine.words import Words
from ..given import (
    Arguments,
    Read,
    called_with,
    each_of,
    items_of,
    name_of_file,
    names_and_values,
    one_of_class,
    plain_text,
    with_members,
)
from ..scheduler.policy import Policy
from ..scheduler.prices import Work
from ..values import number_of, text_of
from .scheduling.billing import Billing
from .workers.process import Deadlines


def _pair(value: Any) -> tuple[Any, ...] | None:
    items = items_of(value)  # as they are: messages show 2:1, and not 2.0:1.0
    return None if items is None or len(items) != 2 or None in map(number_of, items) else items


def _one_or_several(read: Read) -> Read:
    return lambda value: each_of(read)(value) if read(value) is None else value


ARGUMENTS: Final = Arguments(
    SpecError,
    {
        "prompt: str": ("text", text_of),  # the engine says what of it cannot be read
        "tuple[float, float]": ("two numbers, width and height", _pair),
        "Mapping[str, NDArray[Any]]": ("arrays by name", names_and_values),
        "GenerationSpec": ("a spec, as `make_spec` returns it", one_of_class(GenerationSpec)),
        "str | Sequence[str]": ("a list of devices' names", _one_or_several(plain_text)),
        "Sequence[str | Path]": ("a list of paths", _one_or_several(name_of_file)),
        "Sequence[WorkerClient]": (
            "a list of workers, each with `name`, `start`, `send` and `close`",
            each_of(with_members("name", "start", "send", "close")),
        ),
        "Limits": ("Limits", one_of_class(Limits)),
        "Policy": ("a Policy of the scheduler", one_of_class(Policy)),
        "Deadlines": ("Deadlines", one_of_class(Deadlines)),
        "Billing": ("a Billing, the accounts of a studio", one_of_class(Billing)),
        "Work": ("a Work of the price list", one_of_class(Work)),
        "ReadsPrompts": ("what reads prompts, with `max_chars` and `read`", with_members("max_chars", "read")),
        "Words": ("Words of the model", one_of_class(Words)),
        "LoraRules": ("LoraRules of the model", one_of_class(LoraRules)),
        "OnProgress": called_with("job", "step", "steps"),
        "OnPreview": called_with("job", "step", "pictures"),
        "OnEnd": called_with("job"),
    },
)
