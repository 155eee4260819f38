"""The work folder: one sub-folder a stage, written atomically, stamped with what made it.

A stage writes its files through `Stage.write_*` (temporary name, then rename) and last of all its stamp
`stage.json`: configuration, digests of the stages it read, size and sampled digest of every file. A stage without
a stamp is unfinished and never trusted; `open_stage` checks all of this before anybody reads.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .errors import CacheError, SpaceError

STAMP = "stage.json"
_SAMPLES, _SAMPLE_BYTES = 16, 65536  # a gigabyte is checked by 1 MiB of it, spread evenly, plus its size


def plain(config: Any) -> Any:
    """Return a configuration as JSON values (dataclasses, tuples and paths resolved)."""
    if is_dataclass(config) and not isinstance(config, type):
        return {k: plain(v) for k, v in asdict(config).items()}
    if isinstance(config, Mapping):
        return {str(k): plain(v) for k, v in config.items()}
    if isinstance(config, list | tuple):
        return [plain(v) for v in config]
    return str(config) if isinstance(config, Path) else config


def digest(value: Any) -> str:
    """Return the hex digest of a configuration; equal for equal content, in any order of the keys."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def file_digest(path: Path) -> str:
    """Return the digest of a file's size and of evenly spread samples of it (all of it, if small)."""
    size = path.stat().st_size
    h = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as f:
        if size <= _SAMPLES * _SAMPLE_BYTES:
            h.update(f.read())
        else:
            for i in range(_SAMPLES):
                f.seek((size - _SAMPLE_BYTES) * i // (_SAMPLES - 1))
                h.update(f.read(_SAMPLE_BYTES))
    return h.hexdigest()


def weights_digest(folder: str, option: str, model: str) -> str:
    """Return the digest of the weights in a diffusers folder that an option names. Raises CacheError without them."""
    weights = Path(folder) / "diffusion_pytorch_model.safetensors"
    if not weights.is_file():
        raise CacheError(f"{weights} is missing: --{option} wants a diffusers folder of {model}")
    return file_digest(weights)


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary neighbour of `path` for writing; on success it is synced and renamed, on failure removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        temporary.replace(path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        if e.errno == 28:
            raise SpaceError(f"no space left while writing {path}: free some and run the stage again") from e
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    with atomic(path) as f:
        f.write((json.dumps(plain(value), ensure_ascii=False, indent=1) + "\n").encode())


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as e:
        raise CacheError(f"{path} is missing: run the stage that writes it again") from e
    except (json.JSONDecodeError, UnicodeDecodeError) as e:
        raise CacheError(f"{path} is damaged ({e}): delete it and run its stage again") from e


def need_space(folder: Path, size: int) -> None:
    """Raise SpaceError unless the disk of `folder` has `size` bytes and a tenth more."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size * 1.1:
        raise SpaceError(f"{folder} needs {size / 1e6:.0f} MB, {free / 1e6:.0f} MB are free: free some, or move --work")


@dataclass(frozen=True)
class Stage:
    """One stage's folder. `inputs` maps the name of each stage that was read to that stage's key."""

    root: Path
    name: str
    config: Any
    inputs: Mapping[str, str]

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def key(self) -> str:
        return digest([self.name, self.config, dict(self.inputs)])

    def path(self, name: str) -> Path:
        return self.folder / name

    def is_done(self) -> bool:
        """Return whether the stage was finished with this configuration and these inputs, and its files are whole."""
        try:
            open_stage(self.root, self.name, key=self.key)
        except CacheError:
            return False
        return True

    def write_array(self, name: str, array: np.ndarray) -> None:
        need_space(self.folder, array.nbytes)
        with atomic(self.path(name)) as f:
            np.save(f, array, allow_pickle=False)

    def write_json(self, name: str, value: Any) -> None:
        write_json(self.path(name), value)

    def write_with(self, name: str, save: Callable[[BinaryIO], None]) -> None:
        with atomic(self.path(name)) as f:
            save(f)

    def finish(self, **figures: Any) -> None:
        """Write the stamp: from now on the next stage trusts what lies here. `figures` are kept for the model card."""
        files = {
            str(p.relative_to(self.folder)): {"size": p.stat().st_size, "digest": file_digest(p)}
            for p in sorted(self.folder.rglob("*"))
            if p.is_file() and p.name != STAMP and not p.name.endswith(".tmp") and "resume" not in p.parts[-2:]
        }
        write_json(
            self.folder / STAMP,
            {"stage": self.name, "key": self.key, "config": self.config, "inputs": dict(self.inputs),
             "figures": figures, "files": files},
        )  # fmt: skip


@dataclass(frozen=True)
class Done:
    """A finished stage, checked."""

    folder: Path
    key: str
    config: dict[str, Any]
    figures: dict[str, Any]

    def array(self, name: str) -> np.ndarray:
        array: np.ndarray = np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        return array

    def json(self, name: str) -> Any:
        return read_json(self.folder / name)


def open_stage(root: Path, name: str, *, key: str | None = None) -> Done:
    """Open a finished stage for reading.

    Raises CacheError when it was never finished, a file is missing or changed, it was made with another
    configuration (`key`), or a stage that it read has been made anew since.
    """
    folder = root / name
    again = f"run `python -m salon.models.mini.recipe.{name} --work {root}` (again)"
    if not (folder / STAMP).is_file():
        raise CacheError(f"stage {name} has not finished in {root}: {again}")
    stamp = read_json(folder / STAMP)
    if key is not None and stamp["key"] != key:
        raise CacheError(f"stage {name} in {root} was made with another configuration: {again}")
    for file, entry in stamp["files"].items():
        path = folder / file
        if not path.is_file():
            raise CacheError(f"{path} is missing: {again}")
        if path.stat().st_size != entry["size"] or file_digest(path) != entry["digest"]:
            raise CacheError(f"{path} is damaged (size or digest differs from the stamp): {again}")
    for other, expected in stamp["inputs"].items():
        if not (root / other / STAMP).is_file():
            continue  # an input that has been cleared away since: what was made from it is still whole
        found = read_json(root / other / STAMP)["key"]
        if found != expected:
            raise CacheError(f"stage {name} was made from an older {other}: {again}")
    return Done(folder, stamp["key"], stamp["config"], stamp["figures"])
