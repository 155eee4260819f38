"""Turn what was raised into an answer in the shape of OpenAI's errors: status, body, and what clients go by."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ...errors import SalonError
from ...parameters.errors import PromptRefused
from ...parameters.known import flags
from ..wire.messages import Failure
from ..zmq.failures import failure_of

# code of a wire's Failure -> (status, type of OpenAI)
STATUSES: Final[Mapping[str, tuple[int, str]]] = {
    "invalid": (400, "invalid_request_error"),
    "too_large": (400, "invalid_request_error"),
    "unsupported": (400, "invalid_request_error"),
    "not_found": (404, "invalid_request_error"),
    "forbidden": (403, "permission_error"),
    "refused": (429, "insufficient_quota"),
    "blocked": (400, "image_generation_user_error"),
    "busy": (429, "rate_limit_error"),
    "too_fast": (429, "rate_limit_error"),
    "draining": (503, "server_error"),
    "unavailable": (503, "server_error"),
    "internal": (500, "server_error"),
}
_FLAG: Final = re.compile(r"(--)?[a-z][a-z_-]*(?=:)")
BLOCKED: Final = "moderation_blocked"  # OpenAI's code for what a policy does not allow
SOON_MS: Final = 60_000  # clients of OpenAI's wait no longer than this by themselves
KEY_REUSED: Final = "KeyReused"  # OpenAI's word for it is a conflict


class HttpRefused(SalonError):
    """A request that HTTP does not carry out.

    Attributes:
        status: of HTTP.
        param: field of the request that it speaks of; None: none.
        code: what happened, for programs.
        type: OpenAI's kind of the error.
        retry_ms: after which the request may work; 0: it will not.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str = "invalid_value",
        type: str = "invalid_request_error",
        retry_ms: int = 0,
    ) -> None:
        super().__init__(text)
        self.status, self.param, self.code, self.type, self.retry_ms = status, param, code, type, retry_ms


def refusal_of(error: BaseException, fields: Mapping[str, str] | None = None, prompt: str = "") -> HttpRefused:
    """Return the refusal that an exception becomes, by the codes that ZeroMQ has for it.

    Args:
        error: that was raised. An unexpected one is logged, and told without its words.
        fields: of the request, by the names of the parameters that they state; None: it is no request for pictures.
        prompt: of the request.
    """
    if isinstance(error, HttpRefused):
        return error
    failure = failure_of(error, prompt)
    status, type = status_of(failure)
    param = None if fields is None or status != 400 else _param(error, fields)
    text, retry, code = failure.text, failure.retry_after_ms, failure.code
    if code == "blocked":
        code = BLOCKED
        if retry:  # the account has to wait
            status, type, param = 429, "rate_limit_error", None
    return HttpRefused(text, status=status, param=param, code=code, type=type, retry_ms=retry)


def status_of(failure: Failure) -> tuple[int, str]:
    """Return (status, OpenAI's type) of a Failure."""
    status, type = STATUSES.get(failure.code, (400, "invalid_request_error"))
    return 409 if failure.kind == KEY_REUSED else status, type


def body_of(refusal: HttpRefused) -> bytes:
    """Return the JSON of a refusal."""
    error: dict[str, Any] = {
        "message": str(refusal), "type": refusal.type, "param": refusal.param, "code": refusal.code,
    }  # fmt: skip
    return msgspec.json.encode({"error": error})


def headers_of(refusal: HttpRefused) -> dict[str, str]:
    """Return the headers of a refusal, which tell OpenAI's clients whether to try again."""
    if not refusal.retry_ms:
        return {"x-should-retry": "false"}
    soon = "true" if refusal.retry_ms <= SOON_MS else "false"
    return {"x-should-retry": soon, "retry-after": str(math.ceil(refusal.retry_ms / 1000))}


def failure_body(error: BaseException, prompt: str = "") -> tuple[int, bytes, dict[str, str]]:
    """Return (status, JSON, headers) of an error for the page: the wire's Failure under "error".

    Args:
        error: that was raised. An unexpected one is logged, and told without its words.
        prompt: of the request.
    """
    if isinstance(error, HttpRefused):
        status, kind = error.status, type(error).__name__
        failure = Failure(code=error.code, kind=kind, text=str(error), retry_after_ms=error.retry_ms)
    else:
        failure = failure_of(error, prompt)
        status, _ = status_of(failure)
    fields = {name: getattr(failure, name) for name in failure.__struct_fields__}
    retry = failure.retry_after_ms
    headers = {"retry-after": str(math.ceil(retry / 1000))} if retry > 0 else {}
    return status, msgspec.json.encode({"error": {"type": "failure", **fields}}), headers


def _param(error: BaseException, fields: Mapping[str, str]) -> str:
    """Return the field that an error speaks of: one that states the parameter that it begins with, else the prompt."""
    if isinstance(error, PromptRefused) and error.prompt:
        return "prompt"
    found = _FLAG.match(str(error))
    if found is None:
        return "prompt"
    flag = flags().get(found[0])
    return fields.get(found[0] if flag is None else flag.parameter.name, "prompt")
