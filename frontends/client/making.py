"""Define the requests for pictures, once for both clients: of a prompt, or of other pictures.

Every method may raise `RequestFailed` (the server did not do it), `TimedOut`, `Disconnected` and `ClientClosed`; see
`errors.py`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeAlias, TypeVar

from ...bounds import DIGEST, MAX_REFERENCE_BYTES
from ...errors import complaint
from ...given import each_of, file_or_bytes, items_of, plain_text
from ..wire import messages as m
from . import prompts
from .errors import BadAnswer, invalid
from .flavours import Flavour, operation
from .given import ARGUMENTS, wire_number
from .older import unsupported
from .steps import Steps, asked, call
from .uploads import LoraFile, read_bytes

J = TypeVar("J")
RESTARTS: Final = 3  # times that an upload begins again after restarts of the server
SOURCES: Final = "Sequence[m.Source | tuple[str, int] | str]"  # the annotation
PictureFile: TypeAlias = "str | os.PathLike[str] | bytes"


def source_of(given: Any) -> m.Source | None:
    """Return a picture that a request starts from: a Source, (job id, index), a digest, or the id of a job. None for
    any other value."""
    if isinstance(given, m.Source):
        whole = None not in (plain_text(given.job), plain_text(given.digest), wire_number(given.index))
        return given if whole else None
    if isinstance(given, tuple):
        job, index = (plain_text(given[0]), wire_number(given[1])) if len(given) == 2 else (None, None)
        return None if job is None or index is None else m.Source(job=job, index=index)
    name = plain_text(given)
    if name is None:
        return None
    return m.Source(digest=name) if re.fullmatch(DIGEST, name) else m.Source(job=name)


def _sources(given: Any) -> tuple[m.Source, ...]:
    read: tuple[m.Source, ...] = ARGUMENTS.read(SOURCES, "sources", given)
    return read


ARGUMENTS.kinds |= {
    SOURCES: ("a list of pictures, each (job id, index) or a digest", each_of(source_of)),
    "PictureFile": ("the name of a file, or the bytes of one", file_or_bytes),
    "Iterable[PictureFile]": ("a list of pictures", items_of),
}


def new_key() -> str:
    """Return a random key of a request that must not be carried out twice."""
    return os.urandom(16).hex()


class MakingCommands(Flavour, Generic[J]):
    """The requests for jobs. `J` is the type of the flavour's job."""

    def _job(self, info: m.JobInfo) -> J:
        """Return the flavour's own object for a job; each of the two clients says how."""
        raise NotImplementedError

    @operation
    def imagine(
        self,
        /,
        prompt: str,
        *,
        lane: str | None = None,
        private: bool | None = None,
        previews: int = 0,
        key: str | None = None,
        **parameters: Any,
    ) -> Steps[J]:
        """Ask for pictures of a prompt. Returns when the job is on the server's disk, and sure to end; then see
        `job.wait`.

        Args:
            prompt: the words to draw, perhaps with parameters behind them, as in "a cat --ar 3:2 --s 250"; see
                docs/parameters.md. A prompt that stands for several is for `imagine_all`.
            lane: turbo, fast, draft or relax; None: what the prompt or the account's settings say, else fast.
            private: whether the job is hidden from everybody else; None: as `lane`, else not.
            previews: solver steps between previews; 0: the server makes none.
            key: 1 to 64 letters, digits, . _ : -; the same key means the same job, however often it is sent, also by
                another process; None: a random one, so that a lost connection makes no second job.
            parameters: what a prompt can say, by the names of docs/parameters.md, such as `images=2`,
                `aspect=(16, 9)`, `seed=7`, `stylize=0` or `style_references=[4093]`. For one that is None or left out
                the account's setting applies, or the default. Most defaults are the model's; the seed is random, and
                `job.info.seed` tells it. To draw in the style of a picture, or to start from one, bring it by
                `add_reference` first.
        """
        jobs = yield from self._submit(m.IMAGINE, prompt, (), lane, private, previews, key, parameters, several=False)
        return jobs[0]

    @operation
    def imagine_all(
        self,
        /,
        prompt: str,
        *,
        lane: str | None = None,
        private: bool | None = None,
        previews: int = 0,
        key: str | None = None,
        **parameters: Any,
    ) -> Steps[list[J]]:
        """Ask for all jobs that a prompt stands for, with `{a, b}` or `--repeat`: all are accepted, or none.

        Args:
            key: of all of them; the jobs have KEY.0, KEY.1, and so on.
            prompt, lane, private, previews, parameters: as of `imagine`.
        """
        return (yield from self._submit(m.IMAGINE, prompt, (), lane, private, previews, key, parameters))

    @operation
    def make(
        self,
        /,
        kind: str,
        prompt: str = "",
        *,
        sources: Sequence[m.Source | tuple[str, int] | str] = (),
        lane: str | None = None,
        private: bool | None = None,
        previews: int = 0,
        key: str | None = None,
        **parameters: Any,
    ) -> Steps[J]:
        """Ask for a job of any kind; see docs/using.md for them. Returns as `imagine`.

        Args:
            kind: such as "imagine" or "reroll".
            prompt: what to draw; a kind that starts from a picture has that one's, where this is empty.
            sources: pictures that it starts from: each (job id, index from 0), or the digest of one that
                `add_reference` brought, or the id of a job as a whole, where the kind takes one.
            lane, private, previews, key, parameters: as of `imagine`.
        """
        jobs = yield from self._submit(kind, prompt, sources, lane, private, previews, key, parameters, several=False)
        return jobs[0]

    @operation
    def again(
        self, /, job: str, *, seed: int | None = None, previews: int | None = None, key: str | None = None
    ) -> Steps[J]:
        """Ask for a job of one's own once more, of any kind and in any state, as a new job. Returns as `imagine`.

        It has the words, parameters, styles, pictures, lane and privacy of the one of before.

        Args:
            job: its id.
            seed: None: the same, where that job ended without pictures, else a random one. Jobs that take one picture,
                answer with texts or reproduce have no other seed.
            previews: as of `imagine`; None: as before.
            key: as of `imagine`.
        """
        return (yield from self._again(job, seed, previews, key))

    def _again(self, job: str, seed: int | None, previews: int | None, key: str | None) -> Steps[J]:
        key = new_key() if key is None else key
        request = asked(m.Again(key=key, job=job, seed=seed, preview_every=previews), preview_every="previews")
        if "again" not in (yield from self._welcome()).features:
            raise unsupported("again")
        return self._job((yield from call(self._core, request, m.Accepted, self._timeout_s)).job)

    @operation
    def plan(
        self,
        /,
        prompt: str = "",
        *,
        kind: str = m.IMAGINE,
        sources: Sequence[m.Source | tuple[str, int] | str] = (),
        lane: str | None = None,
        private: bool | None = None,
        **parameters: Any,
    ) -> Steps[m.Planned]:
        """Return what `imagine_all` or `make` would do, and what it would cost; this makes and charges nothing. What
        would be refused is refused. Arguments as of those."""
        values = prompts.said(lane, private, parameters)
        prompts.understood(prompt, values)
        request = m.Plan(prompt=prompt, parameters=values, kind=kind, sources=_sources(sources))
        found = call(self._core, asked(request), m.Planned, self._timeout_s)
        return (yield from prompts.placed(found, prompt))

    @operation
    def parameters(self) -> Steps[tuple[m.ParameterInfo, ...]]:
        """Return what a request can say, as the server knows it."""
        return (yield from call(self._core, m.ListParameters(), m.ParameterList, self._timeout_s)).parameters

    def _make(
        self, kind: str, prompt: str, sources: Sequence[m.Source | tuple[str, int] | str], options: dict[str, Any]
    ) -> Steps[J]:
        """Ask for a job, with everything else that is said of it by name: parameters, `previews` and `key`."""
        given = {name: value for name, value in options.items() if name not in ("previews", "key")}
        previews, key = options.get("previews", 0), options.get("key")
        jobs = yield from self._submit(kind, prompt, sources, None, None, previews, key, given, several=False)
        return jobs[0]

    def _submit(
        self,
        kind: str,
        prompt: str,
        sources: Sequence[m.Source | tuple[str, int] | str],
        lane: str | None,
        private: bool | None,
        previews: int,
        key: str | None,
        given: dict[str, Any],
        *,
        several: bool = True,
    ) -> Steps[list[J]]:
        values = prompts.said(lane, private, given)
        found = prompts.understood(prompt, values)
        if not several:
            prompts.want_one(found)
        fields = m.Submit(
            key=new_key() if key is None else key,
            prompt=prompt,
            preview_every=previews,
            parameters=values,
            kind=kind,
            sources=_sources(sources),
            language=True,
        )
        request = asked(fields, preview_every="previews")  # what is wrong is refused without a server
        features = (yield from self._welcome()).features
        if "kinds" not in features and request.kind != m.IMAGINE:
            raise unsupported(f"jobs of the kind {request.kind!r}")
        if "language" not in features:
            request = prompts.before_language(request, found, features)
        found_jobs = call(self._core, request, m.Accepted, self._timeout_s)
        accepted = yield from prompts.placed(found_jobs, prompt)
        return [self._job(info) for info in (accepted.job, *accepted.more)]

    @operation
    def add_reference(self, picture: PictureFile) -> Steps[str]:
        """Bring a picture to the server; return its digest, for `style_references`, `image` or `mask`.

        A picture that the server has already is not sent again.

        Args:
            picture: its file (PNG, JPEG, WebP, GIF, BMP), or the bytes of one.

        Raises:
            Invalid: the file cannot be read, is too large, or holds no picture.
        """
        return (yield from self._bring(picture))

    def _bring(self, picture: PictureFile) -> Steps[str]:
        data = picture if isinstance(picture, bytes) else read_bytes(picture)
        if not 1 <= len(data) <= MAX_REFERENCE_BYTES:
            allowed = f"1 to {MAX_REFERENCE_BYTES:,} bytes"
            raise invalid(complaint("picture", f"{len(data):,} bytes", allowed, "save it smaller"))
        if "parameters" not in (yield from self._welcome()).features:
            raise unsupported("style references")
        digest = hashlib.sha256(data).hexdigest()
        yield from self._send(digest, len(data), lambda start, count: data[start : start + count])
        return digest

    @operation
    def add_lora(self, path: str | os.PathLike[str]) -> Steps[str]:
        """Bring a LoRA to the server; return its digest, for `loras`: `imagine("a cat", loras=[(digest, 0.8)])`.

        One that the server has already is not sent again. The file is read for its digest, and again as it is sent.

        Args:
            path: a safetensors file in the layout of diffusers, kohya, Comfy or LyCORIS.

        Raises:
            Invalid: the file cannot be read, is too large, or is no LoRA for the server's model.
        """
        file = LoraFile(path)
        if "loras" not in (yield from self._welcome()).features:
            raise unsupported("LoRAs")
        yield from self._send(file.digest, file.size, file.part, lora=True)
        return file.digest

    def _send(self, digest: str, size: int, read: Callable[[int, int], bytes], *, lora: bool = False) -> Steps[None]:
        """Send a file in parts, from where the server has none. `read`: (start, count) to bytes of it."""
        part, offset = b"", 0
        again = 0  # times that the server has lost the parts that it had received
        while offset < size:
            request = m.Upload(digest=digest, size=size, offset=offset, data=part, lora=lora)
            received = (yield from call(self._core, request, m.Uploaded, self._timeout_s)).received
            again += bool(part) and received <= offset
            if again > RESTARTS or received > size:
                got = f"{received:,} of {size:,} bytes, again and again"
                raise BadAnswer(complaint("upload", got, "more with each part", "try again"))
            offset, part = received, read(received, m.MAX_UPLOAD_PART)
