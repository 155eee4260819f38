"""LoRAs that accounts bring, part by part: what is refused, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from salon.engine.errors import SpecError, UnreadableFile
from salon.engine.lora_rules import LoraRules
from salon.studio.errors import ReferenceRefused, StoreFull
from salon.studio.moderation.types import ALLOW, Decision, PolicyRequest, block
from salon.studio.service import loras as module
from salon.studio.service.errors import PolicyBlocked, TooMany, WrongValue
from salon.studio.service.service import Service

from ...engine.lora_files import changes, peft, write
from ..conftest import TIMEOUT
from .conftest import Serve


def of(service: Service) -> module.ServiceLoras:
    return service.jobs.references.loras


async def bring(service: Service, data: bytes, account: str = "local", digest: str = "", part: int = 4000) -> str:
    """Upload a file as clients do. `digest`: what is said to be its own."""
    digest, there = digest or hashlib.sha256(data).hexdigest(), 0
    while there < len(data):
        there = await of(service).upload(account, digest, len(data), there, data[there : there + part])
    return digest


def kept(folder: Path) -> list[str]:
    """Names of the files that are there, whole or not."""
    return sorted(path.name for path in (folder / "data" / "loras").rglob("*") if path.is_file())


@pytest.fixture
def lora(tmp_path: Path) -> bytes:
    return write(tmp_path / "mine.safetensors", peft(changes()))[1].read_bytes()


def test_files_that_are_not_whole_are_counted_by_account_and_in_all(
    serve: Serve, lora: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(service: Service) -> None:
        async def begin(account: str, number: int) -> int:
            return await of(service).upload(account, f"{number:064x}", 100, 0, b"x")

        for number in range(module.OPEN):
            assert await begin("ann", number) == 1
        with pytest.raises(TooMany, match="upload: got 3 files at a time, allowed 2 an account, 8 in all; finish one"):
            await begin("ann", module.OPEN)
        assert await begin("ann", 0) == 1, "one that is being brought goes on"
        for number in range(module.ALL - module.OPEN):
            assert await begin(f"user {number}", 0) == 1
        with pytest.raises(TooMany, match="upload: got more than everybody together may be bringing, allowed 2 an acc"):
            await begin("late", 0)
        assert len(kept(tmp_path)) == module.ALL
        digest = f"{0:064x}"
        with pytest.raises(WrongValue, match="got a file with sha256"):  # its end, wrong as it is, makes room
            await of(service).upload("ann", digest, 100, 1, b"x" * 99)
        assert await begin("late", 0) == 1
        monkeypatch.setattr(module, "PATIENCE_S", -1.0)  # so does what does not go on
        assert await bring(service, lora, "eve", part=len(lora)) in kept(tmp_path)[0]
        assert len(kept(tmp_path)) == 1

    serve(work, paused=True)


def test_whole_files_count_until_policies_have_answered(serve: Serve, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{n}.safetensors", peft(changes()), {"n": str(n)})[1].read_bytes() for n in range(2)]
    asked, answer = threading.Semaphore(0), threading.Event()

    def judge(request: PolicyRequest) -> Decision:
        asked.release()
        assert answer.wait(TIMEOUT)
        return ALLOW

    async def work(service: Service) -> None:
        brought = [asyncio.create_task(bring(service, data)) for data in files]
        for _ in brought:
            assert await asyncio.to_thread(asked.acquire, timeout=TIMEOUT)
        with pytest.raises(TooMany, match="upload: got 3 files at a time"):
            await of(service).upload("local", f"{9:064x}", 100, 0, b"x")
        answer.set()
        await asyncio.gather(*brought)
        assert await of(service).upload("local", f"{9:064x}", 100, 0, b"x") == 1

    serve(work, paused=True, policy=judge, policy_timeout_s=TIMEOUT)


def test_policies_are_asked_before_it_is_kept(serve: Serve, tmp_path: Path) -> None:
    """They get what the file says of itself, and where it lies; what is blocked leaves nothing."""
    said = {"ss_output_name": "mine", "tags": "x" * 5000}
    data = write(tmp_path / "mine.safetensors", peft(changes()), said)[1].read_bytes()
    asked: list[PolicyRequest] = []

    def judge(request: PolicyRequest) -> Decision:
        asked.append(request)
        assert request.lora is not None
        assert hashlib.sha256(Path(request.lora.path).read_bytes()).hexdigest() == request.lora.digest
        return block("styles", "No LoRAs of others here.") if len(asked) == 1 else ALLOW

    async def work(service: Service) -> str:
        text = r"LoRA: No LoRAs of others here \(rule styles\); bring another"
        with pytest.raises(PolicyBlocked, match=text):
            await bring(service, data)
        assert kept(tmp_path) == []
        return await bring(service, data)

    digest = serve(work, paused=True, policy=judge)
    assert kept(tmp_path) == [f"{digest}.safetensors"]
    request = asked[0]
    assert (request.stage, request.account, request.pictures) == ("upload", "local", ())
    assert request.lora is not None
    assert (request.lora.digest, request.lora.size) == (digest, len(data))
    assert {"ss_output_name": "mine", "tags": "x" * 2000}.items() <= dict(request.lora.metadata).items()


def test_more_bytes_than_announced_and_another_digest_are_refused(serve: Serve, lora: bytes, tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        digest, other = hashlib.sha256(lora).hexdigest(), "a" * 64
        with pytest.raises(WrongValue, match="upload: got 6 bytes, allowed 5, as was said; say the size of the file"):
            await of(service).upload("local", digest, 5, 0, b"hello!")
        assert await of(service).upload("local", digest, len(lora), 0, lora[:10]) == 10
        with pytest.raises(WrongValue, match=f"got {len(lora) + 1:,} bytes, allowed {len(lora):,}"):
            await of(service).upload("local", digest, len(lora), 10, lora[10:] + b"!")
        assert await of(service).upload("local", digest, len(lora), 0, b"") == 10, "what came before stays"
        assert await of(service).upload("local", digest, len(lora), 10, lora[10:]) == len(lora)
        with pytest.raises(WrongValue, match=f"got a file with sha256 {digest[:12]}..., allowed aaaaaaaaaaaa..., as"):
            await bring(service, lora, digest=other)
        assert of(service).row("local", digest) is not None
        assert of(service).row("local", other) is None
        assert kept(tmp_path) == [f"{digest}.safetensors"]

    serve(work, paused=True)


HEADERS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "longer than the file": (lambda data: (2**40).to_bytes(8, "little") + data[8:], "header|ends"),
    "no JSON": (lambda data: data[:8] + b"[" + data[9:], "header"),
    "cut off": (lambda data: data[:-5], "ends|bytes|shorter"),
    "arrays that overlap": (lambda data: data.replace(b'"data_offsets":[0,', b'"data_offsets":[4,', 1), "."),
    "empty": (lambda data: data[:1], "."),
    "a pickle": (lambda data: b"\x80\x02}q\x00." + data[6:], "."),
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_hostile_header_is_refused_with_the_name_of_the_file_and_leaves_nothing(
    what: str, serve: Serve, lora: bytes, tmp_path: Path
) -> None:
    change, said = HEADERS[what]
    data = change(lora)
    assert data != lora

    async def work(service: Service) -> None:
        digest = hashlib.sha256(data).hexdigest()
        with pytest.raises(ReferenceRefused, match=f"^LoRA {digest[:12]}: .*({said})") as refused:
            await bring(service, data)
        assert "\n" not in str(refused.value)
        assert str(tmp_path) not in str(refused.value)
        assert kept(tmp_path) == []
        assert of(service).row("local", digest) is None
        assert await bring(service, lora) in kept(tmp_path)[0], "and the account can bring another"

    serve(work, paused=True)


def test_a_disk_that_fails_is_named_and_leaves_nothing(
    serve: Serve, lora: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be read is not the store's fault, and no half of one stays where the store has no room."""
    mine = tmp_path / "mine.safetensors"

    def full(descriptor: int, path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    async def work(service: Service) -> None:
        with monkeypatch.context() as disk:
            disk.setattr(module, "flush_file", full)
            for bringing in (bring(service, lora), of(service).add("local", mine)):
                with pytest.raises(StoreFull):
                    await bringing
                assert kept(tmp_path) == []
        with monkeypatch.context() as disk:
            disk.setattr(LoraRules, "open", lambda rules, path: None)
            with pytest.raises(UnreadableFile, match=r"^/proc/self/mem: cannot be read \(.*Input/output error"):
                await of(service).add("local", Path("/proc/self/mem"))  # which begins with nothing to read
        assert kept(tmp_path) == []
        assert await of(service).add("local", mine) in kept(tmp_path)[0]
        with pytest.raises(
            SpecError, match=r"LoRA: got 'film', and the server's folder of them cannot be read \(No su"
        ):
            await of(service).resolve(["film"])
        assert of(service).names() == []

    serve(work, paused=True, loras=str(tmp_path / "away"))
