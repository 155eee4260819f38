"""Tokenizers against transformers', in every layout of files, on odd prompts."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from salon.engine import errors
from salon.engine.text.sentencepiece import read_pieces
from salon.engine.text.tokenizer import PromptTokenizer, cut_note

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

PROMPTS = (
    "a red apple on a table",
    "",
    "   \t\n ",
    "A RED  Apple,\nit's 42 metres!!! (really?)",
    "eine grüne Straße — naïve café, Ångström",
    "красное яблоко 赤いリンゴ 사과 🍎🏴‍☠️",
    "cafe\u0301 ﬁne Ⅳ \u200bzero\u00a0width",
    "<|endoftext|> </s> <pad> <extra_id_3> <unk>",
    "apple " * 60,
    "x" * 300,
)
SAMPLE = ["a red apple on a table", "it is a green street by the sea", "really small things and tables, apples!"]
CLIP_MARKS = ["<|startoftext|>", "<|endoftext|>"]


def clip_files(folder: Path, **settings: Any) -> Path:
    """Write vocab.json and merges.txt of a small byte-pair encoding with CLIP's alphabet."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    library = tokenizers.Tokenizer(tokenizers.models.BPE(end_of_word_suffix="</w>"))
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=700,
        show_progress=False,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        special_tokens=[*(f"{letter}</w>" for letter in alphabet), *CLIP_MARKS],
    )
    library.train_from_iterator(SAMPLE, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    library.model.save(str(folder))
    config = {"tokenizer_class": "CLIPTokenizer", "pad_token": CLIP_MARKS[1], **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def pieces() -> list[tuple[str, float]]:
    library = tokenizers.Tokenizer(tokenizers.models.Unigram())
    library.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=120, show_progress=False, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"
    )
    library.train_from_iterator(SAMPLE * 3, trainer)
    return [(piece, score) for piece, score in json.loads(library.to_str())["model"]["vocab"]]


def sentencepiece_model(vocabulary: Iterable[tuple[str, float]], kind: int = 1, unknown: int = 2) -> bytes:
    """The bytes of spiece.model: field 1 the pieces, 2 the trainer's settings, 3 the normaliser's."""
    parts = [
        field(1, field(1, piece.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + field(3, 1))
        for piece, score in vocabulary
    ]
    return b"".join([*parts, field(2, field(3, kind) + field(40, unknown)), field(3, field(1, b"nmt_nfkc"))])


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """A folder of each layout, with transformers' tokenizer of the same."""
    root = tmp_path_factory.mktemp("tokenizers")
    found: dict[str, tuple[Path, Any]] = {}
    plain = clip_files(root / "clip")
    clip = transformers.CLIPTokenizer.from_pretrained(plain)
    found["vocab.json + merges.txt"] = (plain, clip)
    other = clip_files(root / "bigg", pad_token="!")
    found["with another pad token"] = (other, transformers.CLIPTokenizer.from_pretrained(other))
    clip.save_pretrained(root / "clip_json")
    found["tokenizer.json of CLIP"] = (root / "clip_json", clip)

    vocabulary = pieces()
    t5 = transformers.T5Tokenizer(
        vocab=[*vocabulary, *((f"<extra_id_{i}>", 0.0) for i in range(99, -1, -1))], extra_ids=100
    )
    (root / "spiece").mkdir()
    (root / "spiece" / "spiece.model").write_bytes(sentencepiece_model(vocabulary))
    found["spiece.model"] = (root / "spiece", t5)
    t5.save_pretrained(root / "t5_json")
    found["tokenizer.json of T5"] = (root / "t5_json", t5)
    return found


LAYOUTS = (
    "vocab.json + merges.txt",
    "with another pad token",
    "tokenizer.json of CLIP",
    "spiece.model",
    "tokenizer.json of T5",
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ids_are_those_of_transformers(layout: str, layouts: dict[str, tuple[Path, Any]]) -> None:
    folder, theirs = layouts[layout]
    mine = PromptTokenizer(folder)
    for prompt in PROMPTS:
        for most in (4, 77):
            want = theirs(prompt, padding="max_length", max_length=most, truncation=True).input_ids
            got = mine.encode(prompt, most, pad=True)
            assert got.ids.tolist() == want, (prompt, most)
            assert mine.encode(prompt, most).ids.tolist() == want[: got.count]
            whole = len(theirs(prompt).input_ids) <= most
            assert (got.cut == "") == whole, (prompt, most, got.cut)
            assert prompt.strip().endswith(got.cut)


def test_what_is_cut_off(layouts: dict[str, tuple[Path, Any]]) -> None:
    folder, theirs = layouts["vocab.json + merges.txt"]
    prompt = "a red apple on a table by the sea"
    some = len(theirs("a red apple on").input_ids)
    assert PromptTokenizer(folder).encode(prompt, some).cut == "a table by the sea"
    assert cut_note("a table", 77).endswith('the end of the prompt was left out: "a table".')
    assert len(cut_note("x" * 999, 77)) < 200


def break_vocabulary(folder: Path) -> None:
    (folder / "vocab.json").write_text("{")


def take_a_mark(folder: Path) -> None:
    words = json.loads((folder / "vocab.json").read_text())
    del words["<|startoftext|>"]
    (folder / "vocab.json").write_text(json.dumps(words))


def take_all(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def name_another_class(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')


def leave_a_pointer(folder: Path) -> None:
    (folder / "vocab.json").write_text("version https://git-lfs.github.com/spec/v1\n")


def leave_only_spiece(folder: Path, data: bytes) -> None:
    take_all(folder)
    (folder / "spiece.model").write_bytes(data)


BROKEN: dict[str, tuple[Callable[[Path], None], type[errors.CheckpointError], str]] = {
    "no files": (take_all, errors.MissingFile, "tokenizer.json, or vocab"),
    "no merges": (lambda f: (f / "merges.txt").unlink(), errors.MissingFile, "save the tokenizer with transformers"),
    "broken JSON": (break_vocabulary, errors.MalformedFile, "cannot be read"),
    "no start token": (take_a_mark, errors.MalformedFile, "startoftext"),
    "another class": (name_another_class, errors.MalformedFile, "found GPT2Tokenizer"),
    "a pointer": (leave_a_pointer, errors.MalformedFile, "Git LFS"),
    "cut off": (lambda f: leave_only_spiece(f, sentencepiece_model(pieces())[:-3]), errors.MalformedFile, "cut off"),
    "no protobuf": (lambda f: leave_only_spiece(f, b"\xff" * 40), errors.MalformedFile, "no sentencepiece model"),
    "byte pairs": (
        lambda f: leave_only_spiece(f, sentencepiece_model(pieces(), kind=2)),
        errors.MalformedFile,
        "model_type 2",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_folders(fault: str, tmp_path: Path) -> None:
    spoil, kind, message = BROKEN[fault]
    folder = clip_files(tmp_path / "t")
    spoil(folder)
    with pytest.raises(kind, match=message):
        PromptTokenizer(folder).encode("a red apple", 77)


def test_another_vocabulary_than_the_encoder(layouts: dict[str, tuple[Path, Any]]) -> None:
    folder, theirs = layouts["vocab.json + merges.txt"]
    assert PromptTokenizer(folder, len(theirs)).encode("a", 9).count == 3
    with pytest.raises(errors.MalformedFile, match="not of one model"):
        PromptTokenizer(folder, len(theirs) - 1).encode("a", 9)


def test_hostile_protobuf(tmp_path: Path) -> None:
    """Whatever the bytes are, the error is typed."""
    import random

    chance, good = random.Random(3), sentencepiece_model(pieces()[:5])
    for _ in range(300):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with contextlib.suppress(errors.MalformedFile):
            read_pieces(tmp_path / "spiece.model", bytes(data[: chance.randint(0, len(data))]))
