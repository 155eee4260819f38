"""Read a denoiser's file in diffusers' own layout, as it is when it was copied out of a model's folder.

Its arrays have the architecture's own names. What their shapes say of the config is certain. The rest is taken from
the folder of a whole model: the one that the file lies in, or one that is named beside it for its other parts. Where
there is none, it is what all models of the family have; and where these differ, the file is refused.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from ..checkpoint import Checkpoint, hash_files
from ..config import QUANTIZED, Config, read_json
from ..errors import UnknownArchitecture, WrongConfig
from ..tensor_file import TensorFile
from ..weight_files import CONFIG, INDEX, folder_of
from .renamed import FileComponent, Piece, settings_hash

NAME: Final = "diffusion_pytorch_model"  # how diffusers begins the name of such a file, which says nothing of the model


class LoneDenoiser(FileComponent):
    """A denoiser whose weights lie in one file, in diffusers' layout.

    Args:
        kind: (library, class), as model_index.json would say.
        prefix: what stands before the names of its arrays.
        exact: what the shapes say of config.json.
        usual: what else all models of the family have there, where no folder says it.
        read: reads the family's config, and raises for one that does not fit.
        same: whether two configs that were read mean arrays of the same shapes.
        unknown: the error to raise where no folder says what the shapes do not; None: `usual` says it.
        nameless: whether the file leaves open which of several models of the same shapes it is, also by its name. Then
            the folder that says the rest of the config says this too.
        pieces: its arrays under the architecture's names; None: all that begin with the prefix, without it.
    """

    def __init__(
        self,
        name: str,
        kind: tuple[str, str],
        file: TensorFile,
        prefix: str,
        exact: Mapping[str, Any],
        usual: Mapping[str, Any],
        read: Callable[[Config], Any],
        *,
        same: Callable[[Any, Any], bool] = operator.eq,
        unknown: UnknownArchitecture | None = None,
        nameless: bool = True,
        pieces: Mapping[str, Piece] | None = None,
    ) -> None:
        own = {key[len(prefix) :]: Piece(key) for key in file.tensors if key.startswith(prefix)}
        certain = {"_class_name": kind[1], **exact}
        super().__init__(name, kind, file, own if pieces is None else pieces, {**usual, **certain})
        self.nameless = nameless
        self._exact, self._read, self._same, self._unknown = certain, read, same, unknown
        self._given: Config | None = None

    @cached_property
    def config(self) -> Config:
        """See `Component`: that of the folder that was taken, or what the shapes say.

        Raises:
            UnknownArchitecture: neither says all of it.
        """
        if self._given is not None:
            return self._given
        if self._unknown is not None:
            raise self._unknown
        return Config(self.path, self._values)

    @cached_property
    def content_hash(self) -> str:
        """See `Component`: of the file, and of a config that it does not say."""
        own = hash_files(self.path.parent, [self.path])
        if self._given is None or self._says_no_more(self._given):
            return own
        return settings_hash({"file": own, "config": dict(self._given.values)})

    def _says_no_more(self, given: Config) -> bool:
        """Return whether a config means what the file alone does."""
        if self._unknown is not None:
            return False
        alone = self._read(Config(self.path, self._values))
        return bool(self._same(alone, self._read(given)))

    def take(self, given: Config) -> bool:
        """Take a config, if it is one of arrays like these. Return whether it is.

        Raises:
            WrongConfig, UnknownArchitecture: it is of this class, but says what Salon does not read.
        """
        if given.values.get("_class_name") != self._exact["_class_name"]:
            return False
        theirs = self._read(given)
        try:
            mine = self._read(Config(given.path, {**given.values, **self._exact}))
        except (WrongConfig, UnknownArchitecture):
            return False
        if not self._same(theirs, mine):
            return False
        self._given = Config(given.path, given.values)
        return True


def complete(checkpoint: Checkpoint, pipelines: Collection[str], folders: Sequence[Path]) -> None:
    """Give a file of a denoiser in diffusers' layout what the folder of a whole model says of it.

    Its config is taken from the first folder that is of such a model. If the file leaves open which of several models
    it is, it stands in place of that folder's denoiser: it draws by the scheduler and the settings of the folder.

    Args:
        pipelines: classes of the family, which the folder's index may name.
        folders: where the other parts lie.

    Raises:
        CheckpointError: a folder says of the denoiser what Salon does not read.
    """
    lone = next((each for each in checkpoint.components.values() if isinstance(each, LoneDenoiser)), None)
    if lone is None:
        return
    home = folder_of(lone.path)
    for path in (*(() if home is None else (home,)), *(each for each in folders if (each / INDEX).is_file())):
        whole = Checkpoint(path)
        if whole.index.get("_class_name") not in pipelines:
            continue
        file = path / lone.name / CONFIG
        if lone.name in whole.components and file.is_file() and lone.take(_config(file, own=path == home)):
            if lone.nameless:
                checkpoint.stand_in(whole)
            return
    beside = lone.path.parent / CONFIG
    if beside.is_file():
        lone.take(_config(beside, own=True))


def _config(file: Path, *, own: bool) -> Config:
    """Read a config. Of another's weights it does not matter that these are quantised."""
    values = read_json(file)
    return Config(file, values if own else {key: value for key, value in values.items() if key != QUANTIZED})


def says_nothing(path: Path) -> bool:
    """Return whether a file's name is one that diffusers gives to the denoiser of every model."""
    return path.name.startswith(NAME)


def not_in_shapes(file: TensorFile, key: str, what: str, found: str, part: str) -> UnknownArchitecture:
    """Return the error of a config that shapes do not say.

    Args:
        key: the array that tells that it is such a model.
        what: the entry of the config, in words.
        found: what the array tells.
        part: the component's folder in a model.
    """
    return UnknownArchitecture(
        f"{what} not known", path=file.path, key=key, expected=f"a {CONFIG} that says it, since no shape does",
        found=found, remedy=f"name the folder of the model that it is of with --vae, whose {part}/{CONFIG} is read "
        f"too, or put that {CONFIG} beside the file",
    )  # fmt: skip
