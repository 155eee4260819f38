"""Check a transformer's heads, whose width the shapes of a file say, and how it is divided by the rotation they do not.

All models of a family have heads of one width, with the same columns for each axis. So a file of another width needs a
config that says the columns: beside a file in diffusers' layout one can stand, for the originals there is none.
"""

from __future__ import annotations

from typing import Final

from ..errors import UnknownArchitecture
from ..tensor_file import TensorFile
from .lone import not_in_shapes
from .renamed import shape_of

ENTRY: Final = "axes_dims_rope"  # of most configs


def heads_of(file: TensorFile, norm: str, width: int, family: str) -> tuple[int, int]:
    """Return the columns of a head, and how many heads there are.

    Args:
        norm: the array that is as wide as a head.
        width: columns of all heads together.
        family: its name, for errors.

    Raises:
        MissingKey, WrongShape: as `shape_of`.
        UnknownArchitecture: the heads do not fill the width.
    """
    (head,) = shape_of(file, norm, 1)
    if width % head:
        raise UnknownArchitecture(
            "head width", path=file.path, key=norm, expected=f"a divisor of {width}", found=str(head),
            remedy=f"the file is no transformer of {family}: take another",
        )  # fmt: skip
    return head, width // head


def unknown_axes(file: TensorFile, norm: str, head: int, known: int, entry: str = ENTRY) -> UnknownArchitecture | None:
    """Return the error of a file in diffusers' layout whose columns by axis only a config says; None: they are known.

    Args:
        norm: the array that is as wide as a head.
        known: the width of a head of which they are.
        entry: the config's name for them.
    """
    if head == known:
        return None
    what = f"columns of a head for each axis of the rotation ({entry})"
    return not_in_shapes(file, norm, what, _heads(head), "transformer")


def want_head(file: TensorFile, norm: str, head: int, known: int, whose: str, found: str = "") -> None:
    """Raise UnknownArchitecture for an original file whose heads have not the width that is known.

    Args:
        norm: the array that is as wide as a head.
        whose: whose width that is: "as all of FLUX.2 have it".
        found: what the file has, in words; "": its heads.
    """
    if head != known:
        raise UnknownArchitecture(
            "head width", path=file.path, key=norm, expected=f"{known}, {whose}", found=found or _heads(head),
            remedy="use a folder in diffusers' layout, whose config.json says more",
        )  # fmt: skip


def _heads(head: int) -> str:
    return f"heads of {head} columns"
