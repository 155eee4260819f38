"""Define the messages between the loop and a worker: small records in msgpack, with arrays beside them as raw frames.

A command has a number, and gets exactly one answer with that number. Reading a message never runs code from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.info import ModelInfo
from ...engine.inquiries import Text
from ...engine.limits import Limits
from ...engine.spec import GenerationSpec
from ...engine.start import PictureForm
from ..errors import StudioError

Frames: TypeAlias = Sequence[Any]  # buffers: bytes, memoryview or arrays, in the order that the record names them


class Failure(msgspec.Struct, frozen=True):
    """The type of an error and its text."""

    kind: str
    text: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Make a failure of an exception."""
        return cls(type(error).__name__, str(error) or "no further message")

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class Array(msgspec.Struct, frozen=True):
    """A frame that is an array of `dtype` and `shape`.

    `name` says whose it is; `index` is that of a job's image, or -1.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    index: int = -1

    def read(self, frame: Any) -> NDArray[Any]:
        """Return the array in a frame, a view if it can be. Raise StudioError if the sizes do not agree."""
        if self.dtype not in ("<f4", "|u1"):
            raise StudioError(f"frame {self.name!r}: got dtype {self.dtype!r}, allowed <f4 or |u1; report this")
        size = int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize
        if memoryview(frame).nbytes != size or any(side < 0 for side in self.shape):
            raise StudioError(f"frame {self.name!r}: {memoryview(frame).nbytes:,} bytes, want {size:,}; report this")
        return np.frombuffer(frame, self.dtype).reshape(self.shape)

    @classmethod
    def of(cls, name: str, values: NDArray[Any], index: int = -1) -> tuple[Array, Any]:
        """Return (record, frame) of a float32 or uint8 array."""
        dtype = "|u1" if values.dtype == np.uint8 else "<f4"
        frame = np.ascontiguousarray(values, dtype)
        return cls(name, frame.shape, dtype, index), frame.data if frame.size else b""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a worker does not hold yet.

    Attributes:
        position: evaluations that it has taken elsewhere; without `parked` they are taken again, which gives the same
            numbers.
        preview_every: solver steps between previews; 0: none.
        parked: `ParkedGeneration.to_bytes`, or nothing.
        pictures: those that the spec refers to, all of which the worker has by then.
    """

    job: str
    spec: GenerationSpec
    position: int = 0
    preview_every: int = 0
    parked: bytes = b""
    pictures: tuple[PictureForm, ...] = ()


class SentPicture(msgspec.Struct, frozen=True):
    """A frame that is the pixels of a picture, of a shape that its form allows."""

    form: PictureForm
    array: Array


# ---- commands ------------------------------------------------------------------------------------------------------


class Setup(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Load a model; see `Engine.load`. Answer: Ready or Unfit. A path is bytes, since it need not be text.

    `unload_after`: seconds without a command after which weights leave the device; None: never.
    """

    number: int = 0
    model: bytes | None = None
    backend: str = "cpu"
    isa: str | None = None
    dtype: str | None = None
    threads: int | None = None
    limits: Limits | None = None
    device: str | None = None
    text_encoder: tuple[bytes, ...] = ()
    vae: bytes | None = None
    unload_after: float | None = None
    ip_adapter: bytes | None = None
    image_encoder: bytes | None = None


class Run(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Carry out a plan. Answer: Ran.

    Attributes:
        arrivals: jobs that are opened first; in the ENCODE stage that is the work.
        forget: pictures that the worker need not keep any more.
        pictures: further pictures, which the worker keeps until a command says `forget`; one frame each.
    """

    number: int
    stage: str
    jobs: tuple[str, ...]
    piece: int = 0
    arrivals: tuple[Arrival, ...] = ()
    forget: tuple[PictureForm, ...] = ()
    pictures: tuple[SentPicture, ...] = ()


class Park(msgspec.Struct, frozen=True, tag=True):
    """Hand out a job's state and forget it. Answer: Parked."""

    number: int
    job: str


class Drop(msgspec.Struct, frozen=True, tag=True):
    """Forget jobs; unknown ones change nothing. Answer: Ack."""

    number: int
    jobs: tuple[str, ...]


class AddBranch(msgspec.Struct, frozen=True, tag=True):
    """`Engine.add_branch`; one frame an array. Answer: Ack."""

    number: int
    name: str
    arrays: tuple[Array, ...]


class AddAdapter(msgspec.Struct, frozen=True, tag=True):
    """`Engine.register_adapter`; one frame. Answer: Ack."""

    number: int
    name: str
    branch: str
    tokens: Array


class Forget(msgspec.Struct, frozen=True, tag=True):
    """Forget an adapter; an unknown one changes nothing. Answer: Ack."""

    number: int
    name: str


class Stop(msgspec.Struct, frozen=True, tag=True):
    """End the worker. There is no answer."""

    number: int = 0


Command: TypeAlias = Setup | Run | Park | Drop | AddBranch | AddAdapter | Forget | Stop


# ---- answers -------------------------------------------------------------------------------------------------------


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The model is loaded. `life` counts the starts of this worker; the loop's side fills it in."""

    info: ModelInfo
    life: int = 0
    number: int = 0


class Unfit(msgspec.Struct, frozen=True, tag=True):
    """The model cannot be loaded. Another start does not help, unless the model could be loaded before."""

    failure: Failure
    number: int = 0


class Broken(msgspec.Struct, frozen=True, tag=True):
    """The worker's device stopped working. The worker says so in place of an answer, and waits for its end."""

    failure: Failure
    number: int = -1


class Reading(msgspec.Struct, frozen=True):
    """The parts of a prompt that the model reads: `clauses` maps slots to words; `warnings` say what was left out."""

    clauses: dict[str, str] = {}
    warnings: tuple[str, ...] = ()


class ArenaUse(msgspec.Struct, frozen=True):
    """The use of a worker's adapter arena since its start: pins that found or made their adapter, and bytes now."""

    hits: int = 0
    misses: int = 0
    num_bytes: int = 0


class Progress(msgspec.Struct, frozen=True):
    """The progress of a job: evaluations taken, solver steps done."""

    position: int
    step: int


class Ran(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The result of a plan.

    Attributes:
        elapsed_ms: of the work itself: neither opening arrivals (but for ENCODE), nor previews, nor any transport.
        preview_ms: of the previews that followed, by job; also of one that came to nothing.
        failed: jobs that failed alone; the worker has let go of them.
        broken: why the plan as a whole raised; then no job advanced.
        dropped: jobs whose state the worker no longer trusts or holds; they must arrive again.
        progress: of the jobs that advanced.
        readings: of the jobs that were opened (ENCODE).
        arena: of the adapters.
        pictures: one frame each, uint8 [height, width, 3] (DECODE, `index` the image) or [images, height, width, 3]
            (preview).
        complaints: what went wrong beside the plan and changes no picture, in words, each kind once in a worker's life.
        texts: what an inquiry answers, of the jobs whose last piece this was.
    """

    number: int
    elapsed_ms: float = 0.0
    preview_ms: dict[str, float] = {}
    failed: dict[str, Failure] = {}
    broken: Failure | None = None
    dropped: tuple[str, ...] = ()
    progress: dict[str, Progress] = {}
    readings: dict[str, Reading] = {}
    arena: ArenaUse = ArenaUse()
    pictures: tuple[Array, ...] = ()
    complaints: tuple[str, ...] = ()
    texts: dict[str, tuple[Text, ...]] = {}


class Parked(msgspec.Struct, frozen=True, tag=True):
    """A job's state, or nothing if it could not be had: then it is replayed.

    `complaint` says why, once for each kind.
    """

    number: int
    job: str
    data: bytes = b""
    complaint: str = ""


class Ack(msgspec.Struct, frozen=True, tag=True):
    """The command was carried out, or failed for the given reason."""

    number: int
    failure: Failure | None = None


class Beat(msgspec.Struct, frozen=True, tag=True):
    """The worker lives. A thread of its own sends this, also during a long step."""

    number: int = -1


class Lost(msgspec.Struct, frozen=True, tag=True):
    """A worker is gone; the client brings this notice. `again` says whether it is started anew."""

    reason: str
    again: bool
    number: int = -1


Answer: TypeAlias = Ready | Unfit | Broken | Ran | Parked | Ack | Beat | Lost

_ENCODER = msgspec.msgpack.Encoder()
_COMMANDS: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def pack(message: Command | Answer) -> bytes:
    """Return a message as msgpack."""
    return _ENCODER.encode(message)


def read_command(data: Any) -> Command:
    """Read a command that `pack` wrote. Raise msgspec.DecodeError for any other bytes."""
    return _COMMANDS.decode(data)


def read_answer(data: Any) -> Answer:
    """Read an answer that `pack` wrote. Raise msgspec.DecodeError for any other bytes."""
    return _ANSWERS.decode(data)
