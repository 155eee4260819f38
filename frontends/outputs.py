"""Write pictures: choose names, check the place before any work, and let files appear whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..engine.errors import OutputError
from ..engine.text.clauses import is_mark, words_of
from ..system import appear, calling, explain, flush_file, flush_folder, make_folder, reserve
from .deferral import deferred

DEFAULT_FOLDER: Final = "outputs"
FORMATS: Final = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}  # by the end of a name
_SLUG_CHARS: Final = 40


def slug(prompt: str) -> str:
    """Make a part of a file name from a prompt: lower-case words joined by dashes, at most 40 characters."""
    words = words_of(unicodedata.normalize("NFKC", prompt).lower())
    text = _cut(words[0]) if words else "picture"
    for word in words[1:]:
        if len(text) + 1 + len(word) > _SLUG_CHARS:
            break
        text += f"-{word}"
    return text


def _cut(word: str) -> str:
    """Return the start of a long word, cut where a letter with its marks ends."""
    end = min(len(word), _SLUG_CHARS)
    while 0 < end < len(word) and is_mark(word[end]):
        end -= 1
    return word[:end]


@dataclass(frozen=True)
class Destination:
    """A set of files that are written together: STEM.png, and STEM-1.png, ... if there are several pictures.

    Attributes:
        folder: the folder of the files.
        stem: the beginning of their names.
        fixed: whether the user chose the name. If not, a name that is taken gets a number: STEM-run2.png.
        force: whether a file of the chosen name may be overwritten.
        images: number of pictures; more than one make a grid, too.
        suffix: the end of their names, one of `FORMATS` in small or capital letters.
    """

    folder: Path
    stem: str
    fixed: bool
    force: bool
    images: int
    suffix: str = ".png"

    @classmethod
    def of(cls, output: str | None, stem: str, images: int, *, force: bool = False) -> Destination:
        """Read what the user wrote: None (the folder "outputs" here), a folder, or a name with an end of `FORMATS`.

        A folder that does not exist yet, in one that does, is made with the pictures.

        Raises:
            OutputError: a folder of folders does not exist or cannot be looked into, another kind of file is there,
                the name is too long, or the file exists (without `force`).
        """
        try:
            return cls._of(output, stem, images, force=force)
        except OSError as error:  # `Path.is_dir` and the like answer "no" for some errors, and raise the others
            got, _, remedy = explain(error)
            raise _refusal(error.filename or output or "", got, remedy) from error

    @classmethod
    def _of(cls, output: str | None, stem: str, images: int, *, force: bool) -> Destination:
        if output is None:
            return cls(Path(DEFAULT_FOLDER), stem, False, False, images)
        if not output:
            raise _refusal(output, "no name at all", "drop -o, or say where")
        path = Path(output)
        if path.is_dir() or _is_new_folder(output):
            if force:
                raise _refusal(output, "a folder with --force", "drop --force: names in a folder are numbered")
            return cls(path, stem, False, False, images)
        if output.endswith(os.sep) or not path.parent.is_dir():
            folder = path if output.endswith(os.sep) else path.parent
            state = "a file, not a folder" if folder.exists() else "a folder that does not exist"
            raise _refusal(folder, state, f"choose another, or make it: mkdir -p '{folder}'")
        if path.suffix.lower() not in FORMATS:
            remedy = "add .png, or make the folder first"
            raise _refusal(output, "no folder, and no name ending in .png, .jpg, .jpeg or .webp", remedy)
        self = cls(path.parent, path.stem, True, force, images, path.suffix)
        taken = next((name for name in self.paths() if os.path.lexists(name)), None)
        if taken is not None and not force:
            raise _refusal(taken, "a file that exists", "choose another name, or pass --force to overwrite it")
        return self

    def paths(self, run: int = 1) -> list[Path]:
        """Return the files of the run: the one picture, or the grid and then the pictures."""
        stem = self.stem if run == 1 else f"{self.stem}-run{run}"
        names = [stem] if self.images == 1 else [stem, *(f"{stem}-{i + 1}" for i in range(self.images))]
        return [self.folder / f"{name}{self.suffix}" for name in names]

    @property
    def format(self) -> str:
        """What its files are: PNG, JPEG or WEBP, as `recipe_files.FORMATS` has them."""
        return FORMATS[self.suffix.lower()]

    def check(self, size: int) -> None:
        """Make sure that files of `size` bytes in all can be written, by reserving them for a moment.

        Raises:
            OutputError: writing is not allowed there, there is no space, or a name is too long.
        """
        with self._translated(), deferred():
            # The default folder is made only when there is a file to put there.
            folder = self.folder if os.path.lexists(self.folder) else self.folder.parent
            with calling("pathconf", folder):
                longest = os.pathconf(folder, "PC_NAME_MAX")
            for path in self.paths():
                if len(os.fsencode(path.name)) > longest:
                    raise _refusal(path.name, f"a name over {longest} bytes", "choose a shorter one")
            temporary = _temporary(folder)
            try:
                with calling("open", folder):
                    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                try:
                    reserve(descriptor, size, folder)
                finally:
                    os.close(descriptor)
            finally:
                temporary.unlink(missing_ok=True)

    def write(self, contents: Sequence[bytes]) -> list[Path]:
        """Write the files, in the order of `paths()`: all of them, or on any error none. Return their paths.

        A signal that would end the process acts between two files, or when all of them have their names.

        Raises:
            OutputError: as `check`, or a fixed name was taken meanwhile.
        """
        assert len(contents) == len(self.paths())
        temporaries = [_temporary(self.folder) for _ in contents]
        with self._translated(), deferred() as act:
            made = not os.path.lexists(self.folder)  # the default folder, or one that was removed meanwhile
            make_folder(self.folder)
            whole = False
            try:
                for path, content in zip(temporaries, contents, strict=True):
                    act()
                    with calling("write", self.folder):
                        _write_durably(path, content)
                act()
                paths = self._publish(temporaries)
                whole = True
                return paths
            finally:
                for path in temporaries:
                    path.unlink(missing_ok=True)
                if made and not whole:
                    with contextlib.suppress(OSError):  # another program has put files into it
                        self.folder.rmdir()

    def _publish(self, temporaries: Sequence[Path]) -> list[Path]:
        if self.force:
            for temporary, path in zip(temporaries, self.paths(), strict=True):
                os.replace(temporary, path)
            flush_folder(self.folder)
            return self.paths()
        for run in itertools.count(1):
            paths = self.paths(run)
            if any(os.path.lexists(path) for path in paths) and not self.fixed:
                continue
            done: list[tuple[Path, Path]] = []
            try:
                for temporary, path in zip(temporaries, paths, strict=True):
                    appear(temporary, path)
                    done.append((temporary, path))
                flush_folder(self.folder)
                return paths
            except BaseException as error:
                for temporary, path in done:
                    _disappear(temporary, path)
                if not isinstance(error, FileExistsError) or self.fixed:
                    raise
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            got, _, remedy = explain(error)
            what = error.filename2 or self.folder  # of two names, the second is that of the new file
            raise _refusal(what, f"cannot be written ({got})", f"{remedy} (-o says where)") from error


def _is_new_folder(output: str) -> bool:
    """Return whether what the user wrote names a folder that can be made.

    Nothing is there, in a folder that is, and the name has no ending, as files have.
    """
    path = Path(output)
    if os.path.lexists(path) or not path.parent.is_dir() or path.name.startswith("-"):  # "-": no standard output
        return False
    return output.endswith(os.sep) or not path.suffix


def _temporary(folder: Path) -> Path:
    return folder / f".salon-{secrets.token_hex(8)}.tmp"


def _disappear(temporary: Path, path: Path) -> None:
    """Take a name back, so that the file can get another one."""
    if os.path.lexists(temporary):
        path.unlink(missing_ok=True)
    else:
        os.rename(path, temporary)


def _write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        flush_file(descriptor, path)


def _refusal(what: str | Path, got: str, remedy: str) -> OutputError:
    return OutputError(f"output {str(what)!r}: {got}; {remedy}")
