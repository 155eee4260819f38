"""The resolved request: what a prompt asks for, with every default filled in and where each value came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import gcd
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...parameters.known import parameters
from ...parameters.language.options import as_typed
from ...parameters.language.printing import printed
from ...parameters.language.prompt import Prompt, Said, Term
from ...parameters.pictures import Named

if TYPE_CHECKING:
    from ...engine.spec import GenerationSpec

OF_SPEC = ("seed", "steps", "guidance_scale", "solver", "shift", "width", "height")


class Source(StrEnum):
    """Where a value came from, first come first."""

    TYPED = "typed"
    PRESET = "preset"
    SUFFIX = "suffix"
    SETTINGS = "settings"
    PICTURE = "picture"  # that the job starts from, and its kind
    MODEL = "model"
    DEFAULT = "default"


@dataclass(frozen=True)
class Value:
    """A parameter's value as data, and where it came from."""

    name: str
    value: Any
    source: Source


@dataclass(frozen=True)
class ResolvedRequest:
    """A request.

    Attributes:
        terms: its words; the first one's are the prompt of its spec.
        pictures: that it begins with.
        values: of parameters, by name.
    """

    terms: tuple[Term, ...]
    pictures: tuple[Named, ...]
    values: Mapping[str, Value]

    @property
    def text(self) -> str:
        """Its words, without weights."""
        return self.terms[0].text if self.terms else ""

    @property
    def lane(self) -> str:
        """The lane that is asked for."""
        return str(self.values["lane"].value)

    @property
    def private(self) -> bool:
        """Whether its pictures are hidden from other accounts."""
        return bool(self.values["private"].value)

    @property
    def fields(self) -> dict[str, Any]:
        """What `make_spec` takes beside the text; the model's own values are left to it."""
        known = parameters()
        said = {name: each.value for name, each in self.values.items() if each.source is not Source.MODEL}
        return {name: value for name, value in said.items() if name not in known or not known[name].of_job}

    def fields_for(self, default_style: bool) -> dict[str, Any]:
        """Return `fields`, for a model without a default style without the strength of one that only defaults name."""
        fields, stylize = self.fields, self.values.get("stylize")
        if not default_style and stylize is not None and stylize.source is Source.DEFAULT:
            del fields["stylize"]
        return fields

    def completed(self, spec: GenerationSpec, *, remade: bool = False) -> ResolvedRequest:
        """Return the request with the values that its spec has from the model, or, if something of a picture is remade,
        from that; and with the seed that was drawn for it."""
        values, left = dict(self.values), Source.PICTURE if remade else Source.MODEL
        for name in (*OF_SPEC, "images"):
            if name not in values and (value := getattr(spec, name)) is not None:
                values[name] = Value(name, value, Source.DEFAULT if name == "seed" else left)
        if "aspect" not in values:
            unit = gcd(spec.width, spec.height)
            values["aspect"] = Value("aspect", (spec.width / unit, spec.height / unit), left)
        else:
            for name in ("width", "height"):
                values[name] = replace(values[name], source=self.values["aspect"].source)
        terms = self.terms or ((Term(spec.prompt),) if remade else ())
        return replace(self, terms=terms, values=MappingProxyType(values))

    def with_data(self, name: str, value: Any) -> ResolvedRequest:
        """Return the request with another value of a parameter that it says, from where that came."""
        return replace(self, values=MappingProxyType({**self.values, name: replace(self.values[name], value=value)}))

    def prompt(self, *, all_values: bool = False) -> Prompt:
        """Return it as what a prompt says: what was typed or comes from the account, or all values."""
        said = {}
        for name, each in self.values.items():
            parameter = parameters().get(name)
            if parameter is None or not parameter.all_flags or (each.value is False and not parameter.of_job):
                continue
            if all_values or each.source in (Source.TYPED, Source.PRESET, Source.SUFFIX, Source.SETTINGS):
                said[name] = Said(name, parameter.label, as_typed(name, each.value))
        return Prompt(self.terms, MappingProxyType(said), self.pictures)

    def printed(self, *, all_values: bool = False) -> str:
        """Return it as a prompt, which says the same: what was typed or comes from the account, or all values."""
        return printed(self.prompt(all_values=all_values))
