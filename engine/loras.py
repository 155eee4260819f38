"""Keep the LoRAs of an engine: files by digest, packed when a generation first uses one, and kept for the next.

A LoRA is called by the SHA-256 of its file everywhere. Its factors act beside the weights (`linear` of the op table),
which stay as they are: samples of one batch may use different ones, each with a weight of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import complaint
from ..kernels.ops import Ops
from ..system import explain
from .denoiser import Denoiser
from .errors import CheckpointError, LimitError, SpecError, UnreadableFile, WrongConfig
from .files.lora import LoraFile, file_digest
from .lora_rules import LoraRules
from .lora_uses import LoraUse
from .text.pipeline import TextLoras, TextPipeline
from .weights.lora import LoraWeights, pack_lora, packed_bytes


@dataclass(eq=False)
class _Known:
    """A LoRA that was added: its file with the model's layers in it, and what is packed of it."""

    file: LoraFile
    placed: dict[str, str]
    num_bytes: int
    weights: LoraWeights | None = None
    pins: int = 0

    @property
    def reads_text(self) -> bool:
        """Whether it changes how prompts are read."""
        return any(name in self.placed for name in self.file.text)


class Loras:
    """The LoRAs of an engine.

    Args:
        ops: backend.
        denoiser: the model that they change.
        family: its family, for errors.
        limit_bytes: bytes of all factors that are packed. Those that no open generation uses are forgotten for others,
            the least recently used first.
        max_known: how many files may be known at a time; beyond, the least recently used are forgotten.
        text: what reads the model's prompts; None: it reads none.
    """

    def __init__(
        self, ops: Ops[Any, Any], denoiser: Denoiser, family: str, limit_bytes: int, max_known: int = 4_096,
        text: TextPipeline | None = None,
    ) -> None:  # fmt: skip
        self._ops = ops
        self._denoiser = denoiser
        self._family, self._text = family, text
        self._limit = limit_bytes
        self._max_known = max_known
        self._rules: LoraRules | None = None  # of many layers, made for the first LoRA
        self._known: OrderedDict[str, _Known] = OrderedDict()  # least recently used first
        self.hits = self.misses = 0

    def __contains__(self, digest: str) -> bool:
        return digest in self._known

    @property
    def num_bytes(self) -> int:
        """Bytes of the packed factors."""
        return sum(known.num_bytes for known in self._known.values() if known.weights is not None)

    def add(self, digest: str, path: str | Path) -> None:
        """Make a LoRA's file known. Its header is read, and compared with the model; no array is.

        Args:
            digest: SHA-256 (hex) of the file, which is compared when the arrays are read.

        Raises:
            CheckpointError: the file cannot be read, is no LoRA, or one for another model; the message names the array.
        """
        path, known = Path(path), self._known.get(digest)
        if known is not None and (known.weights is not None or known.file.path == path):
            self._known.move_to_end(digest)
            return
        if self._rules is None:
            self._rules = LoraRules.of(self._denoiser, self._family, self._text)
        file, placed = self._rules.open(path)
        assert self._rules.where is not None, "a LoRA of a model that takes none"
        num_bytes = packed_bytes(file, placed, self._rules.where, 2 if self._ops.compute == "bfloat16" else 4)
        if num_bytes > self._limit:
            got, allowed = f"{num_bytes:,} bytes of factors", f"{self._limit:,} (Limits.lora_bytes)"
            raise LimitError(
                complaint(f"LoRA {digest[:12]}", got, allowed, "take one of lower rank, or raise the limit")
            )
        self._known[digest] = _Known(file, placed, num_bytes)
        spare = [name for name, known in self._known.items() if not known.pins and name != digest]
        for name in spare[: max(0, len(self._known) - self._max_known)]:
            del self._known[name]

    def want(self, uses: Sequence[LoraUse]) -> None:
        """Raise SpecError unless every LoRA, also one of weight 0, is known here."""
        for use in uses:
            if use.digest not in self._known:
                got = f"{use.digest}, which is not here"
                raise SpecError(complaint("LoRA", got, "one that was added", "name its file"))

    def pin(self, uses: Sequence[LoraUse]) -> tuple[tuple[LoraWeights, float], ...]:
        """Pack the LoRAs of a generation, where they are not, and return those with a weight other than 0.

        If this raises, none of them is pinned.

        Raises:
            SpecError: one was not added.
            LimitError: they do not fit beside those of open generations.
            CheckpointError: a file was changed since it was added, or an array of it cannot be used.
        """
        self.want(uses)
        done: list[LoraUse] = []
        found = []
        try:
            for use in uses:
                if use.weight:
                    found.append((self._packed(use.digest), use.weight))
                    self._known[use.digest].pins += 1
                    done.append(use)
        except BaseException:
            self.unpin(done)
            raise
        return tuple(found)

    def unpin(self, uses: Sequence[LoraUse]) -> None:
        """Undo one `pin` of the same uses. The factors stay until their room is needed."""
        for use in uses:
            if use.weight:
                known = self._known[use.digest]
                assert known.pins > 0, f"LoRA {use.digest} is not pinned"
                known.pins -= 1

    def reading(self, uses: Sequence[LoraUse]) -> TextLoras | None:
        """Pack the LoRAs of a generation that change how its prompts are read, and return these; None: none does.

        Raises:
            SpecError, LimitError, CheckpointError: as `pin`.
        """
        self.want(uses)
        mine = tuple(use for use in uses if use.weight and self._known[use.digest].reads_text)
        return TextLoras(mine, tuple((self._packed(use.digest), use.weight) for use in mine)) if mine else None

    def notes(self, uses: Sequence[LoraUse]) -> tuple[str, ...]:
        """Return what of the LoRAs is not drawn with, one sentence each."""
        said = []
        for use in uses:
            known = self._known[use.digest]
            file = known.file
            if use.weight and file.text and not known.reads_text:
                more = f" and {len(file.text) - 1} more" if len(file.text) > 1 else ""
                said.append(
                    f"LoRA {file.path.name}: its layers of text encoders are left out ({file.text[0]}{more}), those of "
                    "the model that draws are used"
                )
        return tuple(said)

    def _packed(self, digest: str) -> LoraWeights:
        known = self._known[digest]
        self._known.move_to_end(digest)
        if known.weights is not None:
            self.hits += 1
            return known.weights
        self._make_room(digest, known.num_bytes)
        known.weights = self._read(digest, known)
        self.misses += 1
        return known.weights

    def _read(self, digest: str, known: _Known) -> LoraWeights:
        """Pack a LoRA, while another thread takes the digest of its file: that does not hold the interpreter."""
        path, where = known.file.path, None if self._rules is None else self._rules.where
        assert where is not None, "a known LoRA without the model's layers"
        weights: LoraWeights | None = None
        wrong: CheckpointError | ValueError | None = None
        try:
            with ThreadPoolExecutor(1, "salon-digest") as aside:
                try:
                    digest_of_file: Callable[[], str] = aside.submit(file_digest, path).result
                except (RuntimeError, MemoryError):  # no further thread: the system gives none, or the interpreter ends
                    digest_of_file = partial(file_digest, path)
                try:
                    # Of a file that was cut off no array is touched: a mapping ends where its file does.
                    if path.stat().st_size == known.file.num_bytes:
                        weights = pack_lora(self._ops, known.file, known.placed, where, known.num_bytes)
                except (CheckpointError, ValueError) as error:
                    wrong = error
                there = digest_of_file()
        except OSError as error:
            told = explain(error)
            raise UnreadableFile(f"cannot be read ({told.got})", path=path, remedy=told.remedy) from error
        if there != digest or (weights is None and wrong is None):
            raise WrongConfig(
                "LoRA that was changed",
                path=path,
                expected=f"SHA-256 {digest}",
                found=there if there != digest else "a file of another length when it was named",
                remedy="name the file again",
            )
        if isinstance(wrong, ValueError):  # two layers of a fused linear cannot differ in depth: the map says so
            raise CheckpointError(f"cannot be packed ({wrong})", path=path, remedy="take another file") from wrong
        if weights is None:
            assert wrong is not None, "neither factors nor an error"
            raise wrong
        return weights

    def _make_room(self, digest: str, need: int) -> None:
        """Forget packed factors until so many bytes fit."""
        for name, known in list(self._known.items()):
            if self.num_bytes + need <= self._limit:
                return
            if not known.pins and name != digest:
                known.weights = None
        if self.num_bytes + need > self._limit:
            got = f"{need:,} bytes of factors"
            allowed = (
                f"{self._limit - self.num_bytes:,} bytes ({self._limit:,} in all, the rest used by open generations)"
            )
            remedy = "close a generation or raise Limits.lora_bytes"
            raise LimitError(complaint(f"LoRA {digest[:12]}", got, allowed, remedy))
