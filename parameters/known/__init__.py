"""Find the parameters of a request: every module of this folder brings some.

To add one is to add it to a module here, or to add a module with

    PARAMETERS: tuple[Parameter, ...]

Its names on the command line and on the wire, its range, its help and its page in the documentation follow from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple, Protocol

from ...errors import SalonError, complaint
from ...given import raising
from ...plugins import Plugins
from ..errors import ParameterError
from ..kinds import Kind, Value


@dataclass(frozen=True)
class Spelling:
    """A flag that stands for one value of a parameter.

    Attributes:
        flag: like `--relax`.
        value: that it stands for.
        word: that has to follow it; empty: none.
    """

    flag: str
    value: Value
    word: str = ""


@dataclass(frozen=True)
class Parameter:
    """One value that a request can state.

    Attributes:
        name: its name on the wire, in the client library and for `make_spec`.
        flags: its flags on the command line, the usual one first; empty: only programs can give it.
        kind: the kind of its values.
        help: its effect, in a few words.
        default: in words, the value that applies if the request states none.
        remedy: the way out if a value is out of range, as an instruction to the user.
        implies: the value that applies if a request of the command line or the wire states none; None: the model's own.
        spellings: flags that stand for one value each.
        conflicts: names of parameters that may not be said beside it; it need not be said of both.
        job_kinds: which kinds of jobs take it; (): all.
        families: which model families take it; (): all.
        lanes: in which lanes it may be used; (): all.
        missing: what has to be there before it can be used; a prompt may name it, and is then refused. Empty: nothing.
        of_job: it says how the job is done, and nothing of the pictures: `make_spec` does not take it.
    """

    name: str
    flags: tuple[str, ...]
    kind: Kind
    help: str
    default: str
    remedy: str = "correct it"
    implies: Value | None = None
    spellings: tuple[Spelling, ...] = ()
    conflicts: tuple[str, ...] = ()
    job_kinds: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    missing: str = ""
    of_job: bool = False

    def check(self, value: Any) -> Value:
        """Return a value that came as data, in its plain form. ParameterError: it is another, or out of range."""
        try:
            return self.kind.check(self.name, value, self.remedy)
        except (SalonError, MemoryError):
            raise
        except Exception as error:  # of a foreign class
            got = raising(value, error)
            raise ParameterError(complaint(self.name, got, self.kind.allowed, self.remedy)) from error

    @property
    def all_flags(self) -> tuple[str, ...]:
        """Every flag that says something of it."""
        return (*self.flags, *(spelling.flag for spelling in self.spellings))

    @property
    def dest(self) -> str:
        """Name of its value in the command line's namespace."""
        return self.flags[0].lstrip("-") if self.flags else self.name

    @property
    def label(self) -> str:
        """Name of the parameter in messages to people."""
        return self.flags[0] if self.flags else self.name


class Module(Protocol):
    """The names that a module of this folder defines."""

    PARAMETERS: tuple[Parameter, ...]


PLUGINS: Final[Plugins[Module]] = Plugins("parameters", __name__, __path__)


@cache
def parameters() -> dict[str, Parameter]:
    """Return all parameters by name, in the order of modules and of their tuples.

    Raises:
        ValueError: two parameters have one name or flag.
    """
    found: dict[str, Parameter] = {}
    taken: set[str] = set()
    for module in PLUGINS.names():
        for parameter in PLUGINS.get(module).PARAMETERS:
            names = {parameter.name, *parameter.all_flags}
            if twice := names & taken:
                got = f"{min(twice)} twice, the second in {module}"
                raise ValueError(complaint("parameters", got, "each name and flag once", "rename one"))
            taken |= names
            found[parameter.name] = parameter
    return found


class Flag(NamedTuple):
    """What a flag says: a parameter, perhaps one value of it."""

    parameter: Parameter
    spelling: Spelling | None


@cache
def flags() -> dict[str, Flag]:
    """Return all flags, with their dashes."""
    found: dict[str, Flag] = {}
    for parameter in parameters().values():
        found |= {flag: Flag(parameter, None) for flag in parameter.flags}
        found |= {spelling.flag: Flag(parameter, spelling) for spelling in parameter.spellings}
    return found


def checked(given: Any, *, known: dict[str, Parameter] | None = None) -> dict[str, Value]:
    """Return parameters that came as data, each in its range. Those that are None are left out.

    Raises:
        ParameterError: a name is unknown, or a value is out of range.
    """
    if known is None:
        known = {name: parameter for name, parameter in parameters().items() if not parameter.of_job}
    values: dict[str, Value] = {}
    for name, value in dict(given).items():
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(str(name), list(known), 1, 0.6)
            remedy = f"did you mean {near[0]}?" if near else "see docs/parameters.md"
            raise ParameterError(complaint("parameters", repr(name)[:60], "the names of parameters", remedy))
        if value is not None:
            if missing := known[name].missing:
                raise unmade(name, missing)
            values[name] = known[name].check(value)
    return values


def unmade(name: str, missing: str) -> ParameterError:
    """Return the error for a parameter that has a name, and not yet any effect."""
    return ParameterError(complaint(name, "it", "what this version can do", f"leave it out: it needs {missing}"))


def forget() -> None:
    """Forget the list of modules, so that the next use lists the folder anew."""
    PLUGINS.forget()
    parameters.cache_clear()
    flags.cache_clear()
