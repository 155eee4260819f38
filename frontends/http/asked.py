"""Read a request of OpenAI's images API: what it asks of the service, and in which form it wants the pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from ...bounds import MAX_IMAGES, MAX_SIDE, MAX_SOURCE
from ...errors import SalonError, complaint, is_text
from ...parameters.errors import ParameterError
from ...parameters.job_request import IMAGINE, JobRequest, Source
from ...parameters.known import checked, parameters
from ...parameters.language.options import prompts_of
from ...values import flag_of, shown, text_of, whole_of
from .bodies import fields_in
from .errors import HttpRefused, refusal_of

MAX_N: Final = 10
MAX_PARTIAL: Final = 3
FORMATS: Final = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
QUALITIES: Final[dict[str, dict[str, Any]]] = {  # the parameters that a word stands for
    "auto": {}, "low": {"draft": True}, "medium": {"quality": 1}, "standard": {"quality": 1},
    "high": {"quality": 2}, "hd": {"quality": 2}, "xhigh": {"quality": 4}, "max": {"quality": 4},
}  # fmt: skip
STYLES: Final[dict[str, dict[str, Any]]] = {"vivid": {}, "natural": {"raw": True}}  # likewise
_SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
MODERATION: Final = ("auto", "low")
SIDES: Final = ("aspect", "width", "height")  # parameters that say a size
_NO_PARAMETERS: Final = ("model", "user", "safety_identifier")  # they are read, and do not change the pictures


class Form(msgspec.Struct, frozen=True):
    """The form of pictures in an answer.

    Attributes:
        format: a key of `FORMATS`.
        quality: of a JPEG or WebP, 1 to 100; None: as Salon writes them.
    """

    format: str = "png"
    quality: int | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request for pictures.

    Attributes:
        request: as the service takes it.
        fields: of the body, by the names of the parameters that they state.
        model: the name that it gives; "": none.
        form: of the pictures.
        link: whether it wants links in place of pictures.
        stream: whether it wants events.
        partial: pictures that it wants before the last one.
        quality: the word that it says.
        edit: whether it changes pictures that it brings.
    """

    request: JobRequest
    fields: dict[str, str]
    model: str = ""
    form: Form = Form()
    link: bool = False
    stream: bool = False
    partial: int = 0
    quality: str = "auto"
    edit: bool = False


class Pictures(msgspec.Struct, frozen=True, kw_only=True):
    """What the pictures say that a request brings.

    Attributes:
        said: (field, value) of parameters, by name.
        kind: of job.
        sources: of the job.
        canvas: (width, height) in pixels, where the request says no size; None: the model's.
        words: whether it needs a prompt.
    """

    said: dict[str, tuple[str, Any]] = {}
    kind: str = IMAGINE
    sources: tuple[Source, ...] = ()
    canvas: tuple[int, int] | None = None
    words: bool = True


def asked_of(body: bytes, key: str) -> Asked:
    """Read the body of a request without pictures; see `asked_from`.

    Args:
        body: JSON.
        key: of the job.

    Raises:
        HttpRefused: it is no JSON object, or as `asked_from`.
    """
    return asked_from(fields_in(body), key)


def asked_from(fields: Mapping[str, Any], key: str, pictures: Pictures | None = None) -> Asked:
    """Read the fields of a request.

    Args:
        fields: of JSON, or of a form, without those of pictures.
        key: of the job.
        pictures: that come with it; None: none do.

    Raises:
        HttpRefused: a field is unknown or has no value that is allowed; it names the field.
    """
    reader = _Reader(dict(fields), pictures or Pictures())
    try:
        return reader.asked(key, edit=pictures is not None)
    except SalonError as error:
        raise refusal_of(error, reader.told) from error


class _Reader:
    """Takes the fields of a body one by one; those that are left are parameters, or unknown.

    Attributes:
        told: fields, by the names of the parameters that they state.
    """

    def __init__(self, fields: dict[str, Any], pictures: Pictures) -> None:
        self._left = fields
        self._said: dict[str, Any] = {}
        self.told: dict[str, str] = {}
        self._pictures = pictures

    def asked(self, key: str, *, edit: bool) -> Asked:
        """Return what the fields say."""
        for name, (field, value) in self._pictures.said.items():
            self._say(name, field, value)
        prompt = self._prompt()
        for name in _NO_PARAMETERS:
            if name in self._left and (text_of(self._left[name]) is None or not is_text(self._left[name])):
                raise _wrong(name, self._left[name], "text")
        model = self._left.pop("model", "")
        for name in _NO_PARAMETERS[1:]:
            self._left.pop(name, None)
        self._word("moderation", MODERATION, "auto")
        background = self._word("background", ("auto", "opaque", "transparent"), "auto")
        if background == "transparent":
            raise _wrong("background", background, "opaque or auto", "this model draws no transparency")
        link = self._word("response_format", ("b64_json", "url"), "b64_json") == "url"
        form = self._form()
        stream = self._take("stream", flag_of, False, "true or false")
        allowed = f"a whole number from 0 to {MAX_PARTIAL}"
        partial = self._take("partial_images", _between(0, MAX_PARTIAL), 0, allowed)
        if partial and not stream:
            raise _wrong("partial_images", partial, "0 without stream", "set stream to true")
        if stream and link:
            raise _wrong("response_format", "url", "b64_json with stream", "leave one of them out")
        quality = self._quality()
        style = self._word("style", tuple(STYLES), "vivid")
        for name, value in STYLES[style].items():
            self._say(name, "style", value)
        self._size(prompt)
        n = self._take("n", _between(1, MAX_N), None, f"a whole number from 1 to {MAX_N}")
        for name, value in self._left.items():
            if name not in parameters():
                text = complaint(name[:60], "it", "the fields of images.generate and names of parameters", "drop it")
                raise HttpRefused(text, param=name[:60], code="unknown_parameter")
            try:
                checked({name: value}, known=parameters())
            except ParameterError as error:
                raise HttpRefused(str(error), param=name) from error
            self._say(name, name, value)
        self._number(prompt, n)
        request = JobRequest(
            key=key, prompt=prompt, parameters=self._said, language=True, kind=self._pictures.kind,
            sources=self._pictures.sources,
        )  # fmt: skip
        return Asked(
            request=request, fields=self.told, model=model, form=form, link=link, stream=stream, partial=partial,
            quality=quality, edit=edit,
        )  # fmt: skip

    def _prompt(self) -> str:
        prompt = self._left.pop("prompt", None)
        if not self._pictures.words and prompt in (None, ""):
            return ""
        if prompt is None:
            text = complaint("prompt", "none", "text", "say what to draw")
            raise HttpRefused(text, param="prompt", code="missing_required_parameter")
        if not isinstance(prompt, str) or not is_text(prompt) or not prompt.strip() or len(prompt) > MAX_SOURCE:
            got = f"{len(prompt):,} characters" if isinstance(prompt, str) and len(prompt) > MAX_SOURCE else prompt
            raise _wrong("prompt", got, f"text of 1 to {MAX_SOURCE:,} characters", "say what to draw")
        return prompt

    def _form(self) -> Form:
        format = self._word("output_format", tuple(FORMATS), "png")
        quality = self._take("output_compression", _between(0, 100), None, "a whole number from 0 to 100")
        if quality is not None and format == "png":
            if quality != 100:
                raise _wrong("output_compression", quality, "100 for png", "choose jpeg or webp, or leave it out")
            quality = None
        return Form(format, None if quality is None else max(1, quality))

    def _quality(self) -> str:
        """Take the quality: a word of OpenAI's, or a number as `--q` has it."""
        if whole_of(self._left.get("quality")) is not None:
            return "auto"  # it stays among the parameters
        word = self._word("quality", tuple(QUALITIES), "auto")
        for name, value in QUALITIES[word].items():
            self._say(name, "quality", value)
        return word

    def _size(self, prompt: str) -> None:
        size = self._left.pop("size", "auto")
        if size == "auto":
            canvas = self._pictures.canvas
            prompts = prompts_of(prompt, self._said) if canvas is not None else ()
            if canvas is not None and not any(name in one.said for one in prompts for name in SIDES):
                self._canvas(canvas)
            return
        found = _SIZE.fullmatch(size) if isinstance(size, str) else None
        if found is None or max(int(found[1]), int(found[2])) > MAX_SIDE:
            raise _wrong("size", size, f"auto, or WIDTHxHEIGHT in pixels up to {MAX_SIDE}", "write it like 1024x768")
        self._say("width", "size", int(found[1]))
        self._say("height", "size", int(found[2]))

    def _canvas(self, canvas: tuple[int, int]) -> None:
        """Say the size of a picture that is brought, unless a field says one."""
        if not any(name in self._left for name in SIDES):
            for name, side in zip(("width", "height"), canvas, strict=True):
                self._say(name, "size", side)

    def _number(self, prompt: str, n: int | None) -> None:
        """Say how many pictures are wanted: one, unless the prompt or a parameter says how many."""
        if n is not None and n > MAX_IMAGES:  # more than a job makes: several jobs of one prompt
            if "seed" in self._said:
                raise _wrong("n", n, f"up to {MAX_IMAGES} with a seed", "ask for fewer, or leave the seed out")
            jobs = next(count for count in range(2, n + 1) if n % count == 0 and n // count <= MAX_IMAGES)
            self._say("repeat", "n", jobs)
            self._say("images", "n", n // jobs)
        elif n is not None:
            self._say("images", "n", n)
        elif not any("images" in one.said for one in prompts_of(prompt, self._said)):
            self._say("images", "n", 1)

    def _say(self, name: str, field: str, value: Any) -> None:
        if name in self._said:
            raise _wrong(field, self._left.get(field, "it"), f"one of it and {self.told[name]}", "drop one")
        self._said[name], self.told[name] = value, field

    def _word(self, name: str, words: tuple[str, ...], default: str) -> str:
        word = self._left.pop(name, default)
        if not isinstance(word, str) or word not in words:
            raise _wrong(name, word, " or ".join(words))
        return word

    def _take(self, name: str, read: Callable[[Any], Any], default: Any, allowed: str) -> Any:
        if name not in self._left:
            return default
        value = read(given := self._left.pop(name))
        if value is None:
            raise _wrong(name, given, allowed)
        return value


def _between(low: int, high: int) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:
        whole = whole_of(value)
        return whole if whole is not None and low <= whole <= high else None

    return read


def _wrong(field: str, got: Any, allowed: str, remedy: str = "correct it") -> HttpRefused:
    return HttpRefused(complaint(field, shown(got), allowed, remedy), param=field)
