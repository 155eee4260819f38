"""Turn prompts into the token ids that a text encoder reads, cut where diffusers' pipelines cut them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ...kernels.segments import Int32
from ..errors import MalformedFile
from ..lfs import POINTER, refuse_pointer
from .tokenizer_files import CLASSES, TokenizerFiles, find_file, read_tokenizer

__all__ = ["CLASSES", "PromptTokenizer", "Tokens", "cut_note"]


@dataclass(frozen=True, eq=False)
class Tokens:
    """A text as a text encoder reads it.

    Attributes:
        ids: int32 [n], with the special tokens and, where it was asked for, padding behind.
        count: tokens without the padding.
        cut: the end of the text, which the ids do not have; "": they have all of it.
    """

    ids: Int32
    count: int
    cut: str


class PromptTokenizer:
    """The tokenizer of a checkpoint. Its files are read when it is first used.

    Args:
        folder: of the tokenizer, in one of the layouts of `tokenizer_files`.
        known: size of the text encoder's vocabulary, if that is to be compared.

    Raises:
        MissingFile, UnreadableFile, MalformedFile: the folder has no tokenizer that Salon reads.
    """

    def __init__(self, folder: Path, known: int | None = None) -> None:
        self.folder = folder
        self._known = known
        path = find_file(folder)
        with path.open("rb") as file:
            refuse_pointer(path, file.read(len(POINTER)))

    @cached_property
    def files(self) -> TokenizerFiles:
        """The tokenizer of the tokenizers library, and how it pads."""
        files = read_tokenizer(self.folder)
        largest = max(files.library.get_vocab().values(), default=-1)
        if self._known is not None and largest >= self._known:
            expected = f"ids below {self._known}, the text encoder's vocabulary"
            remedy = "the tokenizer and the text encoder are not of one model"
            found = f"id {largest}"
            raise MalformedFile(
                "other vocabulary", path=find_file(self.folder), expected=expected, found=found, remedy=remedy
            )
        return files

    @property
    def pad(self) -> int:
        """Id of the token that shorter texts are filled up with. Raise MalformedFile if the files name none."""
        if self.files.pad is None:
            remedy = "name its pad_token in tokenizer_config.json"
            raise MalformedFile("the tokenizer lacks a pad token", path=find_file(self.folder), remedy=remedy)
        return self.files.pad

    @property
    def max_length(self) -> int | None:
        """Number of ids of the longest text, as the tokenizer's settings say; None: they do not say."""
        return self.files.max_length

    def encode(self, text: str, max_length: int, *, pad: bool = False, special: bool = True) -> Tokens:
        """Tokenize a text.

        Args:
            max_length: number of ids at most, special tokens included: the text is cut at its end.
            pad: whether shorter texts are filled up to `max_length`.
            special: whether the tokenizer adds the special tokens of its own; text in a chat template has them in it.

        Raises:
            MalformedFile: the files are broken, or `pad` is asked for and the tokenizer has no token for it.
        """
        library = self.files.library
        encoding = library.encode(text, add_special_tokens=False)
        room = max_length - (library.num_special_tokens_to_add(False) if special else 0)
        assert room > 0, f"max_length {max_length}: no room beside the special tokens"
        cut = ""
        if len(encoding.ids) > room:
            cut = text[encoding.offsets[room][0] :].strip()
            encoding.truncate(room)
        ids = list(library.post_process(encoding, None, special).ids)
        count = len(ids)
        if pad:
            ids += [self.pad] * (max_length - count)
        return Tokens(np.array(ids, np.int32), count, cut)


def cut_note(cut: str, max_length: int, shown: int = 80) -> str:
    """Return what a user is told of the end of a prompt that was cut off.

    Args:
        cut: `Tokens.cut`, not empty.
        max_length: as it was given to `PromptTokenizer.encode`.
        shown: characters of the end that are quoted at most.
    """
    quoted = cut if len(cut) <= shown else f"{cut[:shown]}…"
    return f'The text encoder reads {max_length} tokens; the end of the prompt was left out: "{quoted}".'
