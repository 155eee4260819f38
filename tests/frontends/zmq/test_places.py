"""Where a server listens: `--listen ipc://PATH` takes nothing from anybody (faults.md 20b).

And a start that fails leaves nothing behind (faults.md 27).
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from salon.errors import SalonError
from salon.frontends.zmq import main
from salon.frontends.zmq.first_start import FirstStart
from salon.frontends.zmq.options import ServeOptions
from salon.frontends.zmq.places import ListenError, check_place
from salon.studio.errors import StoreInUse
from salon.studio.store.folder_lock import FolderLock

from ..wire.plain_client import PlainClient
from .conftest import TINY, Connect, Serve


@pytest.mark.parametrize("what", ["file", "folder", "link", "pipe"])
def test_what_is_no_socket_stays(serve: Serve, tmp_path: Path, what: str) -> None:
    path, target = tmp_path / "place", tmp_path / "target"
    target.write_text("precious")
    makers: dict[str, Any] = {
        "file": lambda: path.write_text("precious"),
        "folder": path.mkdir,
        "link": lambda: path.symlink_to(target),
        "pipe": lambda: os.mkfifo(path),
    }
    makers[what]()
    before = path.lstat()
    with pytest.raises(ListenError, match=f"--listen ipc://{path}: got .* at that path"):
        serve(listen=(f"ipc://{path}",))
    assert (path.lstat().st_ino, target.read_text()) == (before.st_ino, "precious")


def test_a_socket_that_somebody_answers_on_stays(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    """A second server took it without a word, and the first one was never called again."""
    path = tmp_path / "salon.sock"
    first = connect(serve(listen=(f"ipc://{path}",)))
    with pytest.raises(ListenError, match="another program listens on"):
        serve("other", listen=(f"ipc://{path}",))
    again = connect(serve("third", listen=("tcp://127.0.0.1:0",)))
    again.ping()
    first.ping()
    with PlainClient(f"ipc://{path}") as client:
        client.submit("k", "cat", **TINY)


def test_a_socket_of_a_server_that_was_killed_is_replaced(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "salon.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.exists()
    connect(serve(listen=(f"ipc://{path}",))).ping()


def test_other_sockets_and_other_addresses(tmp_path: Path) -> None:
    path = tmp_path / "log.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(ListenError):
            check_place(f"ipc://{path}")
    (tmp_path / "file").write_text("")
    with pytest.raises(ListenError, match="ENOTDIR"):
        check_place(f"ipc://{tmp_path}/file/salon.sock")
    check_place(f"ipc://{tmp_path}/free")
    check_place("tcp://127.0.0.1:1")


@pytest.fixture
def options(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SALON_KEY", raising=False)
    monkeypatch.setattr(main, "set_up_logging", lambda **_: None)
    monkeypatch.setattr(main, "raise_limit", lambda workers: None)
    return {
        "data": tmp_path / "some" / "where", "model": str(tiny), "threads": 1, "process": False, "metrics": None,
        "listen": ("tcp://127.0.0.1:0",), "curve": True,
    }  # fmt: skip


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "/nowhere"}, {"plans": Path("/nowhere")}, {"listen": ("tcp://192.0.2.1:5599",)},
        {"database": "mysql://x"}, {"metrics": "127.0.0.1:many"}, {"listen": ("ipc:///nowhere/salon.sock",)},
    ],
)  # fmt: skip
def test_a_first_start_that_fails_leaves_nothing(
    options: dict[str, Any], tmp_path: Path, wrong: dict[str, Any]
) -> None:
    before = everything(tmp_path)
    with pytest.raises(SalonError):
        main.serve(ServeOptions(**(options | wrong)))
    assert everything(tmp_path) == before


def test_what_was_there_before_stays(options: dict[str, Any], tmp_path: Path, serve: Serve, connect: Connect) -> None:
    server = serve(curve=True)
    server.stop()
    server = serve()
    job = connect(server).submit("k", "cat", **TINY)["job"]
    server.stop()
    before = [name for name in everything(tmp_path) if not name.endswith(("-wal", "-shm"))]
    with pytest.raises(SalonError):
        main.serve(ServeOptions(**(options | {"data": server.options.data, "model": "/nowhere"})))
    left = [name for name in everything(tmp_path) if not name.endswith(("-wal", "-shm"))]
    assert left == before
    assert connect(serve()).show(job)["job"] == job


def test_what_another_server_has_stays(tmp_path: Path) -> None:
    """It came while this one was starting: everything here is its own now."""
    data = tmp_path / "data"
    first = FirstStart(data)
    data.mkdir()
    other = FolderLock(data)
    (data / "salon.db").write_text("")
    first.__exit__(KeyError, KeyError(), None)
    assert everything(tmp_path) == ["data", "data/lock", "data/salon.db"]
    other.close()


def test_a_lock_that_is_removed_while_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two would have one each: of the file that is there, and of the one that was."""
    first = FolderLock(tmp_path)

    flock = fcntl.flock

    def late(file: int, how: int) -> None:
        first.remove()
        first.close()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(StoreInUse, match="removed just now"):
        FolderLock(tmp_path)
    monkeypatch.undo()
    held = FolderLock(tmp_path)
    held.close()
