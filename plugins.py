"""Find the modules of a folder of which every module is one thing of its kind: a backend, a solver.

Listing the folder finds them, so that to add one is to add a file. A module is loaded only when it is used. Standard
library only: `salon --help` lists the names.
"""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Plugins(Generic[T]):
    """The modules of a package's folders.

    Args:
        kind: the kind of thing that each module is, for messages.
        package: name of the package.
        path: its folders (`__path__`). Call `forget` after adding one.
        first: the name that is listed first, as the default; "": there is none.
    """

    def __init__(self, kind: str, package: str, path: Sequence[str], first: str = "") -> None:
        self._kind, self._package, self._path, self._first = kind, package, path, first
        self._names: tuple[str, ...] | None = None
        self._folders: dict[str, str] = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of all modules, the default first. Raise ValueError if two have one name."""
        if self._names is None:
            found: dict[str, str] = {}
            for folder in self._path:
                for module in pkgutil.iter_modules([folder]):
                    if module.name in found:
                        where = f"{found[module.name]} and {folder}"
                        raise ValueError(f"{self._kind} {module.name!r}: got two, in {where}, want one; rename one")
                    found[module.name] = folder
            self._folders = found
            self._names = (*filter(None, [self._first]), *sorted(found.keys() - {self._first}))
        return self._names

    def get(self, name: str) -> T:
        """Return the module called `name`.

        Raise ValueError if it does not exist, and ImportError if it lacks a package.
        """
        if name not in self.names():
            raise ValueError(f"{self._kind}: got {name!r}, want one of {', '.join(self.names())}")
        module: Any = import_module(f".{name}", self._package)
        return cast(T, module)

    def constant(self, name: str, what: str) -> Any:
        """Return what a module says of itself, read from its text: nothing is loaded for a line of help.

        Args:
            name: of the module.
            what: name of a literal in it, such as "HELP".

        Raises:
            ValueError: there is no such module, or no such literal in it.
        """
        self.names()
        folder = self._folders.get(name)
        if folder is None:
            raise ValueError(f"{self._kind}: got {name!r}, want one of {', '.join(self.names())}")
        file = Path(folder, f"{name}.py")
        file = file if file.is_file() else Path(folder, name, "__init__.py")
        for node in ast.parse(file.read_text("utf-8"), str(file)).body:
            if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == what for to in node.targets):
                return ast.literal_eval(node.value)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == what:
                return ast.literal_eval(node.value) if node.value is not None else None
        raise ValueError(f"{self._kind} {name!r}: got no {what}, want a literal; add it to {file}")

    def constants(self, what: str) -> dict[str, Any]:
        """Return what each module that has a literal of a name says in it, by module; see `constant`."""
        found = {}
        for name in self.names():
            try:
                found[name] = self.constant(name, what)
            except ValueError:  # it may be left out
                continue
        return found

    def forget(self) -> None:
        """Forget the list, so that the next use lists the folders anew."""
        self._names = None


@cache
def folder(kind: str, package: str, first: str = "") -> Plugins[Any]:
    """Return the modules of one of Salon's folders, always as the same object.

    A module of a lower floor gets the names by this, without loading anything of the folder.

    Args:
        kind, first: as of `Plugins`.
        package: of the folder, like "salon.engine.solvers".
    """
    return Plugins(kind, package, [str(Path(__file__).parent.joinpath(*package.split(".")[1:]))], first)
