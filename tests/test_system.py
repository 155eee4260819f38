"""What the operating system says is told as it is: its number, the call, the path (faults 16 and 20)."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from salon import system
from salon.system import NoHome, appear, calling, expand_home, explain, flush_file, flush_folder, reserve


def run(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = subprocess.run(  # type: ignore[call-overload]
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, **options
    )
    return done


@pytest.mark.parametrize(
    ("number", "name", "remedy"),
    [
        (errno.ENOSPC, "ENOSPC", "make room"),
        (errno.EMFILE, "EMFILE", "ulimit -n"),
        (errno.ENOMEM, "ENOMEM", "free some memory"),
        (errno.ENOLCK, "ENOLCK", "a local disk"),
        (errno.EOPNOTSUPP, "EOPNOTSUPP|ENOTSUP", "another one"),
        (errno.EACCES, "EACCES", "change its rights"),
        (errno.EIO, "EIO", "dmesg"),
        (errno.EDOM, "EDOM", "try again"),
    ],
)
def test_an_error_is_what_its_number_says(number: int, name: str, remedy: str) -> None:
    got, _, what = explain(OSError(number, os.strerror(number)))
    assert got in [f"{os.strerror(number)} ({each})" for each in name.split("|")]
    assert remedy in what


def test_an_error_without_a_number() -> None:
    assert explain(OSError("no such thing")).got == "no such thing"


def test_call_and_path_are_added_once() -> None:
    with pytest.raises(OSError, match="Invalid") as info, calling("outer", "/b"), calling("fsync", "/a"):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    assert info.value.filename == "/a"
    assert explain(info.value).got == "fsync: Invalid argument (EINVAL)"
    with pytest.raises(FileNotFoundError) as missing, calling("open", "/b"):
        os.stat("/nowhere/at/all")
    assert missing.value.filename == "/nowhere/at/all"


def test_a_folder_that_cannot_be_flushed() -> None:
    """/proc answers EINVAL, as SMB and WSL do."""
    folder = os.open("/proc", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            os.fsync(folder)
    finally:
        os.close(folder)
    flush_folder("/proc")


def test_what_else_goes_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as info:
        flush_folder(tmp_path / "none")
    assert info.value.filename == str(tmp_path / "none")
    read, write = os.pipe()
    try:
        with pytest.raises(OSError, match="Invalid argument") as flushed:
            flush_file(write, "a pipe")  # a file that cannot be flushed is no file that is safe
    finally:
        os.close(read)
        os.close(write)
    assert explain(flushed.value).got == "fsync: Invalid argument (EINVAL)"


def test_reserving(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        reserve(file.fileno(), 10_000, tmp_path)
        assert os.fstat(file.fileno()).st_size == 10_000
        with pytest.raises(OSError, match="posix|large|space") as info:
            reserve(file.fileno(), 1 << 60, tmp_path)
    assert system.is_full(info.value)
    assert info.value.filename == str(tmp_path)


def test_a_name_is_given_once(tmp_path: Path) -> None:
    one, two, name = tmp_path / "one", tmp_path / "two", tmp_path / "name"
    one.write_text("1")
    two.write_text("2")
    appear(one, name)
    with pytest.raises(FileExistsError) as info:
        appear(two, name)
    assert info.value.filename2 == str(name)
    assert name.read_text() == "1"


def test_descriptors_are_counted_before_they_are_needed() -> None:
    code = """
import resource, sys
from salon.system import TooFewDescriptors, need_descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 40))
need_descriptors(10, "x")
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (20, 40), "there were enough"
need_descriptors(30, "x")
soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
assert 30 < soft <= 40, soft
try:
    need_descriptors(50, "x")
except TooFewDescriptors as error:
    assert str(error).startswith("x: got at most 40 file descriptors, "), error
    assert "ulimit -n 1024" in str(error)
else:
    sys.exit("taken")
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft))
files = []
try:
    while True:
        files.append(open("/dev/null"))
except OSError:
    pass
try:
    need_descriptors(1, "x")
except TooFewDescriptors as error:
    assert f"{soft} of them in use" in str(error), error
    sys.exit(7)
"""
    done = run(code)
    assert done.returncode == 7, done.stderr  # not even /proc/self/fd can be read then


def test_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/a/home")
    assert system.home("x") == Path("/a/home")
    assert expand_home("~", "--data") == "/a/home"
    assert expand_home("~/x/", "--data") == "/a/home/x/"
    assert expand_home("x~", "--data") == "x~"
    assert expand_home("", "--data") == ""
    with pytest.raises(NoHome, match=r"^--data: got '~nosuch/x' \(no home for ~nosuch\), .* or \./~nosuch for a file"):
        expand_home("~nosuch/x", "--data")


def test_folders_in_memory_are_told_by_what_is_mounted_there(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    lines = (
        f"/dev/vda / ext4 rw 0 0\ntmpfs {tmp_path}/a\\040b tmpfs rw 0 0\n",
        f"/dev/vdb {tmp_path}/a\\040b/disk xfs 0 0\n",
    )
    mounts.write_text("".join(lines))
    for place, found in (("a b", True), ("a b/deep", True), ("a b/disk/deep", False), ("a bc", False), (".", False)):
        assert system.in_memory(tmp_path / place, str(mounts)) is found, place
    assert not system.in_memory(tmp_path, str(tmp_path / "nothing"))
