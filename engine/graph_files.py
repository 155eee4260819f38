"""Write recorded graphs with their weights, where there is room: for runtimes that read them, and to keep."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import complaint
from ..system import explain, in_memory
from .errors import OutputError
from .memory import free_memory

if TYPE_CHECKING:
    from ..kernels.onnx.recording import Progress, Recording

PREFIX: Final = "salon-graph-"  # of temporary folders
PLACE: Final = "TMPDIR"  # the variable that names their place


def write_graphs(
    recordings: Mapping[Path, Recording],
    data: Path,
    progress: Progress | None = None,
    *,
    what: str,
    by: str,
) -> dict[Path, dict[str, Any]]:
    """Write graphs as `kernels.onnx.recording.write` does, once it is known that their folder has room for them.

    Args:
        what: how a refusal calls the folder.
        by: how the user names another.

    Raises:
        OutputError: the folder has no room for the weights, or cannot be written. Nothing is left in it.
    """
    from ..kernels.onnx.recording import size_of, write

    wanted = size_of(recordings.values())
    try:
        free, held = shutil.disk_usage(data.parent).free, free_memory() if in_memory(data.parent) else None
        least = free if held is None else min(free, held)
        if least < wanted:
            where = "" if least == free else " of memory, where that folder is"
            got, remedy = f"{least:,} bytes free{where}", f"make room there, or choose another folder ({by})"
            raise OutputError(complaint(what, got, f"{wanted:,} for the graph's weights", remedy))
        return write(recordings, data, progress)
    except BaseException as error:
        for path in (*recordings, data):
            with suppress(OSError):
                path.unlink()
        if isinstance(error, OSError):
            advice = explain(error)
            allowed = f"{advice.allowed} ({wanted:,} bytes of weights)"
            raise OutputError(complaint(what, advice.got, allowed, f"{advice.remedy} ({by})")) from error
        raise


@contextmanager
def graph_file(recording: Recording) -> Iterator[Path]:
    """Write a graph to a temporary folder, which is deleted after the block.

    A runtime that maps the file of weights keeps its space until it is closed.

    Raises:
        OutputError: there is no room for its weights, or no folder for temporary files.
    """
    try:
        place = tempfile.TemporaryDirectory(prefix=PREFIX)
    except OSError as error:
        advice = explain(error)
        what = f"temporary folder {error.filename}" if error.filename else "temporary folder"
        raise OutputError(complaint(what, advice.got, advice.allowed, f"{advice.remedy} ({PLACE})")) from error
    with place as name:
        path, root = Path(name) / "step.onnx", Path(name).parent
        what = f"temporary folder {root}"
        write_graphs({path: recording}, path.with_name("weights.data"), what=what, by=PLACE)
        yield path
