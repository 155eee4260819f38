"""Say which worker computes on which device."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..engine.errors import SpecError
from ..errors import complaint
from ..kernels import backends
from ..values import number_of, shown, whole_of

LONGEST: Final = 10**7  # seconds that weights of an idle worker may stay before they leave its device
MAX_WORKERS: Final = 256
_DEVICE: Final = re.compile(r"[a-z]+(:[0-9]{1,3})?")


def read_devices(text: str) -> tuple[str, ...]:
    """Read names of devices with commas between: "cuda:0,cuda:1".

    Raises:
        SpecError: a name is none of a device, or comes twice.
    """
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if not _DEVICE.fullmatch(name):
            allowed = "names like cuda:0 or cpu, with commas between"
            raise SpecError(complaint("device", shown(name or text), allowed, "see the GPUs with salon doctor"))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SpecError(complaint("device", f"{twice} twice", "each once", "ask for more workers instead"))
    return names


def want_unloading(after: object, backend: str) -> None:
    """Raise SpecError unless seconds make sense after which weights leave a device of this backend; None: they stay."""
    if after is None:
        return
    seconds = number_of(after)
    if seconds is None or not 0 < seconds <= LONGEST:
        allowed = f"seconds, more than 0 up to {LONGEST:,}"
        raise SpecError(complaint("unload_after", shown(str(after)), allowed, "600 is usual"))
    if backends.uses_cores(backend):
        allowed = "a backend on a device with memory of its own"
        raise SpecError(complaint("unload_after", f"it with backend {backend!r}", allowed, "leave it out"))


def worker_devices(device: str | Sequence[str] | None, workers: int | None) -> list[str | None]:
    """Return the device of each worker, in turn where there are more workers than devices.

    Args:
        device: names of devices, as `read_devices` takes them or one by one; None: the backend chooses.
        workers: how many; None: one for each device.

    Raises:
        SpecError: a name or the number makes no sense, or the workers cannot be shared out evenly.
    """
    devices: Sequence[str | None] = (None,)
    if device is not None:
        devices = read_devices(device if isinstance(device, str) else ",".join(map(str, device)))
    count = len(devices) if workers is None else whole_of(workers)
    if count is None or not 1 <= count <= MAX_WORKERS:
        raise SpecError(complaint("workers", shown(workers), f"1 to {MAX_WORKERS}", "choose another number"))
    if count % len(devices):
        allowed = f"a multiple of {len(devices)}, the number of devices"
        raise SpecError(complaint("workers", f"{count}", allowed, "leave it out for one on each"))
    return [devices[i % len(devices)] for i in range(count)]
