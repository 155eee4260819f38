"""Make a tokenizer of the tokenizers library from the files of a tokenizer folder, in any layout that there is.

    tokenizer.json                      everything
    vocab.json, merges.txt              byte-pair encodings of CLIP and Qwen, by older versions of transformers
    spiece.model                        T5's sentencepiece model
    tokenizer_config.json               beside any of them: which tokens are special, which one pads, the longest text
    special_tokens_map.json             the same, of older versions

The token ids are those of transformers 5.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...system import explain
from ..config import read_json
from ..errors import MalformedFile, MissingFile, UnreadableFile
from ..lfs import refuse_pointer
from .sentencepiece import read_pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CLASSES: Final = (  # classes of transformers that read these layouts, by the names of its several versions
    *("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast", "Qwen2Tokenizer", "Qwen2TokenizerFast"),
    *("LlamaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend"),
)
LAYOUTS: Final = "tokenizer.json, or vocab.json with merges.txt, or spiece.model"
_CLIP_WORDS: Final = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_QWEN_WORDS: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_NAMED: Final = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_PADS: Final = ("<pad>", "<|endoftext|>")  # where no file names one: T5's, and CLIP's and Qwen's
_EXTRA_IDS: Final = 100  # sentinel tokens that T5's tokenizer adds behind the pieces


@dataclass(frozen=True)
class TokenizerFiles:
    """What the files of a folder say.

    Attributes:
        library: the tokenizer, without padding and truncation.
        pad: id of the token that texts are padded with; None: the tokenizer has none.
        max_length: ids of the longest text, special tokens included; None: the files do not say.
        pads_left: whether padding stands before a text.
    """

    library: Tokenizer
    pad: int | None
    max_length: int | None
    pads_left: bool = False


def read_tokenizer(folder: Path) -> TokenizerFiles:
    """Read a tokenizer folder.

    Raises:
        MissingFile, UnreadableFile, MalformedFile: the folder has no tokenizer of a known layout.
    """
    settings = _settings(folder)
    library = _from_files(folder, settings)
    left = _pads_left(library, settings)
    library.no_padding()
    library.no_truncation()
    for token in _special_tokens(settings):
        library.add_special_tokens([token])
    named = [_content(settings.get("pad_token")), *_PADS]
    pads = (library.token_to_id(token) for token in named if token is not None)
    longest = settings.get("model_max_length")
    known = isinstance(longest, int) and 0 < longest < 2**31  # "no limit" is written as a number of thirty digits
    pad = next((pad for pad in pads if pad is not None), None)
    return TokenizerFiles(library, pad, longest if known else None, left)


def find_file(folder: Path) -> Path:
    """Return the file that holds the vocabulary. Raise MissingFile if the folder has none of the known ones."""
    for names in (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",)):
        if all((folder / name).is_file() for name in names):
            return folder / names[0]
    remedy = "save the tokenizer with transformers, which writes tokenizer.json"
    raise MissingFile("no tokenizer", path=folder, expected=LAYOUTS, remedy=remedy)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file. The tokenizers library itself opens only paths that are UTF-8."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFile("no such file", path=path, remedy="copy or download the file again") from error
    except OSError as error:
        got, _, remedy = explain(error)
        raise UnreadableFile(f"cannot be read ({got})", path=path, remedy=remedy) from error
    refuse_pointer(path, data)
    return data


def _pads_left(library: Tokenizer, settings: Mapping[str, Any]) -> bool:
    """Return where padding stands, by what is said first: the settings, tokenizer.json, the class."""
    side = settings.get("padding_side") or (library.padding or {}).get("direction")
    if isinstance(side, str):
        return side == "left"
    return str(settings.get("tokenizer_class")).startswith("Llama")


def _settings(folder: Path) -> dict[str, Any]:
    """Return what tokenizer_config.json says, and special_tokens_map.json of the tokens that it does not name."""
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            settings |= {key: value for key, value in read_json(folder / name).items() if value is not None}
    return settings


def _from_files(folder: Path, settings: Mapping[str, Any]) -> Tokenizer:
    from tokenizers import Tokenizer  # an extension module of some megabytes: not before the first prompt

    path = find_file(folder)
    data = read_bytes(path)
    try:
        if path.name == "tokenizer.json":
            return Tokenizer.from_buffer(data)
        if path.name == "spiece.model":
            return _unigram(path, data, settings)
        return _byte_pairs(path, json.loads(data), read_bytes(folder / "merges.txt").decode(), settings)
    except (MissingFile, UnreadableFile, MalformedFile):
        raise
    except Exception as error:  # the library raises bare Exception
        remedy = "copy or download the file again"
        raise MalformedFile(f"the tokenizer cannot be read ({error})", path=path, remedy=remedy) from error


def _byte_pairs(path: Path, vocabulary: dict[str, int], merges: str, settings: Mapping[str, Any]) -> Tokenizer:
    """Make CLIP's or Qwen's tokenizer, as `CLIPTokenizer` and `Qwen2Tokenizer` of transformers are made."""
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import BPE

    kind = str(settings.get("tokenizer_class", "CLIPTokenizer" if "<|startoftext|>" in vocabulary else ""))
    lines = [line for line in merges.split("\n") if line and not line.startswith("#version")]
    pairs = [(first, second) for first, _, second in (line.partition(" ") for line in lines)]
    if kind.startswith("CLIPTokenizer"):
        bos, eos = (
            _content(settings.get(key)) or default
            for key, default in (("bos_token", "<|startoftext|>"), ("eos_token", "<|endoftext|>"))
        )
        unknown = _content(settings.get("unk_token")) or "<|endoftext|>"
        for token in (bos, eos):
            if token not in vocabulary:
                raise MalformedFile("the tokenizer lacks a token", path=path, key=token)
        library = Tokenizer(BPE(vocabulary, pairs, unk_token=unknown, end_of_word_suffix="</w>"))
        library.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        words = pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True)
        library.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        ends = ((eos, vocabulary[eos]), (bos, vocabulary[bos]))
        library.post_processor = processors.RobertaProcessing(*ends, trim_offsets=False, add_prefix_space=False)
        library.add_special_tokens([bos, eos, unknown])
    elif kind.startswith("Qwen2Tokenizer"):
        library = Tokenizer(BPE(vocabulary, pairs))
        library.normalizer = normalizers.NFC()
        words = pre_tokenizers.Split(Regex(_QWEN_WORDS), behavior="isolated")
        bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        library.pre_tokenizer = pre_tokenizers.Sequence([words, bytewise])
    else:
        raise MalformedFile(
            "a vocabulary of an unknown tokenizer",
            path=path,
            expected="tokenizer_class CLIPTokenizer or Qwen2Tokenizer in tokenizer_config.json",
            found=kind or "none",
            remedy="save the tokenizer with transformers, which writes tokenizer.json",
        )
    library.decoder = decoders.ByteLevel()
    return library


def _unigram(path: Path, data: bytes, settings: Mapping[str, Any]) -> Tokenizer:
    """Make T5's tokenizer, as `T5Tokenizer` of transformers is made."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import Unigram

    found = read_pieces(path, data)
    extra = settings.get("extra_ids", _EXTRA_IDS)
    count = extra if isinstance(extra, int) and 0 <= extra <= 10_000 else _EXTRA_IDS
    sentinels = [f"<extra_id_{i}>" for i in range(count)]
    vocabulary = [*found.pieces, *((token, 0.0) for token in reversed(sentinels))]
    library = Tokenizer(Unigram(vocabulary, unk_id=found.unknown, byte_fallback=False))
    if found.charsmap:
        library.normalizer = normalizers.Precompiled(found.charsmap)
    spaces = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    library.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), spaces])
    library.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    end = _content(settings.get("eos_token")) or "</s>"
    if library.token_to_id(end) is None:
        raise MalformedFile("the tokenizer lacks a token", path=path, key=end)
    library.post_processor = processors.TemplateProcessing(
        single=["$A", end], special_tokens=[(end, library.token_to_id(end))]
    )
    pieces = {piece for piece, _ in found.pieces}
    library.add_special_tokens([*(token for token in ("<pad>", "</s>", "<unk>") if token in pieces), *sentinels])
    return library


def _special_tokens(settings: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the special tokens that the settings name, those with ids in the order of these."""
    from tokenizers import AddedToken

    listed = settings.get("added_tokens_decoder")
    entries = sorted(listed.items(), key=lambda item: int(item[0])) if isinstance(listed, dict) else []
    several = [settings.get(key) for key in ("additional_special_tokens", "extra_special_tokens")]
    more = [token for tokens in several if isinstance(tokens, list) for token in tokens]
    for entry in [*(entry for _, entry in entries), *(settings.get(key) for key in _NAMED), *more]:
        content = _content(entry)
        if content is None:
            continue
        options = entry if isinstance(entry, dict) else {}
        yield AddedToken(
            content,
            **{key: bool(options.get(key, False)) for key in ("single_word", "lstrip", "rstrip", "normalized")},
            special=bool(options.get("special", True)),
        )


def _content(token: Any) -> str | None:
    """Return the text of a token that is text, or an object with its text and options."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) and found else None
