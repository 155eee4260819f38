"""The work folder: nothing half-written is ever trusted."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from salon.models.mini.recipe.errors import CacheError, SpaceError
from salon.models.mini.recipe.store import STAMP, Stage, atomic, digest, file_digest, need_space, open_stage


@dataclass(frozen=True)
class Config:
    size: int = 3


def make(root: Path, size: int = 3, inputs: dict[str, str] | None = None) -> Stage:
    stage = Stage(root, "raster", Config(size), inputs or {})
    stage.write_array("a.npy", np.arange(size))
    stage.write_json("a.json", {"n": size})
    stage.finish(count=size)
    return stage


def test_a_finished_stage_opens(tmp_path: Path) -> None:
    stage = make(tmp_path)
    done = open_stage(tmp_path, "raster", key=stage.key)
    assert np.array_equal(done.array("a.npy"), np.arange(3))
    assert done.json("a.json") == {"n": 3}
    assert done.figures == {"count": 3}
    assert stage.is_done()


def test_an_unfinished_stage_is_refused(tmp_path: Path) -> None:
    Stage(tmp_path, "raster", Config(), {}).write_array("a.npy", np.arange(3))
    with pytest.raises(CacheError, match=r"has not finished.*recipe\.raster"):
        open_stage(tmp_path, "raster")


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    make(tmp_path, 3)
    other = Stage(tmp_path, "raster", Config(4), {})
    assert not other.is_done()
    with pytest.raises(CacheError, match="another configuration"):
        open_stage(tmp_path, "raster", key=other.key)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [damage, truncate, Path.unlink])
@pytest.mark.parametrize("name", ["a.npy", "a.json"])
def test_a_changed_file_is_refused_by_name(tmp_path: Path, harm: Callable[[Path], None], name: str) -> None:
    stage = make(tmp_path)
    harm(stage.path(name))
    with pytest.raises(CacheError, match=name):
        open_stage(tmp_path, "raster")
    assert not stage.is_done()


def test_a_damaged_stamp_is_refused(tmp_path: Path) -> None:
    truncate(make(tmp_path).path(STAMP))
    make(tmp_path).path(STAMP).write_text("{")
    with pytest.raises(CacheError, match=r"stage.json is damaged"):
        open_stage(tmp_path, "raster")


def test_an_input_made_anew_is_noticed(tmp_path: Path) -> None:
    first = make(tmp_path)
    plan = Stage(tmp_path, "plan", {}, {"raster": first.key})
    plan.finish()
    open_stage(tmp_path, "plan")
    make(tmp_path, 5)
    with pytest.raises(CacheError, match="older raster"):
        open_stage(tmp_path, "plan")


def write_and_fail(path: Path, error: Exception) -> None:
    with atomic(path) as f:
        f.write(b"half")
        raise error


def test_a_failed_write_leaves_the_old_file_and_no_scrap(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="stop"):
        write_and_fail(path, RuntimeError("stop"))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="no space left"):
        write_and_fail(tmp_path / "x", OSError(28, "No space left on device"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(SpaceError, match="MB are free"):
        need_space(tmp_path, 10**18)


def test_keys_depend_on_content_alone() -> None:
    assert digest({"a": 1, "b": (1, 2)}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest(Config(3)) != digest(Config(4))


def test_large_files_are_sampled_at_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "big"
    data = bytearray(3_000_000)
    path.write_bytes(data)
    before = file_digest(path)
    for at in (0, len(data) - 1):
        changed = bytearray(data)
        changed[at] = 1
        path.write_bytes(changed)
        assert file_digest(path) != before


def test_the_stamp_is_readable(tmp_path: Path) -> None:
    stamp = json.loads(make(tmp_path).path(STAMP).read_text())
    assert stamp["config"] == {"size": 3}
    assert set(stamp["files"]) == {"a.npy", "a.json"}
