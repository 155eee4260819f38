"""LoRAs: files in every layout, several and different ones in one batch, and what is refused."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, LimitError, SpecError
from salon.engine.generation import Generation
from salon.engine.limits import Limits

from .conftest import transformer
from .lora_files import LAYERS, changes, comfy, kohya, lycoris, original, peft, write

SHAPES = {name.removesuffix(".weight"): w.shape for name, w in transformer(False)[1].items() if w.ndim == 2}


@pytest.fixture(scope="module")
def own(tiny_model: Path, backend: str) -> Engine:
    """An engine of float32, whose pictures are as exact as merged weights'."""
    return Engine.load(tiny_model, backend=backend, dtype="float32")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loras")


def run(engine: Engine, *generations: Generation) -> list[Any]:
    """The latents of generations that are stepped together."""
    running = list(generations)
    while running:
        engine.step(running)
        running = [each for each in running if each.state == "running"]
    found = [engine.ops.numpy(each.latents) for each in generations]
    for each in generations:
        engine.close(each)
    return found


def opened(engine: Engine, *loras: Any, **fields: Any) -> Generation:
    return engine.open(engine.make_spec("a red apple", **{"seed": 3, "steps": 2, "loras": loras, **fields}))


def merged(engine: Engine, folder: Path, tmp_path: Path, deltas: Mapping[str, Any]) -> Any:
    """The latents of a checkpoint with changed weights."""
    shutil.copytree(folder, tmp_path / "merged")
    path = tmp_path / "merged" / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    for name, delta in deltas.items():
        weights[f"{name}.weight"] = weights[f"{name}.weight"] + delta
    save_file(weights, path, {"format": "pt"})
    other = Engine.load(tmp_path / "merged", backend=engine.ops.name.partition("/")[0], dtype="float32")
    return run(other, opened(other))[0]


def layouts(name: str) -> tuple[dict[str, Any], dict[str, str] | None, dict[str, Any]]:
    """The arrays of a file, its metadata, and the changes of weights that they are."""
    if name == "lycoris":
        arrays, deltas = lycoris()
        return arrays, None, deltas
    if name == "peft":
        made = changes()
        settings = {"transformer.r": 3, "transformer.lora_alpha": 6, "transformer.alpha_pattern": {"proj_mlp": 3.0}}
        deltas = {key: up @ down * (1 if key.endswith("proj_mlp") else 2) for key, (down, up) in made.items()}
        return peft(made), {"lora_adapter_metadata": json.dumps(settings)}, deltas
    theirs, made = original(SHAPES)
    scale = 0.5 if name == "kohya" else 1
    deltas = {key: scale * up @ down for key, (down, up) in made.items()}
    return kohya(theirs) if name == "kohya" else comfy(theirs), None, deltas


@pytest.mark.parametrize("layout", ["peft", "kohya", "comfy", "lycoris"])
def test_a_lora_draws_as_if_its_weights_were_merged(
    own: Engine, tiny_model: Path, files: Path, tmp_path: Path, layout: str
) -> None:
    arrays, metadata, deltas = layouts(layout)
    digest, path = write(files / f"{layout}.safetensors", arrays, metadata)
    own.add_lora(digest, path)
    plain, with_it = run(own, opened(own))[0], run(own, opened(own, (digest, 0.8)))[0]
    want = merged(own, tiny_model, tmp_path, {name: np.float32(0.8) * delta for name, delta in deltas.items()})
    assert np.abs(with_it - plain).max() > 0.05
    np.testing.assert_allclose(with_it, want, atol=2e-5 * np.abs(want).max())


def test_each_of_a_batch_is_as_alone_to_the_bit(engine: Engine, files: Path) -> None:
    digests = []
    for i, rank in enumerate((1, 4, 7)):
        digest, path = write(files / f"batch{i}.safetensors", peft(changes(rank=rank, seed=10 + i)))
        engine.add_lora(digest, path)
        digests.append(digest)
    plans: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}), (((digests[0], 0.7),), {"images": 2}), (((digests[1], -1.5), (digests[2], 0.3)), {"width": 24}),
        ((), {"seed": 8}), (((digests[0], 0.2),), {"guidance_scale": 1.0, "steps": 1}), (((digests[2], 0),), {}),
    ]  # fmt: skip
    alone = [run(engine, opened(engine, *loras, **fields))[0] for loras, fields in plans]
    together = run(engine, *(opened(engine, *loras, **fields) for loras, fields in plans))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(alone[0], alone[5])  # weight 0 is none
    assert len({each.tobytes() for each in alone}) == 5

    generation = opened(engine, (digests[1], 0.9))  # parked in the middle, and gone on with
    engine.step([generation])
    again = engine.resume(engine.park(generation))
    assert np.array_equal(run(engine, again)[0], run(engine, opened(engine, (digests[1], 0.9)))[0])


def test_factors_are_packed_once_and_the_least_recently_used_go(tiny_model: Path, files: Path) -> None:
    made = [write(files / f"room{i}.safetensors", peft(changes(rank=2, seed=20 + i))) for i in range(3)]
    engine = Engine.load(tiny_model, backend="reference")
    engine.add_lora(*made[0])
    run(engine, opened(engine, made[0][0]))
    room = engine.loras.num_bytes
    engine = Engine.load(tiny_model, backend="reference", limits=Limits(lora_bytes=2 * room))
    for digest, path in made:
        engine.add_lora(digest, path)
    first, second, third = (digest for digest, _ in made)
    for digest in (first, second, first):
        run(engine, opened(engine, digest))
    assert (engine.loras.misses, engine.loras.hits) == (2, 1)
    held = opened(engine, first, second)
    with pytest.raises(LimitError, match="Limits.lora_bytes"):
        opened(engine, third)
    engine.close(held)
    run(engine, opened(engine, third))  # the first goes
    run(engine, opened(engine, second))
    assert (engine.loras.misses, engine.loras.num_bytes) == (3, 2 * room)
    with pytest.raises(LimitError, match="of lower rank"):
        Engine.load(tiny_model, backend="reference", limits=Limits(lora_bytes=room - 1)).add_lora(*made[0])
    moved = made[0][1].rename(files / "moved.safetensors")
    engine.add_lora(first, moved)
    run(engine, opened(engine, first))
    for digest in (second, third):
        run(engine, opened(engine, digest))
    for data in (made[1][1].read_bytes(), moved.read_bytes()[:-64]):
        moved.write_bytes(data)
        with pytest.raises(CheckpointError, match="LoRA that was changed"):
            opened(engine, first)
    moved.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        opened(engine, first)
    assert engine.num_open == 0


def test_what_is_packed_does_not_change_with_its_file(tiny_model: Path, files: Path) -> None:
    for backend in ("reference", "cpu"):
        digest, path = write(files / f"kept-{backend}.safetensors", peft(changes(rank=2, seed=31)))
        engine = Engine.load(tiny_model, backend=backend)
        engine.add_lora(digest, path)
        before = run(engine, opened(engine, digest))[0]
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
        assert np.array_equal(run(engine, opened(engine, digest))[0], before)


def test_a_file_is_compared_with_its_digest_where_the_system_gives_no_thread(
    tiny_model: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    made = [write(files / f"alone{i}.safetensors", peft(changes(rank=2, seed=40 + i))) for i in range(2)]
    engine = Engine.load(tiny_model, backend="cpu")
    for digest, path in made:
        engine.add_lora(digest, path)
    monkeypatch.setattr(threading.Thread, "start", refused)
    engine.close(opened(engine, made[0][0]))
    made[1][1].write_bytes(made[0][1].read_bytes())
    with pytest.raises(CheckpointError, match="LoRA that was changed"):
        opened(engine, made[1][0])


def wrong(name: str) -> dict[str, Any]:
    made = peft(changes({"transformer_blocks.0.attn.to_q": (16, 16), "proj_out": (16, 16)}))
    down = "transformer.proj_out.lora_A.weight"
    if name == "other family":
        at = "lora_unet_down_blocks_0_attentions_0_proj_in"
        return {f"{at}.lora_down.weight": made[down], f"{at}.lora_up.weight": made[down.replace("_A", "_B")]}
    if name == "width":
        return peft(changes({"proj_out": (16, 20)}))
    if name == "ranks":
        return made | {down: made[down][:2]}
    if name == "half":
        return {key: value for key, value in made.items() if key != down}
    if name == "nan":
        return made | {down: made[down] * np.float32("nan")}
    if name == "dora":
        return made | {"transformer.proj_out.dora_scale": made[down]}
    if name == "unknown part":
        return made | {"transformer.proj_out.weight": made[down]}
    if name == "full rank":
        return {
            "lora_unet_img_in.lokr_w1": np.ones((4, 4), np.float32),
            "lora_unet_img_in.lokr_w2": np.ones((4, 4), np.float32),
        }
    if name == "twice":
        return made | {key.replace("transformer.", "diffusion_model."): value for key, value in made.items()}
    assert name == "text alone"
    return {key.replace("transformer.", "text_encoder."): value for key, value in made.items()}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other family", "key 'lora_unet_down_blocks_0_.*a LoRA of Stable Diffusion 1.5 or 2: take one"),
        ("width", r"key 'transformer.proj_out', expected \[16, 16\].*found \[16, 20\]"),
        ("ranks", "key 'transformer.proj_out.lora_B.weight'.*the rank of"),
        ("half", "incomplete layer.*both factors"), ("nan", "NaN or infinity.*proj_out"), ("dora", "DoRA"),
        ("unknown part", "key 'transformer.proj_out.weight'.*no part of a LoRA"),
        ("full rank", "rank 16 of a weight.*not low-rank"), ("twice", "layer twice"), ("text alone", "text encoders"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_with_is_refused_by_name(own: Engine, tmp_path: Path, name: str, said: str) -> None:
    digest, path = write(tmp_path / "wrong.safetensors", wrong(name))

    def use() -> None:
        own.add_lora(digest, path)
        opened(own, digest)

    with pytest.raises(CheckpointError, match=said):
        use()
    assert own.num_open == 0


def test_bad_files_and_requests_are_refused(own: Engine, files: Path, tmp_path: Path) -> None:
    digest, path = write(tmp_path / "whole.safetensors", peft(changes({"proj_out": (16, 16)})))
    short = tmp_path / "short.safetensors"
    short.write_bytes(path.read_bytes()[:-5])
    pickled = tmp_path / "lora.pt"
    pickled.write_bytes(b"\x80\x02}.")
    for file, said in ((short, "truncated"), (pickled, "pickled"), (tmp_path / "none.safetensors", "no such file")):
        with pytest.raises(CheckpointError, match=said):
            own.add_lora("0" * 64, file)
    with pytest.raises(SpecError, match="which is not here"):
        opened(own, "1" * 64)
    for loras, said in (("name", "64 hex digits"), ([(digest, 11)], "from -10 to 10"), ([digest, digest], "twice")):
        with pytest.raises(SpecError, match=said):
            own.make_spec("an apple", loras=loras)
    with pytest.raises(SpecError, match="up to 8"):
        own.make_spec("an apple", loras=[f"{i:064x}" for i in range(9)])


def test_layers_of_text_encoders_are_told(own: Engine, files: Path) -> None:
    made = peft(changes({"proj_out": (16, 16)}))
    made |= {
        key.replace("transformer.proj_out", "lora_te1_text_model_encoder_layers_0_mlp_fc1"): w
        for key, w in made.items()
    }
    digest, path = write(files / "text.safetensors", made)
    own.add_lora(digest, path)
    generation = opened(own, digest)
    assert any("text encoders are left out (lora_te1_" in note for note in generation.warnings)
    own.close(generation)


def test_every_layer_of_the_test_files_is_one_of_the_model() -> None:
    assert {name: SHAPES[name] for name in LAYERS} == LAYERS
