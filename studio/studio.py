"""Provide the whole of Salon in one object: load a model, hand in prompts, get pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from ..engine.engine import Engine
from ..engine.errors import SpecError
from ..engine.files.opening import ModelPath
from ..engine.limits import Limits
from ..engine.lora_rules import LoraRules, load_lora_rules
from ..engine.reading import load_reader, read_spec, want_strict
from ..engine.spec import GenerationSpec
from ..engine.start import PictureForm
from ..engine.text.reader import ReadsPrompts
from ..engine.words import WordList, Words
from ..errors import complaint
from ..kernels import backends
from ..kernels.machine import usable_cores
from ..kernels.ops import Dtype
from ..scheduler.admission import Work
from ..scheduler.plans import lane_of
from ..scheduler.policy import Policy
from ..scheduler.tickets import Lane
from ..values import whole_of
from .devices import want_unloading, worker_devices
from .given import ARGUMENTS
from .inquiring import describing, shortening
from .job import Job, OnEnd, OnPreview, OnProgress, UInt8
from .loras import LoraShelf
from .references import aspect_of, bytes_of, digest_of, pictures_of, read_picture, size_of, with_sizes
from .resources import References
from .scheduling.billing import Billing
from .scheduling.loop import Loop
from .workers.client import WorkerClient
from .workers.messages import Setup
from .workers.process import Deadlines, ProcessWorker
from .workers.thread import ThreadWorker


@ARGUMENTS.checks("workers", "threads", "backend", "isa", "lane")  # with errors of their own
class Studio:
    """Workers, scheduler and jobs, embedded in this process. A context manager that may be used on any thread.

        with Studio() as studio:
            pictures = studio.imagine("a red apple").result()

    Args:
        model: a folder in diffusers' layout, or a safetensors file; None: the embedded model.
        text_encoder, vae, ip_adapter, image_encoder: parts that are named apart, see `ModelPath`.
        workers: number of engines, each with the whole model; None: one for each device.
        process: whether each has a process of its own, which is watched and started again, instead of a thread.
        backend, isa, dtype, limits: see `Engine.load`.
        device: the devices of the engines, "cuda:0,cuda:1" or a list of such names; None: see `Engine.load`.
        threads: threads of each engine; None: the usable cores, shared out.
        policy: the scheduler's numbers; None: those of the plans file of `accounts`, or the defaults.
        deadlines: deadlines of worker processes.
        unload_after: seconds without work after which weights leave a GPU, until there is some; None: never.
        accounts: the accounts that may submit jobs, with plans and time; None: everything is allowed, and free.

    Raises:
        SpecError: the number of workers is not sensible, a device's name is none, or `unload_after` no time.
        CheckpointError, LimitError, UnknownBackend: as `Engine.load` (with `process`: WorkerLost, which says the same).

    Every method raises SpecError for an argument that is of another type than its annotation.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        text_encoder: Sequence[str | Path] = (),
        vae: str | Path | None = None,
        ip_adapter: str | Path | None = None,
        image_encoder: str | Path | None = None,
        workers: int | None = None,
        process: bool = False,
        backend: str = "cpu",
        device: str | Sequence[str] | None = None,
        isa: str | None = None,
        dtype: Dtype | None = None,
        threads: int | None = None,
        limits: Limits | None = None,
        policy: Policy | None = None,
        deadlines: Deadlines | None = None,
        accounts: Billing | None = None,
        unload_after: float | None = None,
    ) -> None:
        want_unloading(unload_after, backend)
        place = ModelPath.of(model, text_encoder, vae, ip_adapter, image_encoder)
        devices = worker_devices(device, workers)
        threads = whole_of(threads) or threads  # the backend refuses what is no number of threads
        if threads is None and len(devices) > 1 and backends.uses_cores(backend):
            threads = max(1, usable_cores() // len(devices))
        clients: list[WorkerClient] = []
        engine: Engine | None = None
        for i, where in enumerate(devices):
            name = f"worker-{i}" if where is None else f"worker-{i}@{where}"
            if process:
                setup = Setup(
                    model=None if model is None else _sent(place.path),
                    text_encoder=tuple(map(_sent, place.text_encoder)),
                    vae=None if place.vae is None else _sent(place.vae),
                    ip_adapter=None if place.ip_adapter is None else _sent(place.ip_adapter),
                    image_encoder=None if place.image_encoder is None else _sent(place.image_encoder),
                    backend=backend, isa=isa, dtype=dtype, threads=threads, limits=limits, device=where,
                    unload_after=unload_after,
                )  # fmt: skip
                clients.append(ProcessWorker(setup, name, deadlines))
            else:
                engine = Engine.load(
                    place, backend=backend, isa=isa, dtype=dtype, threads=threads, limits=limits, device=where,
                    require_text=True,
                )  # fmt: skip
                clients.append(ThreadWorker(engine, name, unload_after))
        self.references = References()
        self.loop = Loop(clients, policy=policy, accounts=accounts).start()
        try:  # the model is there: workers that could not load it have said so
            self.reader = load_reader(place, limits) if engine is None else engine.reader
            self.vocabulary: Words | None = Words(place, reader=self.reader, limits=limits)
            self.loras = LoraShelf(load_lora_rules(place))
        except BaseException:
            self.loop.close()
            raise

    @classmethod
    def over(
        cls,
        clients: Sequence[WorkerClient],
        *,
        policy: Policy | None = None,
        accounts: Billing | None = None,
        reader: ReadsPrompts | None = None,
        vocabulary: Words | None = None,
        loras: LoraRules | None = None,
    ) -> Studio:
        """Return a studio over workers of one's own, as `Loop` takes them. Raises as `Loop.start`.

        Args:
            reader: reads the prompts of their model; None: only the workers can.
            vocabulary: knows the words of their model.
            loras: what LoRAs of their model have to fit; None: it takes none.
        """
        studio = object.__new__(cls)
        studio.references = References()
        studio.reader, studio.vocabulary = reader, vocabulary
        studio.loop = Loop(clients, policy=policy, accounts=accounts).start()
        studio.loras = LoraShelf(loras or LoraRules(studio.loop.model.family, None))
        return studio

    def __enter__(self) -> Studio:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def make_spec(
        self,
        prompt: str,
        *,
        lane: Lane | str | None = None,
        draft: bool = False,
        aspect: tuple[float, float] | None = None,
        strict: bool = False,
        **fields: Any,
    ) -> GenerationSpec:
        """Make a spec as `ModelInfo.make_spec` does, in the Draft lane always with the settings for drafts, and in the
        proportions of the picture that it starts from, if neither aspect nor size is given.

        Raises:
            UnknownLane: see `lane_of`.
            SpecError: as `ModelInfo.make_spec`.
            PromptError: the model cannot read its texts, or `strict` and something of them is left out or replaced.
        """
        which = None if lane is None else lane_of(lane)
        if aspect is None:
            aspect = aspect_of(fields, self.references.get_file, self.loop.model.architecture.references)
        fields = with_sizes(fields, self.references.get_file)
        spec = self.loop.model.make_spec(prompt, draft=draft or which is Lane.DRAFT, aspect=aspect, **fields)
        self.notes_of(spec, strict=strict)
        return spec

    def notes_of(self, spec: GenerationSpec, *, strict: bool = False) -> tuple[str, ...]:
        """Return what is left out or replaced of a spec's texts, and what is to be said of its size, one sentence each.

        A model whose text pipeline reads no prompts without its weights says nothing of texts here.

        Raises:
            PromptError: the model cannot read its texts, or `strict` and something of them is left out or replaced.
        """
        notes, taught = read_spec(self.reader, spec), self.loop.model.taught
        want_strict(strict, notes)
        return (*notes, *(() if taught is None else taught.notes(spec.width, spec.height)))

    def words(self, like: str = "") -> WordList:
        """Return what the model draws, by slot; with `like`, also which names are near to that word.

        Raises:
            SpecError: the model has no list of words.
        """
        if self.vocabulary is None:
            raise SpecError(complaint("words", "workers of a model that says none", "a model", "open a studio of one"))
        return self.vocabulary.look(like)

    def add_reference(self, picture: str | os.PathLike[str] | bytes) -> str:
        """Keep a picture. Return its digest (SHA-256, hex), for `style_references`, `image`, `mask` or
        `omni_reference`.

        `imagine` and `make_spec` take it. Of many pictures the least recently used are forgotten.

        Args:
            picture: its file, or the bytes of one.

        Raises:
            ReferenceRefused: the file cannot be read, is no picture, or is larger than `MAX_REFERENCE_BYTES`.
        """
        data = bytes_of(picture)
        read_picture(data, "picture")
        digest = digest_of(data)
        self.references.put_file(digest, data)
        return digest

    def add_lora(self, path: str | os.PathLike[str]) -> str:
        """Make a LoRA usable. Return its digest (SHA-256, hex), for `loras` of `imagine` and `make_spec`.

        The file stays where it is. Its arrays are read by the first job that uses it.

        Args:
            path: a safetensors file in the layout of diffusers, kohya, Comfy or LyCORIS.

        Raises:
            CheckpointError: it cannot be read, is no LoRA, or one for another model.
        """
        return self.loras.add(path)

    def imagine(
        self,
        prompt: str,
        lane: Lane | str = Lane.FAST,
        account: str = "local",
        *,
        job: str | None = None,
        work: Work | None = None,
        aspect: tuple[float, float] | None = None,
        preview_every: int = 0,
        on_progress: OnProgress | None = None,
        on_preview: OnPreview | None = None,
        on_end: OnEnd | None = None,
        **fields: Any,
    ) -> Job:
        """Accept a job: `make_spec` and `Loop.submit` in one. Raises as those; there is no job then."""
        spec = self.make_spec(prompt, lane=lane, aspect=aspect, **fields)
        return self.loop.submit(
            spec,
            references=self.references_of(spec),
            account=account,
            lane=lane,
            job=job,
            work=work,
            preview_every=preview_every,
            on_progress=on_progress,
            on_preview=on_preview,
            on_end=on_end,
        )

    def describe(
        self, picture: str | os.PathLike[str] | bytes, lane: Lane | str = Lane.FAST, account: str = "local"
    ) -> Job:
        """Accept a job that finds four prompts that a picture might have been drawn of; `Job.texts` waits for them.

        Args:
            picture: its file, or the bytes of one.

        Raises as `add_reference` and `Loop.submit`; SpecError also for a model without a list of its words.
        """
        digest = self.add_reference(picture)
        data = self.references.get_file(digest)
        assert data is not None, "kept just now"
        spec = describing(digest, size_of(data), self.loop.model)
        return self.loop.submit(spec, references=self.references_of(spec), account=account, lane=lane)

    def shorten(self, prompt: str, lane: Lane | str = Lane.FAST, account: str = "local", **size: Any) -> Job:
        """Accept a job that finds which words of a prompt carry weight, and shorter prompts; `Job.texts` waits for
        them.

        Args:
            size: aspect, or width and height, of what would be drawn.

        Raises as `make_spec` and `Loop.submit`; SpecError also for a model without a list of its words.
        """
        spec = shortening(prompt, self.loop.model, **size)
        self.notes_of(spec)
        return self.loop.submit(spec, account=account, lane=lane)

    def references_of(self, spec: GenerationSpec) -> dict[PictureForm, UInt8]:
        """Return those of the pictures that a spec refers to which are here, by form. Raises as `pictures_of`."""
        self.loras.lend(spec, self.references)
        return pictures_of(spec, self.references.get_file, self.references, self.loop.model)

    def add_branch(self, weights: Mapping[str, NDArray[Any]], name: str = "default") -> None:
        """See `Loop.add_branch`."""
        self.loop.add_branch(weights, name)

    def register_adapter(self, name: str, tokens: NDArray[Any], *, branch: str = "default") -> None:
        """See `Loop.register_adapter`."""
        self.loop.register_adapter(name, tokens, branch=branch)

    def forget_adapter(self, name: str) -> None:
        """See `Loop.forget_adapter`."""
        self.loop.forget_adapter(name)

    def close(self, timeout_s: float = 10.0) -> None:
        """End all jobs as cancelled, and all workers. See `Loop.close`."""
        self.loop.close(timeout_s)


def _sent(path: Path) -> bytes:
    """Return a path as another process needs it: absolute, and as it is written, since links lead out of a folder."""
    return os.fsencode(path.absolute())
