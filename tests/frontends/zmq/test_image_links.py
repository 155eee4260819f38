"""Links of pictures on the command line, in clients and on a server, each only where they are allowed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from salon.frontends.arguments import parse
from salon.frontends.client.client import Client
from salon.frontends.client.errors import Invalid
from salon.frontends.commands.serve import options_of
from salon.frontends.recipe import read_png
from salon.studio.references import digest_of
from salon.studio.service import links

from ...studio.service.test_links import LOOPBACK, answer, picture, web
from ..conftest import Main
from .conftest import Serve

FLAGS = ["--n", "1", "--steps", "3", "--seed", "7", "--json"]


def test_the_operator_decides(serve: Serve, main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "POLICY", LOOPBACK)
    data = picture()
    with web(a=answer(data), text=answer(b"hello")) as (there, asked):
        words: list[list[str]] = [
            [f"{there}/a.png a cat"],
            ["a cat", "--image", f"{there}/a.png"],
            ["a cat", "--sref", f"{there}/a.png::2", "7"],
        ]
        off = serve("off", model=None, backend="cpu")
        where: list[str]
        for where, told in (([], "pass --image-links"), (["--server", off.address], "serve with --image-links")):
            for each in words:
                for command in ("imagine", "plan"):
                    more = ["-o", "no.png", *FLAGS] if command == "imagine" else []
                    code, out, err = main(command, *each, *more, *where)
                    assert (code, out) == (2, "")
                    assert "links of pictures are off" in err
                    assert told in err
        assert asked == []
        assert not (tmp_path / "no.png").exists()
        on = serve("on", model=None, backend="cpu", image_links=True)
        for number, each in enumerate(words):
            specs = []
            for name, where in (("here", ["--image-links"]), ("there", ["--server", on.address])):
                path = tmp_path / f"{name}{number}.png"
                code, out, err = main("imagine", *each, *FLAGS, "-o", str(path), *where)
                assert code == 0, err
                specs.append((read_png(path)[1].spec, read_png(path)[0]))
            assert specs[0][0] == specs[1][0]
            assert digest_of(data) in str(specs[0][0])
            np.testing.assert_array_equal(specs[0][1], specs[1][1])
        code, out, err = main("plan", *words[0], "--json", "--server", on.address)
        assert code == 0, err
        for where in (["--image-links"], ["--server", on.address]):
            code, _, err = main("imagine", f"{there}/text.png a cat", *FLAGS, "-o", "no.png", *where)
            assert code == 2
            assert "got no picture" in err
        code, _, err = main("imagine", *words[0], "--image-links", "--server", on.address)
        assert code == 2
        assert "--image-links: got it with a server" in err
        with Client(on.address) as client:
            job = client.imagine(f"{there}/a.png a cat", images=1, steps=2)
            assert job.wait().state == "done"
            with pytest.raises(Invalid, match="allowed http:// or https://, a host and a path"):
                client.imagine("a cat", image="http://user@127.0.0.1/a.png")
        with Client(off.address) as client, pytest.raises(Invalid, match="links of pictures are off"):
            client.imagine("a cat", image=f"{there}/a.png")


def test_the_flag_of_the_server(tmp_path: Path) -> None:
    assert options_of(parse(["serve", "--data", str(tmp_path), "--image-links"], "1")).image_links
    assert not options_of(parse(["serve", "--data", str(tmp_path)], "1")).image_links
