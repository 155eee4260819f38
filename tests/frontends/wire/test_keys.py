"""Keys: made, kept, refused, and never shown."""

from __future__ import annotations

import os
import stat
import threading
import traceback
from pathlib import Path

import pytest
import zmq

from salon.frontends.wire import keys
from salon.frontends.wire.errors import KeyFileError
from salon.frontends.wire.keys import (
    KeyPair,
    client_key_path,
    load_or_make,
    load_pair,
    make_pair,
    save_pair,
    to_hex,
    to_z85,
)


def test_a_pair() -> None:
    pair = make_pair()
    assert pair != make_pair()
    assert to_hex(zmq.curve_public(to_z85(pair.secret))) == pair.public == pair.account
    assert to_hex(to_z85(pair.secret)) == pair.secret
    assert len(to_z85(pair.public)) == 40


def test_the_secret_is_not_shown() -> None:
    pair = make_pair()
    for text in (repr(pair), str(pair), f"{pair}", f"{[pair]}"):
        assert pair.secret not in text
        assert pair.public in text


@pytest.mark.parametrize("public", ["", "a" * 63, "A" * 64, "a" * 64 + "\n"])
def test_no_pair_of_anything_else(public: str) -> None:
    with pytest.raises(AssertionError):
        KeyPair(public, "a" * 64)


def test_there_and_back(tmp_path: Path) -> None:
    path, pair = tmp_path / "deep" / "er" / "key", make_pair()
    old = os.umask(0)
    try:
        save_pair(path, pair)
    finally:
        os.umask(old)
    assert load_pair(path) == pair
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path], "nothing else is left there"
    text = path.read_text()
    assert text.splitlines()[1:] == [f'public = "{pair.public}"', f'secret = "{pair.secret}"']


def test_a_key_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    path, first, second = tmp_path / "key", make_pair(), make_pair()
    save_pair(path, first)
    with pytest.raises(KeyFileError, match="got a file that is there already"):
        save_pair(path, second)
    assert load_pair(path) == first
    save_pair(path, second, overwrite=True)
    assert load_pair(path) == second
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601, 0o777])
def test_open_to_others(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    save_pair(path, make_pair())
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}, open to others, allowed mode 0600; chmod 600 {path}"):
        load_pair(path)
    path.chmod(0o400)
    assert load_pair(path)


def damaged(pair: KeyPair) -> dict[str, bytes]:
    public, secret = f'public = "{pair.public}"\n', f'secret = "{pair.secret}"\n'
    return {
        "empty": b"",
        "no secret": public.encode(),
        "no TOML": f"{public}secret = {pair.secret}".encode(),
        "no UTF-8": (public + secret).encode() + b"# \xff",
        "a number": f"{public}secret = 5".encode(),
        "too short": f'{public}secret = "{pair.secret[1:]}"'.encode(),
        "too long a file": (public + secret + "#" * 5_000).encode(),
        "of two pairs": f'public = "{make_pair().public}"\n{secret}'.encode(),
    }


@pytest.mark.parametrize("case", damaged(make_pair()))
def test_damaged(tmp_path: Path, case: str) -> None:
    path, pair = tmp_path / "key", make_pair()
    data = damaged(pair)[case]
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="restore it from a backup") as caught:
        load_pair(path)
    shown = "".join(traceback.format_exception(caught.value))
    assert pair.secret[:-8] not in shown
    assert pair.secret[8:] not in shown
    with pytest.raises(KeyFileError):
        load_or_make(path)
    assert path.read_bytes() == data, "a damaged key is left as it is"


def test_no_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(KeyFileError, match="got no plain file"):
            load_pair(path)
    with pytest.raises(KeyFileError, match="got no file.*make one with `salon keys`"):
        load_pair(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match="Not a directory"):
        load_pair(tmp_path / "file" / "key")
    with pytest.raises(KeyFileError, match="Not a directory.*allowed folders before the name"):
        save_pair(tmp_path / "pipe" / "key", make_pair())


def test_all_get_the_same(tmp_path: Path) -> None:
    path, found = tmp_path / "new" / "key", list[KeyPair]()
    start = threading.Barrier(8)

    def work() -> None:
        start.wait(60)
        found.append(load_or_make(path))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    assert len(set(found)) == 1
    assert load_or_make(path) == found[0]


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert client_key_path({}) == tmp_path / ".config" / "salon" / "key"
    assert client_key_path({"XDG_CONFIG_HOME": "/etc/xdg"}) == Path("/etc/xdg/salon/key")
    assert client_key_path({"XDG_CONFIG_HOME": "relative"}) == tmp_path / ".config" / "salon" / "key"
    assert client_key_path({"XDG_CONFIG_HOME": ""}) == tmp_path / ".config" / "salon" / "key"
    assert client_key_path({"XDG_CONFIG_HOME": "/etc/xdg", "SALON_KEY": "~/my"}) == tmp_path / "my"
    monkeypatch.setenv("SALON_KEY", "/my/key")
    assert client_key_path() == Path("/my/key")


def test_without_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq, "has", lambda name: name != "curve")
    with pytest.raises(KeyFileError, match="libzmq: got one without CURVE"):
        make_pair()


def test_sockets_take_the_keys() -> None:
    """A word goes through between two that know each other; the server sees whose it is."""
    server, client = make_pair(), make_pair()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router, context.socket(zmq.DEALER) as dealer:
        router.linger = dealer.linger = 0
        keys.secure_server(router, server)
        router.bind("tcp://127.0.0.1:*")
        keys.secure_client(dealer, client, server.public)
        dealer.connect(router.get_string(zmq.LAST_ENDPOINT))
        dealer.send(b"hello")
        assert router.poll(60_000)
        assert router.recv_multipart()[1] == b"hello"
        assert router.mechanism == zmq.CURVE
