"""Keep an engine within the memory of its device, and say what a device's failure means.

A table on the host has no such device (`kernels/accelerator.py`), and nothing here concerns it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

from ..errors import complaint
from ..kernels.accelerator import Accelerator
from ..kernels.streaming import ROOM_BYTES
from .errors import DeviceFull, DeviceLost, LimitError
from .limits import Limits
from .memory import free_memory

RESERVE: Final = 768 * 2**20  # bytes for the driver's context, libraries' workspaces and fragmentation
PADDED: Final = 9 / 8  # padding adds at most an eighth to a step's rows (`padding.py`)
PLACES: Final = 2  # a step's activations lie in the memory that graphs share, and may do so beside it without a graph
UNIT: Final = 64 * 2**20  # bounds are whole multiples of so many bytes
LEAST: Final = 4 * UNIT  # activations of the smallest step that is worth a start
ACTIVATIONS: Final = 4  # a fourth of a device that holds no whole model is for activations

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


def kept_bytes(limits: Limits, device: Accelerator, weights: int) -> int | None:
    """Return how many bytes of a model's weights stay on a device that has no room for all; None: it has.

    It follows from the size of the device, not from what is free now, as `fitted` does.
    """
    total, fixed = device.room().total, limits.arena_bytes + RESERVE
    if total >= weights + fixed + LEAST:
        return None
    return max(0, total - fixed - ROOM_BYTES - max(LEAST, total // ACTIVATIONS))


def want_room(limits: Limits, device: Accelerator, weights: int) -> int | None:
    """Refuse a model that does not fit into what is free on a device now, before anything of it is brought there.

    A model that is larger than the device is streamed: what does not stay there is in the host's memory.

    Args:
        weights: bytes of the model's weights.

    Returns:
        Bytes of the weights that stay on the device; None: all of them.

    Raises:
        LimitError: it does not fit. The message has the numbers.
    """
    room, kept = device.room(), kept_bytes(limits, device, weights)
    held = weights if kept is None else kept + ROOM_BYTES
    need = held + limits.arena_bytes + RESERVE + LEAST
    got = f"a model that needs {need:,} bytes ({held:,} of them weights)"
    if kept is not None:
        got += f", and {weights - kept:,} bytes of weights that are streamed"
    if room.total < need:
        remedy = "use a device with more memory, a smaller model, or a smaller arena"
        raise LimitError(complaint(_named(device), got, f"{room.total:,} bytes", remedy))
    if room.free < need:
        allowed = f"{room.free:,} bytes, which are free of {room.total:,}"
        remedy = "end what else runs on it, or choose another --device"
        raise LimitError(complaint(_named(device), got, allowed, remedy))
    free = None if kept is None else free_memory()
    if kept is not None and free is not None and free < weights - kept:
        remedy = "free some memory, or use a device with more of its own"
        raise LimitError(complaint(_named(device), got, f"{free:,} bytes of the host's memory", remedy))
    return kept


def fitted(limits: Limits, device: Accelerator, weights: int) -> Limits:
    """Return limits under which a model's steps and decodings fit into the memory of a device, beside its weights.

    They follow from the size of the device, not from what is free now, so that workers on equal devices have equal
    ones. A default bound on bytes grows with the device; one that was chosen is only lowered.
    """
    kept = kept_bytes(limits, device, weights)
    held = weights if kept is None else kept + ROOM_BYTES
    fixed = held + limits.arena_bytes + RESERVE
    budget = max(LEAST, int((device.room().total - fixed) / (PLACES * PADDED))) // UNIT * UNIT
    chosen = {}
    for name in ("max_step_bytes", "max_decode_bytes"):
        given = getattr(limits, name)
        chosen[name] = budget if given == getattr(Limits, name) else min(given, budget)
    return replace(limits, **chosen)


def translated(error: Exception, device: Accelerator, task: str) -> Exception | None:
    """Return the error of ours that says what a device's error means; None: it is not about the device."""
    where = _named(device)
    if device.full(error):
        room = device.room()
        got = f"no memory left amid {task!r}, {room.free:,} bytes free of {room.total:,}"
        remedy = "take fewer or smaller pictures together, or end what else runs on it"
        return DeviceFull(complaint(where, got, "what fits", remedy))
    if (why := device.lost(error)) is not None:
        remedy = "start anew; if it happens again, look at the driver's log (dmesg, nvidia-smi)"
        return DeviceLost(complaint(where, f"{why} amid {task!r} ({_first_line(error)})", "a working device", remedy))
    return None


@contextmanager
def loading_on(device: Accelerator | None) -> Iterator[None]:
    """Raise DeviceFull or DeviceLost for what a device raises while a model is loaded."""
    try:
        yield
    except Exception as error:
        told = None if device is None else translated(error, device, "load")
        if told is None:
            raise
        raise told from error


def on_device(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Make an engine's method raise DeviceFull or DeviceLost for what its device raises, and bring weights back first
    that were unloaded.
    """

    @wraps(method)
    def guarded(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        engine: Any = self
        try:
            if engine.unloaded:
                engine.device.wake()
                engine.unloaded = False
            return method(self, *args, **kwargs)
        except Exception as error:
            if engine.device is None or isinstance(error, DeviceFull | DeviceLost):
                raise
            told = translated(error, engine.device, method.__name__)
            if told is None:
                raise
            if isinstance(told, DeviceFull):
                engine.make_room()
            raise told from error

    same: Callable[Concatenate[S, P], R] = cast(Any, guarded)
    return same


def _named(device: Accelerator) -> str:
    return f"{device.name} ({device.label})"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
