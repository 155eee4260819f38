"""Keep which LoRA files a studio has, by digest: checked against its model before any job uses them."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from ..engine.errors import UnreadableFile
from ..engine.files.lora import file_digest
from ..engine.lora_rules import LoraRules
from ..engine.spec import GenerationSpec
from ..engine.start import PictureForm, PictureUse, path_bytes
from ..system import expand_home, explain
from ..values import path_of, shown
from .resources import References


class LoraShelf:
    """LoRA files by the SHA-256 of their contents. It may be used on any thread.

    Args:
        rules: what they have to fit.
    """

    def __init__(self, rules: LoraRules) -> None:
        self.rules = rules
        self._lock = threading.Lock()
        self._paths: dict[str, Path] = {}

    def add(self, path: str | os.PathLike[str]) -> str:
        """Check a file, and return its digest. The file stays where it is, and is read there.

        Raises:
            CheckpointError: it cannot be read, is no LoRA, or one for another model.
        """
        where = file_of(path)
        self.rules.open(where)
        digest = digest_of_file(where)
        self.put(digest, where)
        return digest

    def put(self, digest: str, path: Path) -> None:
        """Take note where the file of a digest lies, which the caller has checked."""
        with self._lock:
            self._paths[digest] = path

    def path(self, digest: str) -> Path | None:
        """Return where a file lies; None: it is not here."""
        with self._lock:
            return self._paths.get(digest)

    def lend(self, spec: GenerationSpec, kept: References) -> None:
        """Put the paths of the LoRAs of a spec among what its job refers to."""
        for use in spec.loras:
            path = self.path(use.digest)
            if path is not None:
                kept.put(PictureForm(use.digest, PictureUse.LORA), path_bytes(path))


def file_of(path: Any) -> Path:
    """Return where a LoRA that a program names lies. Raise UnreadableFile if that is no name of a file."""
    name = path_of(path)
    if name is None:
        raise UnreadableFile("no name of a file", path=ascii(shown(path)), remedy="give the path of a LoRA")
    return Path(os.path.abspath(expand_home(name, "LoRA")))


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 (hex) of a LoRA's file. Raise UnreadableFile if it cannot be read."""
    try:
        return file_digest(path)
    except OSError as error:
        told = explain(error)
        raise UnreadableFile(f"cannot be read ({told.got})", path=path, remedy=told.remedy) from error
