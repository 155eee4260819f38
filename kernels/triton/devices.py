"""Open the device that the triton backend computes on, or say why that cannot be."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import torch

from triton import knobs

from ...errors import complaint
from ..ops import Dtype

LEAST = (7, 5)  # compute capability: what Triton compiles for
BFLOAT16 = (8, 0)  # compute capability of the first GPUs with bfloat16 products
FLOAT8 = (8, 9)  # and with float8 products
INTERPRETER = "cpu"


@dataclass(frozen=True)
class DeviceFacts:
    """A GPU.

    Attributes:
        index: its number, as in "cuda:0".
        name: as its driver calls it.
        capability: its compute capability, major and minor.
        total_bytes: its memory.
    """

    index: int
    name: str
    capability: tuple[int, int]
    total_bytes: int


class Cuda:
    """What this installation of torch says of CUDA. Tests put another in its place."""

    def build(self) -> str | None:
        """Return the CUDA version that torch was built for, or None."""
        version: str | None = torch.version.cuda
        return version

    def start(self) -> None:
        """Start CUDA. Raise RuntimeError, with the driver's reason, if it does not start."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is raised too
            torch.cuda.init()

    def devices(self) -> list[DeviceFacts]:
        """Return the GPUs that this process may use."""
        found = []
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            found.append(DeviceFacts(index, facts.name, (facts.major, facts.minor), facts.total_memory))
        return found


@dataclass(frozen=True)
class Device:
    """An opened device.

    Attributes:
        torch: the device, for torch.
        arch: ten times its compute capability, such as 90; 0 for the interpreter.
        dtype: the compute dtype on it.
    """

    torch: torch.device
    arch: int
    dtype: Dtype

    @property
    def interpreted(self) -> bool:
        return self.arch == 0

    @property
    def label(self) -> str:
        """Its kind, in a backend's name: pixels are the same on all devices of a kind."""
        return "interpreter" if self.interpreted else f"sm_{self.arch}"


def open_device(
    name: str | None, dtype: Dtype | None = None, cuda: Cuda | None = None, *, float8: bool = False
) -> Device:
    """Open a device.

    Args:
        name: "cuda:N"; "cuda" or None: the first GPU; "cpu": Triton's interpreter, if TRITON_INTERPRET is set.
        dtype: compute dtype; None: bfloat16, or float32 under the interpreter.
        cuda: what torch says of CUDA.
        float8: whether it has to have float8 products.

    Raises:
        ValueError: there is no such device, or it does not do. The message says what is there and what helps.
    """
    interpreted = bool(knobs.runtime.interpret)
    if name == INTERPRETER:
        if not interpreted:
            remedy = "set TRITON_INTERPRET=1 before Salon starts to check kernels without a GPU, or use --backend cpu"
            raise ValueError(complaint("device", "'cpu'", "cuda:N for the triton backend", remedy))
        return Device(torch.device("cpu"), 0, dtype or "float32")
    index = re.fullmatch(r"cuda(?::(\d{1,4}))?", name or "cuda")
    if index is None:
        raise ValueError(complaint("device", repr(name), "cuda:N, N from 0 up", "name one that `salon doctor` lists"))
    facts = _gpu(int(index[1] or 0), cuda or Cuda())
    if interpreted:
        remedy = "unset TRITON_INTERPRET: with it kernels run on the CPU alone"
        raise ValueError(complaint("device", f"'cuda:{facts.index}' with TRITON_INTERPRET set", "cpu", remedy))
    return _checked(facts, dtype or "bfloat16", float8)


def list_devices(cuda: Cuda | None = None) -> list[DeviceFacts]:
    """Return the GPUs that torch can use; none without CUDA, whatever the reason."""
    cuda = cuda or Cuda()
    try:
        if cuda.build() is None:
            return []
        cuda.start()
        return cuda.devices()
    except RuntimeError:
        return []


def _gpu(index: int, cuda: Cuda) -> DeviceFacts:
    """Return the GPU of this number. Raise ValueError if there is none."""
    what, wanted = "device", f"'cuda:{index}'"
    if cuda.build() is None:
        remedy = "install a torch that is built for CUDA (pytorch.org/get-started), or use --backend cpu"
        raise ValueError(complaint(what, f"{wanted} with a torch that is built without CUDA", "cpu", remedy))
    try:
        cuda.start()
        found = cuda.devices()
    except RuntimeError as error:
        raise ValueError(_not_started(wanted, " ".join(str(error).split()), cuda)) from error
    if not found:
        remedy = "make a GPU visible (nvidia-smi, CUDA_VISIBLE_DEVICES), or use --backend cpu"
        raise ValueError(complaint(what, f"{wanted} where torch finds no GPU", "a machine with an NVIDIA GPU", remedy))
    if index >= len(found):
        there = ", ".join(f"cuda:{facts.index} ({facts.name})" for facts in found)
        raise ValueError(complaint(what, wanted, there, "name one of these"))
    return found[index]


def _not_started(wanted: str, reason: str, cuda: Cuda) -> str:
    """Return the refusal for CUDA that does not start: its driver is missing, too old, or in trouble."""
    lower = reason.lower()
    if "too old" in lower or "insufficient" in lower:
        remedy = f"update the NVIDIA driver, or install a torch that is built for an older CUDA than {cuda.build()}"
        return complaint("device", f"{wanted} with a driver that is too old ({reason})", "a newer driver", remedy)
    if "no nvidia driver" in lower or "no cuda gpus" in lower or "no cuda-capable" in lower:
        remedy = "install NVIDIA's driver and see that nvidia-smi lists a GPU, or use --backend cpu"
        return complaint("device", f"{wanted} without a working GPU ({reason})", "a machine with an NVIDIA GPU", remedy)
    remedy = "see what nvidia-smi says; a GPU that fell off the bus needs a reset or a restart of the machine"
    return complaint("device", f"{wanted}, which does not start ({reason})", "a GPU that works", remedy)


def _checked(facts: DeviceFacts, dtype: Dtype, float8: bool) -> Device:
    """Return the opened GPU. Raise ValueError if it is too old for Triton or for the dtype."""
    major, minor = facts.capability
    got = f"cuda:{facts.index}, {facts.name} of compute capability {major}.{minor}"
    if facts.capability < LEAST:
        allowed = "{}.{} or newer".format(*LEAST)
        raise ValueError(complaint("device", got, allowed, "use a newer GPU, or --backend cpu"))
    if float8 and facts.capability < FLOAT8:
        allowed = "{}.{} or newer for float8".format(*FLOAT8)
        raise ValueError(complaint("device", got, allowed, "use --backend triton on it, or a newer GPU"))
    if dtype == "bfloat16" and facts.capability < BFLOAT16:
        allowed = "{}.{} or newer for bfloat16".format(*BFLOAT16)
        raise ValueError(complaint("device", got, allowed, "use --dtype float32 on it, a newer GPU, or --backend cpu"))
    return Device(torch.device("cuda", facts.index), 10 * major + minor, dtype)
