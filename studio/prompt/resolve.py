"""From what a prompt says to a request: the account's settings, the defaults, and what the model and the kind of job
allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from ...bounds import BLENDED, MAX_PROMPT, random_seed
from ...errors import SalonError, complaint
from ...parameters.errors import PromptRefused, refusal_of
from ...parameters.known import Parameter, parameters
from ...parameters.known.job import DRAFT
from ...parameters.language.data import NONE, data_of, pictures_of
from ...parameters.language.prompt import Prompt
from ...parameters.pictures import Form, Named, named
from ...parameters.request import fields_of
from .presets import Presets, no_presets
from .request import ResolvedRequest, Source, Value
from .settings import Settings, said_in
from .wildcards import Lists, filled, no_lists

OF_JOB: Final[Mapping[str, Any]] = MappingProxyType({"lane": "fast", "private": False})  # where nobody says
PRESET: Final = "preset"
TERMS, WEIGHT, PICTURES = "terms", "prompt_weight", "image_prompts"  # what is no parameter is handed on as these


@dataclass(frozen=True)
class Facts:
    """What a request has to know of its job and its model.

    Attributes:
        default_style: the model has a style of its own.
        family: of the model; empty: unknown, and every family's parameters are taken.
        job_kind: what is to be done.
        remakes: it makes something of pictures, or no pictures at all: what is not said is not filled in.
    """

    default_style: bool
    family: str = ""
    job_kind: str = "imagine"
    remakes: bool = False


def resolve(
    prompt: Prompt,
    facts: Facts,
    settings: Settings | None = None,
    *,
    digests: Mapping[str, str] = NONE,
    choose: Callable[[], int] = random_seed,
    lists: Lists = no_lists,
    presets: Presets = no_presets,
) -> ResolvedRequest:
    """Return the request of a prompt. What the model fills in, `ResolvedRequest.completed` adds.

    Args:
        prompt: one prompt, without permutations.
        facts: of job and model.
        settings: of the account.
        digests: of the files that the prompt names, by path.
        choose: called for every number that is to be random.
        lists: the words for `__name__`.
        presets: the parameters that a name stands for.

    Raises:
        PromptRefused: no words, or something that this model or kind of job does not take; it knows the place.
        ParameterError: the same in what does not come from the prompt.
    """
    _check_single(prompt, facts)
    typed = data_of(prompt, digests, choose)
    prompt = _with_pictures(prompt, typed.pop(PICTURES, ()), digests)
    _check_single(prompt, facts)
    sources = dict.fromkeys(typed, Source.TYPED)
    given: dict[str, Any] = dict(typed)
    further: list[tuple[Source, Mapping[str, Any]]] = []
    if (preset := given.pop(PRESET, None)) is not None:
        further.append((Source.PRESET, data_of(said_in(presets(preset), PRESET), NONE, choose)))
    if settings is not None:
        further.append((Source.SUFFIX, data_of(said_in(settings.suffix), NONE, choose)))
        further.append((Source.SETTINGS, settings.parameters))
    for source, more in further:
        for name, value in _fitting(more, given).items():
            given[name], sources[name] = value, source
    lane = DRAFT if given.get("draft") else OF_JOB["lane"]
    for name in given:
        _check(prompt, parameters()[name], facts, str(given.get("lane", lane)))
    if prompt.has_holes:
        given.setdefault("seed", choose())
        sources.setdefault("seed", Source.DEFAULT)
        prompt = filled(prompt, given["seed"], lists)
    _check_pictures(prompt, given, facts)
    _check_words(prompt, facts)
    known = parameters()
    if len(prompt.terms) > 1 and (said := given.keys() & {TERMS, WEIGHT}):
        got, remedy = f"it beside weights in the prompt ({min(said)})", "drop one"
        raise PromptRefused(complaint("prompt", got, "one of them", remedy), prompt.source, prompt.terms[1].position)
    if given.get("draft") and "lane" not in given:
        given["lane"], sources["lane"] = DRAFT, sources["draft"]
    of_job = {name: value for name, value in given.items() if known[name].of_job and name != "repeat"}
    fields = {name: value for name, value in given.items() if not known[name].of_job}
    if not facts.remakes:
        fields = fields_of(fields, facts.default_style and bool(prompt.terms))  # pictures alone look as they do
    if len(prompt.terms) > 1:
        fields[TERMS] = _handed_on(prompt, TERMS, tuple((term.text, term.weight) for term in prompt.terms[1:]))
        fields[WEIGHT] = prompt.terms[0].weight
    if prompt.pictures:
        fields[PICTURES] = _handed_on(prompt, PICTURES, tuple(picture.source for picture in prompt.pictures))
    values = {**OF_JOB, **of_job, **fields}
    sources |= dict.fromkeys((TERMS, WEIGHT, PICTURES), Source.TYPED)
    return ResolvedRequest(
        prompt.terms,
        prompt.pictures,
        MappingProxyType(
            {name: Value(name, value, sources.get(name, Source.DEFAULT)) for name, value in values.items()}
        ),
    )


def _fitting(more: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those values of an account that say something new, and contradict nothing that is said already."""
    known = parameters()
    found: dict[str, Any] = {}
    for name, value in more.items():
        against = {*known[name].conflicts, *(other for other in given if name in known[other].conflicts)}
        if name not in given and not against & {*given, *found}:
            found[name] = value
    return found


def _with_pictures(prompt: Prompt, beside: Any, digests: Mapping[str, str]) -> Prompt:
    """Return a prompt with its pictures by digest, also those that are said beside it. PromptRefused: both are."""
    if beside and prompt.pictures:
        text = complaint(PICTURES, "it beside pictures in the prompt", "one of them", "put all before the words")
        raise PromptRefused(text, prompt.source, 0)
    sources = beside or pictures_of(prompt, digests)
    return replace(prompt, pictures=tuple(named(each) or Named(each, Form.JOB) for each in sources))


def _check_pictures(prompt: Prompt, given: Mapping[str, Any], facts: Facts) -> None:
    """Refuse what contradicts the pictures before the words, or needs some."""
    none = not prompt.pictures and not facts.remakes
    for name, wrong, got, allowed, remedy in (
        ("image", bool(prompt.pictures), "it beside image prompts", "one of them", "drop one"),
        ("image_weight", none, "it without image prompts", "some", "put pictures before the words"),
        ("blend", given.get("blend") and bool(prompt.terms), "it with words", "pictures alone", "drop it"),
        (
            "blend", given.get("blend") and not BLENDED[0] <= len(prompt.pictures) <= BLENDED[1],
            f"{len(prompt.pictures)} pictures", f"{BLENDED[0]} to {BLENDED[1]}", "put them in place of words",
        ),
    ):  # fmt: skip
        if wrong and given.get(name) is not None:
            one = prompt.said.get(name)
            text = complaint(parameters()[name].label if one is None else one.flag, got, allowed, remedy)
            raise refusal_of(text, prompt.source, -1 if one is None else one.position)


def _check(prompt: Prompt, parameter: Parameter, facts: Facts, lane: str) -> None:
    one = prompt.said.get(parameter.name)
    flag = parameter.label if one is None else one.flag
    for what, has, takes in (
        ("a job of kind", facts.job_kind, parameter.job_kinds),
        ("a model of family", facts.family, parameter.families),
        ("the lane", lane, parameter.lanes),
    ):
        if takes and has and has not in takes:
            text = complaint(flag, f"it for {what} {has}", " or ".join(takes), "leave it out")
            raise refusal_of(text, prompt.source, -1 if one is None else one.position)


def _check_single(prompt: Prompt, facts: Facts) -> None:
    if not prompt.terms and len(prompt.pictures) == 1 and not facts.remakes:
        raise PromptRefused(
            "Cannot use a single image prompt without text: add text or a second image", prompt.source, 0
        )


def _check_words(prompt: Prompt, facts: Facts) -> None:
    if not prompt.terms and not prompt.pictures and not facts.remakes:
        text = complaint("prompt", "no words", "some words", 'write some, like "a red apple"')
        raise PromptRefused(text, prompt.source, 0)
    for term in prompt.terms:
        if len(term.text) > MAX_PROMPT:
            got = f"{len(term.text):,} characters"
            text = complaint("prompt", got, f"up to {MAX_PROMPT:,}", "shorten it")
            raise PromptRefused(text, prompt.source, term.position)


def _handed_on(prompt: Prompt, name: str, value: Any) -> Any:
    """Return what becomes a parameter though it is written as none. PromptRefused: this version has no such one."""
    parameter = parameters().get(name)
    what = "several prompts with weights" if name == TERMS else "pictures before the words"
    if parameter is None:
        text = complaint("prompt", what, "one without", "leave them out: this version cannot do that yet")
        raise PromptRefused(text, prompt.source, prompt.terms[-1].position if name == TERMS else 0)
    try:
        return parameter.kind.check(name, value, parameter.remedy)
    except SalonError as error:
        raise PromptRefused(str(error), prompt.source, 0) from error
