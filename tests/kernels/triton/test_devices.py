"""What keeps the triton backend from a device is named, with what helps."""

from __future__ import annotations

import pytest

from salon.engine.engine import Engine
from salon.engine.errors import UnknownBackend
from salon.kernels import backends
from salon.kernels.triton.devices import Cuda, DeviceFacts, list_devices, open_device

GIB = 2**30


class Found(Cuda):
    """A machine with these GPUs."""

    def __init__(self, *devices: DeviceFacts, build: str | None = "12.8", error: str = "") -> None:
        self._devices, self._build, self._error = devices, build, error

    def build(self) -> str | None:
        return self._build

    def start(self) -> None:
        if self._error:
            raise RuntimeError(self._error)

    def devices(self) -> list[DeviceFacts]:
        return [*self._devices]


OLD = DeviceFacts(0, "Tesla T4", (7, 5), 15 * GIB)
NEW = DeviceFacts(1, "NVIDIA H200", (9, 0), 139 * GIB)
OLDEST = DeviceFacts(0, "Tesla P100", (6, 0), 16 * GIB)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without TRITON_INTERPRET."""
    monkeypatch.setattr("salon.kernels.triton.devices.knobs.runtime.interpret", False)


def test_devices_that_do(compiled):
    both = Found(OLD, NEW)
    opened = open_device("cuda:1", None, both)
    assert (str(opened.torch), opened.arch, opened.dtype, opened.label) == ("cuda:1", 90, "bfloat16", "sm_90")
    assert open_device("cuda:0", "float32", both).dtype == "float32"
    assert [facts.name for facts in list_devices(both)] == ["Tesla T4", "NVIDIA H200"]
    assert str(open_device(None, None, Found(NEW)).torch) == "cuda:1"  # its own number, where only that one is seen


@pytest.mark.parametrize(
    ("name", "dtype", "cuda", "told"),
    [
        ("cuda:0", None, Found(build=None), "built without CUDA, allowed cpu; install a torch that is built for CUDA"),
        ("cuda:0", None, Found(error="Found no NVIDIA driver on your system."), "install NVIDIA's driver"),
        (
            "cuda:0",
            None,
            Found(error="The NVIDIA driver on your system is too old (found version 11040)."),
            "a driver that is too old .*found version 11040.*; update the NVIDIA driver",
        ),
        ("cuda", None, Found(error="CUDA unknown error"), "does not start .*unknown error.*; see what nvidia-smi says"),
        ("cuda:0", None, Found(), "where torch finds no GPU"),
        ("cuda:7", None, Found(OLD, NEW), r"got 'cuda:7', allowed cuda:0 \(Tesla T4\), cuda:1 \(NVIDIA H200\)"),
        ("cuda:0", None, Found(OLD, NEW), "capability 7.5, allowed 8.0 or newer for bfloat16; use --dtype float32"),
        ("cuda:0", "float32", Found(OLDEST), "capability 6.0, allowed 7.5 or newer"),
        ("gpu", None, Found(NEW), "got 'gpu', allowed cuda:N"),
        ("cuda:-1", None, Found(NEW), "got 'cuda:-1', allowed cuda:N"),
        ("cpu", None, Found(NEW), "got 'cpu', allowed cuda:N for the triton backend; set TRITON_INTERPRET=1"),
    ],
)
def test_devices_that_do_not(compiled, name, dtype, cuda, told):
    with pytest.raises(ValueError, match=f"device: .*{told}") as error:
        open_device(name, dtype, cuda)
    assert "\n" not in str(error.value)


def test_float8_takes_a_device_that_has_it(compiled):
    assert open_device("cuda:1", None, Found(OLD, NEW), float8=True).arch == 90
    old = DeviceFacts(0, "NVIDIA A100", (8, 0), 80 * GIB)
    with pytest.raises(
        ValueError, match=r"A100 of compute capability 8.0, allowed 8.9 or newer for float8; use --backend"
    ):
        open_device("cuda:0", None, Found(old), float8=True)


def test_no_gpu_is_an_empty_list():
    assert list_devices(Found(NEW, build=None)) == list_devices(Found(NEW, error="in trouble")) == []


def test_the_engine_says_it_too(monkeypatch):
    with pytest.raises(ValueError, match="TRITON_INTERPRET set, allowed cpu"):
        open_device("cuda:1", None, Found(OLD, NEW))
    with pytest.raises(UnknownBackend, match="device: got 'cuda:99'"):
        Engine.load(backend="triton", device="cuda:99")
    with pytest.raises(UnknownBackend, match="isa: got 'avx2', want none for the triton backend"):
        Engine.load(backend="triton", device="cpu", isa="avx2")


def test_without_torch_it_says_what_to_install(monkeypatch):
    for name in ("devices", "table"):
        monkeypatch.setitem(__import__("sys").modules, f"salon.kernels.triton.{name}", None)
    with pytest.raises(UnknownBackend, match=r"backend 'triton': got no module .*pip install 'salon\[gpu\]'"):
        Engine.load(backend="triton")
    assert backends.remedy("cpu") == "install them"
