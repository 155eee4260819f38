"""Where pictures go: names, a check before any work is done, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..engine.errors import OutputError

DEFAULT_FOLDER: Final = "outputs"
_SLUG_CHARS: Final = 40


def slug(prompt: str) -> str:
    """A file name's worth of a prompt: lower-case words joined by dashes, at most 40 characters."""
    words = re.findall(r"\w+", prompt.lower())
    text = words[0][:_SLUG_CHARS] if words else "picture"
    for word in words[1:]:
        if len(text) + 1 + len(word) > _SLUG_CHARS:
            break
        text += f"-{word}"
    return text


@dataclass(frozen=True)
class Destination:
    """A set of files that are written together: STEM.png, and STEM-1.png, ... where there are several pictures.

    Attributes:
        folder: where.
        stem: of the names.
        fixed: the user chose the name: it is that or nothing. Otherwise a taken name is numbered: STEM-run2.png.
        force: a fixed name may be overwritten.
        images: pictures; more than one make a grid, too.
    """

    folder: Path
    stem: str
    fixed: bool
    force: bool
    images: int

    @classmethod
    def of(cls, output: str | None, stem: str, images: int, *, force: bool = False) -> Destination:
        """From what the user wrote: None (the folder "outputs" here), a folder, or a name that ends in .png.

        Raises:
            OutputError: a folder that does not exist or cannot be looked into, another kind of file, a name that is
                too long, or a file that exists (without `force`).
        """
        try:
            return cls._of(output, stem, images, force=force)
        except OSError as error:  # of `Path.is_dir` and the like, which take only some for "no"
            raise _refusal(error.filename or output or "", error.strerror or str(error), "choose another") from error

    @classmethod
    def _of(cls, output: str | None, stem: str, images: int, *, force: bool) -> Destination:
        if output is None:
            return cls(Path(DEFAULT_FOLDER), stem, False, False, images)
        if not output:
            raise _refusal(output, "no name at all", "drop -o, or say where")
        path = Path(output)
        if path.is_dir():
            if force:
                raise _refusal(output, "a folder with --force", "drop --force: names in a folder are numbered")
            return cls(path, stem, False, False, images)
        if output.endswith(os.sep) or not path.parent.is_dir():
            folder = path if output.endswith(os.sep) else path.parent
            state = "a file, not a folder" if folder.exists() else "a folder that does not exist"
            raise _refusal(folder, state, f"choose another, or make it: mkdir -p '{folder}'")
        if path.suffix.lower() != ".png":
            raise _refusal(output, "no folder, and no name ending in .png", "add .png, or make the folder first")
        self = cls(path.parent, path.stem, True, force, images)
        taken = next((name for name in self.paths() if os.path.lexists(name)), None)
        if taken is not None and not force:
            raise _refusal(taken, "a file that exists", "choose another name, or pass --force to overwrite it")
        return self

    def paths(self, run: int = 1) -> list[Path]:
        """The files of the run: the one picture, or the grid and then the pictures."""
        stem = self.stem if run == 1 else f"{self.stem}-run{run}"
        names = [stem] if self.images == 1 else [stem, *(f"{stem}-{i + 1}" for i in range(self.images))]
        return [self.folder / f"{name}.png" for name in names]

    def check(self, size: int) -> None:
        """Make sure that files of `size` bytes in all can be written, by reserving them for a moment.

        Raises:
            OutputError: no right to write there, no space, a name too long.
        """
        with self._translated():
            # The default folder comes into being when there is something to put there.
            folder = self.folder if os.path.lexists(self.folder) else self.folder.parent
            longest = os.pathconf(folder, "PC_NAME_MAX")
            for path in self.paths():
                if len(os.fsencode(path.name)) > longest:
                    raise _refusal(path.name, f"a name over {longest} bytes", "choose a shorter one")
            temporary = _temporary(folder)
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                try:
                    os.posix_fallocate(descriptor, 0, max(1, size))
                finally:
                    os.close(descriptor)
            finally:
                temporary.unlink(missing_ok=True)

    def write(self, contents: Sequence[bytes]) -> list[Path]:
        """Write the files, in the order of `paths()`: all of them, or on any error none. Returns their paths.

        Raises:
            OutputError: as `check`, or a fixed name was taken meanwhile.
        """
        assert len(contents) == len(self.paths())
        temporaries = [_temporary(self.folder) for _ in contents]
        with self._translated():
            if not self.fixed:
                self.folder.mkdir(exist_ok=True)
            try:
                for path, content in zip(temporaries, contents, strict=True):
                    _write_durably(path, content)
                paths = self._publish(temporaries)
                _sync_folder(self.folder)
                return paths
            finally:
                for path in temporaries:
                    path.unlink(missing_ok=True)

    def _publish(self, temporaries: Sequence[Path]) -> list[Path]:
        if self.force:
            for temporary, path in zip(temporaries, self.paths(), strict=True):
                os.replace(temporary, path)
            return self.paths()
        for run in itertools.count(1):
            paths = self.paths(run)
            if any(os.path.lexists(path) for path in paths) and not self.fixed:
                continue
            done: list[Path] = []
            try:
                for temporary, path in zip(temporaries, paths, strict=True):
                    _appear(temporary, path)
                    done.append(path)
                return paths
            except BaseException as error:
                for path in done:
                    path.unlink(missing_ok=True)
                if not isinstance(error, FileExistsError) or self.fixed:
                    raise
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            remedies = {
                "FileExistsError": "choose another name",
                "PermissionError": "choose another folder with -o, or change its rights",
                "NotADirectoryError": "choose another folder with -o",
            }
            remedy = remedies.get(type(error).__name__, "free some space, or choose another folder with -o")
            raise _refusal(self.folder, f"cannot be written ({error.strerror})", remedy) from error


def _temporary(folder: Path) -> Path:
    return folder / f".salon-{secrets.token_hex(8)}.tmp"


def _appear(temporary: Path, path: Path) -> None:
    """Give a finished file its name, which must not exist: FileExistsError."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links; the check and the rename are two steps there
        if os.path.lexists(path):
            raise FileExistsError(17, os.strerror(17), str(path)) from None
        os.rename(temporary, path)


def _write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refusal(what: str | Path, got: str, remedy: str) -> OutputError:
    return OutputError(f"output {str(what)!r}: {got}; {remedy}")
