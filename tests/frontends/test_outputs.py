"""Files appear whole under names that were free, or not at all."""

from __future__ import annotations

import os
import resource
import signal
import stat
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from salon import system
from salon.engine.errors import OutputError
from salon.frontends import deferral, outputs
from salon.frontends.outputs import Destination, slug


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def names(folder: Path | str) -> list[str]:
    """Everything there, hidden files included."""
    return sorted(os.listdir(folder))


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a red apple, 3d render, on a teal background", "a-red-apple-3d-render-on-a-teal"),
        ("A  Cat!", "a-cat"),
        ("x" * 100, "x" * 40),
        ("../../etc/passwd", "etc-passwd"),
        ("ein Käfer", "ein-käfer"),
        ("苹果", "苹果"),
        ("?!", "picture"),
        ("एक बिल्ली，साइकिल", "एक-बिल्ली-साइकिल"),  # faults.md 6: vowel signs cut words to pieces
        ("ไก่ กับ ตู้", "ไก่-กับ-ตู้"),
        ("ａ ｒｅｄ apple", "a-red-apple"),
        ("x" * 39 + "कि", "x" * 39),  # a letter and its vowel sign are one
    ],
)
def test_slug(prompt: str, text: str) -> None:
    assert slug(prompt) == text


def test_default_names_are_numbered_never_overwritten(tmp_path: Path) -> None:
    destination = Destination.of(None, "cat-7", 2)
    destination.check(1000)
    assert names(tmp_path) == []  # nothing is there before there are pictures
    assert destination.write([b"grid", b"one", b"two"]) == destination.paths()
    assert names("outputs") == ["cat-7-1.png", "cat-7-2.png", "cat-7.png"]
    destination.check(1000)
    again = destination.write([b"GRID", b"ONE", b"TWO"])
    assert [path.name for path in again] == ["cat-7-run2.png", "cat-7-run2-1.png", "cat-7-run2-2.png"]
    assert Path("outputs/cat-7.png").read_bytes() == b"grid"
    assert len(names("outputs")) == 6


def test_a_set_is_numbered_as_a_whole() -> None:
    Path("cat-2.png").write_bytes(b"mine")
    written = Destination.of(".", "cat", 3).write([b"g", b"1", b"2", b"3"])
    assert [path.name for path in written] == ["cat-run2.png", "cat-run2-1.png", "cat-run2-2.png", "cat-run2-3.png"]
    assert Path("cat-2.png").read_bytes() == b"mine"


def test_one_picture_makes_one_file() -> None:
    assert [str(path) for path in Destination.of("x.png", "ignored", 1).write([b"1"])] == ["x.png"]


def test_a_fixed_name_that_exists_is_refused_unless_forced() -> None:
    Path("x-2.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"'x-2.png': a file that exists; choose another name, or pass --force"):
        Destination.of("x.png", "", 2)
    destination = Destination.of("x.png", "", 2, force=True)
    destination.check(10)
    destination.write([b"g", b"1", b"2"])
    assert Path("x-2.png").read_bytes() == b"2"
    assert names(".") == ["x-1.png", "x-2.png", "x.png"]


def test_a_fixed_name_taken_meanwhile_is_left_alone() -> None:
    destination = Destination.of("x.png", "", 2)
    Path("x-1.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        destination.write([b"g", b"1", b"2"])
    assert names(".") == ["x-1.png"]
    assert Path("x-1.png").read_bytes() == b"mine"


def test_a_dangling_link_counts_as_taken() -> None:
    os.symlink("/nowhere/at/all", "x.png")
    with pytest.raises(OutputError, match="exists"):
        Destination.of("x.png", "", 1)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("none/deep/", "'none/deep': a folder that does not exist; .* mkdir -p 'none/deep'"),
        ("none/deep", "'none': a folder that does not exist"),
        ("none/x.png", "'none': a folder that does not exist"),
        ("none/deep/x.png", "'none/deep': a folder that does not exist"),
        ("file/x.png", "'file': a file, not a folder"),
        ("file/", "'file': a file, not a folder"),
        ("x.gif", "no name ending in .png, .jpg, .jpeg or .webp; add .png"),
        ("file", "no name ending in .png"),
        ("-", "no name ending in .png"),
        ("", "no name at all"),
        ("/dev/full", "no name ending in .png"),
    ],
)
def test_outputs_refused(output: str, message: str) -> None:
    Path("file").write_bytes(b"")
    with pytest.raises(OutputError, match=message):
        Destination.of(output, "stem", 1).check(1)
    assert names(".") == ["file"]


@pytest.mark.parametrize("output", ["new", "new/", "./new"])
def test_a_folder_that_is_not_there_yet_is_made_with_the_pictures(output: str) -> None:
    """faults.md 26: `-o FOLDER` had to exist, though `outputs` is made."""
    destination = Destination.of(output, "stem", 1)
    destination.check(1)
    assert names(".") == []
    assert destination.write([b"1"]) == [Path("new/stem.png")]
    assert Destination.of(output, "stem", 1).write([b"2"]) == [Path("new/stem-run2.png")]


def test_too_long_a_name_is_refused_before_any_work() -> None:
    with pytest.raises(OutputError, match="a name over 255 bytes"):
        Destination.of("x" * 250 + ".png", "", 2).check(1)
    Destination.of("x" * 250 + ".png", "", 1).check(1)
    assert names(".") == []


@pytest.mark.parametrize("output", ["x" * 300 + ".png", "x" * 300, "x" * 300 + "/", "x" * 300 + "/y.png", "a/" * 3000])
def test_a_path_too_long_to_be_looked_at(output: str) -> None:
    with pytest.raises(OutputError, match=r"File name too long \(ENAMETOOLONG\); choose a shorter one"):
        Destination.of(output, "stem", 1)


def test_a_folder_that_may_not_be_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may look into all of them."""

    def denied(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", denied)
    with pytest.raises(OutputError, match=r"output '/secret/x.png': Permission denied \(EACCES\); change its rights"):
        Destination.of("/secret/x.png", "stem", 1)


def test_the_default_folder_is_a_file() -> None:
    Path("outputs").write_bytes(b"")
    with pytest.raises(OutputError, match=r"'outputs': cannot be written \(Not a directory \(ENOTDIR\)\)"):
        Destination.of(None, "x", 1).check(1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights() -> None:
    os.mkdir("locked", 0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        Destination.of("locked", "x", 1).check(1)


def test_a_folder_where_not_even_root_may_write() -> None:
    with pytest.raises(OutputError, match=r"'/proc': cannot be written"):
        Destination.of("/proc/x.png", "", 1).check(1)


def test_no_space_is_seen_before_any_work_and_after() -> None:
    """A limit on the size of files is how the test runs out of space without a disk of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        Destination.of(".", "x", 1).check(4096)
        with pytest.raises(OutputError, match=r"'\.': cannot be written \(posix_fallocate: File too large"):
            Destination.of(".", "x", 1).check(4097)
        with pytest.raises(OutputError, match="File too large"):
            Destination.of(".", "x", 2).write([b"small", b"small", b"x" * 5000])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(".") == []


def test_an_interruption_while_names_are_given_undoes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = system.appear, list[Path]()

    def interrupted(temporary: Path, path: Path) -> None:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(path)
        real(temporary, path)

    monkeypatch.setattr(outputs, "appear", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Destination.of(".", "x", 2).write([b"g", b"1", b"2"])
    assert len(calls) == 2
    assert names(".") == []


def test_without_hard_links_a_rename_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert [path.name for path in Destination.of(".", "x", 1).write([b"1"])] == ["x.png"]
    assert [path.name for path in Destination.of(".", "x", 1).write([b"2"])] == ["x-run2.png"]
    assert names(".") == ["x-run2.png", "x.png"]


def test_files_have_the_usual_rights() -> None:
    mask = os.umask(0o022)
    try:
        (path,) = Destination.of(".", "x", 1).write([b"1"])
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_at_any_line_leaves_all_files_or_none(times: int, force: bool) -> None:
    """Between a name and the note that it was given, or while temporary files were removed, it left half of a set."""
    sources = {outputs.__file__, system.__file__, deferral.__file__}
    whole = ["x-1.png", "x-2.png", "x.png"]
    interrupted = complete = 0
    for moment in range(1000):
        left = moment

        def line(frame: FrameType, event: str, _argument: object) -> Any:
            nonlocal left
            if frame.f_code.co_filename not in sources:
                return None
            if event == "line":
                left -= 1
                if -times <= left < 0:
                    signal.raise_signal(signal.SIGINT)
            return line

        destination = Destination.of("x.png", "", 2, force=force)
        before = sys.gettrace()
        ended = False
        try:
            sys.settrace(line)
            destination.write([b"g", b"1", b"2"])
        except KeyboardInterrupt:
            ended = True
        finally:
            sys.settrace(before)
        found = names(".")
        assert found in ([], whole), f"interrupted at line {moment}"
        interrupted += ended
        complete += bool(found)
        for name in found:
            os.unlink(name)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if left >= 0:  # it was done before that moment
            break
    assert interrupted > 50
    assert complete > 10


def test_a_folder_that_was_removed_meanwhile_is_made_again() -> None:
    """The pictures were lost."""
    os.mkdir("there")
    destination = Destination.of("there", "x", 1)
    os.rmdir("there")
    assert destination.write([b"1"]) == [Path("there/x.png")]


def test_a_set_that_cannot_be_written_takes_its_folder_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(outputs, "flush_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Destination.of(None, "x", 1).write([b"1"])
    assert names(".") == []
