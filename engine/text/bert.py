"""Tokenize and encode words by a checkpoint's WordPiece tokenizer and BERT encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...kernels.ops import Ops
from ..errors import MalformedFile, MissingFile, UnreadableFile
from ..lfs import POINTER, refuse_pointer
from ..models import bert
from .pipeline import Float32

if TYPE_CHECKING:
    from ..pipeline import Classes

MARKS: Final = ("[CLS]", "[SEP]")  # the tokens before and behind every text
COMPONENTS: Final[Mapping[str, Classes]] = {
    "text_encoder": ("transformers", (bert.ARCHITECTURE,)),
    # Classes of transformers that read this tokenizer.json, by the names of its several versions.
    "tokenizer": (
        "transformers",
        ("BertTokenizer", "BertTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend"),
    ),
}


class BertTokenizer:
    """A checkpoint's WordPiece tokenizer, which needs no weights. It is read when first used.

    Args:
        path: tokenizer.json.
        known: size of the text encoder's vocabulary, if that is to be compared.
    """

    def __init__(self, path: Path, known: int | None = None) -> None:
        self.path = path
        self._known = known
        refuse_pointer(path, self._bytes()[: len(POINTER)])

    def _bytes(self) -> bytes:
        """Return the bytes of the tokenizer's file. The tokenizers library itself opens only paths that are UTF-8."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError as error:
            expected = "tokenizer.json of the tokenizers library"
            raise MissingFile("no tokenizer", path=self.path, expected=expected) from error
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            raise UnreadableFile(reason, path=self.path, remedy="check its rights") from error

    @cached_property
    def library(self) -> Any:
        """The tokenizer of the tokenizers library."""
        from tokenizers import Tokenizer  # an extension module of some megabytes: not before the first prompt

        data = self._bytes()
        try:
            tokenizer = Tokenizer.from_buffer(data)
        except Exception as error:  # the library raises bare Exception
            raise MalformedFile(f"the tokenizer cannot be read ({error})", path=self.path) from error
        for token in MARKS:
            if tokenizer.token_to_id(token) is None:
                raise MalformedFile("the tokenizer lacks a token", path=self.path, key=token)
        size = tokenizer.get_vocab_size()
        if self._known is not None and size > self._known:
            expected = f"at most the text encoder's {self._known}"
            raise MalformedFile("other vocabulary", path=self.path, expected=expected, found=str(size))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def tokenize(self, text: str) -> list[int]:
        """See `TokenEncoder`."""
        return list(self.library.encode(text, add_special_tokens=False).ids)


class BertEncoder:
    """The checkpoint's WordPiece tokenizer and BERT encoder.

    Args:
        ops, weights: backend and `bert.load_bert`.
        path: tokenizer.json.
    """

    def __init__(self, ops: Ops[Any, Any], weights: bert.BertWeights, path: Path) -> None:
        self.ops = ops
        self.weights = weights
        self._tokenizer = BertTokenizer(path, weights.config.vocab_size)

    @property
    def width(self) -> int:
        """E, columns of a state."""
        return self.weights.config.hidden_size

    @property
    def max_tokens(self) -> int:
        """Number of tokens of the longest text, without the special ones."""
        return self.weights.config.max_position_embeddings - len(MARKS)

    def tokenize(self, text: str) -> list[int]:
        """See `TokenEncoder`."""
        return self._tokenizer.tokenize(text)

    def encode(self, clauses: Sequence[Sequence[int]]) -> list[Float32]:
        """See `TokenEncoder`."""
        start, end = (self._tokenizer.library.token_to_id(token) for token in MARKS)
        ids = [np.array([start, *clause, end], np.int32) for clause in clauses]
        states = self.ops.numpy(bert.encode(self.ops, self.weights, ids))
        cuts = np.cumsum([len(part) for part in ids])[:-1]
        return [part[1:-1] for part in np.split(states, cuts)]
