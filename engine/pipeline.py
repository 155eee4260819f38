"""Compare what model_index.json says of a model with what Salon does with it.

The index names a class for the pipeline and one for each component. An unknown class could be a model that is used in
another way than Salon uses it. So Salon compares every class, and refuses by name what it does not implement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from .checkpoint import Checkpoint
from .config import Config
from .errors import UnknownArchitecture, WrongConfig
from .weight_files import or_whole

APART: Final = {  # start of a component's name -> the way to name it apart
    "vae": "name it with --vae, a file or a folder",
    "text_encoder": "name it with --text-encoder, a file or a folder",
    "tokenizer": "name its folder with --text-encoder too",
}
Classes: TypeAlias = tuple[str, Collection[str]]  # (library, those of its classes that Salon implements)


def want_components(checkpoint: Checkpoint, read: Mapping[str, Classes], unread: Mapping[str, str]) -> None:
    """Check the components that model_index.json names.

    Args:
        read: component -> its classes that Salon implements, for every component that is read.
        unread: component that Salon does not read -> why the picture does not depend on it.

    Raises:
        UnknownArchitecture: a component is of another class, or the pipeline has no such component or setting.
        WrongConfig: a component that is read is missing.
    """
    index = index_of(checkpoint)
    assert index.architecture, "the pipeline's own class is compared by `families.family_of`"
    for name, (library, classes) in read.items():
        if name not in checkpoint.components:
            known = ", ".join(checkpoint.components) or "none"
            way = next((way for start, way in APART.items() if name.startswith(start)), None)
            expected = None if way is None else f"a {library} component, {' or '.join(classes)}"
            if way is not None and (more := [each for each in _apart(read) if each not in checkpoint.components][1:]):
                way += f"; {', '.join(more)} {'is' if len(more) == 1 else 'are'} missing as well"
            if way is not None:
                way += or_whole(checkpoint.path)
            raise WrongConfig(
                "missing component", path=index.path, key=name, expected=expected, found=known, remedy=way
            )
        given = checkpoint.index[name]
        if given[0] != library or given[1] not in classes:
            expected = " or ".join(f"{library}'s {kind}" for kind in classes)
            index.refuse(name, expected, given, UnknownArchitecture)
    absent = {name: "null" for name, entry in checkpoint.index.items() if entry == [None, None]}
    index.finish({**unread, **absent, **dict.fromkeys(read, "compared above")})


def _apart(names: Iterable[str]) -> Iterator[str]:
    """Yield the components that can be named apart."""
    return (name for name in names if name.startswith(tuple(APART)))


def index_of(checkpoint: Checkpoint) -> Config:
    """Return model_index.json as a `Config`, which is read key by key."""
    file = checkpoint.path if checkpoint.path.is_file() else checkpoint.path / "model_index.json"
    return Config(file, checkpoint.index)
