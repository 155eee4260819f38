"""Ask a policy that is a service of its own: a `PolicyRequest` is posted as JSON, and the answer is a `Decision`."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import asdict, replace

from ...errors import complaint
from ..endpoints import Endpoint
from ..errors import PolicyError
from .types import STAGES, Decision, PolicyRequest, checked, checked_stages

MAX_ANSWER: Final = 64 * 1024  # bytes


class HttpPolicy:
    """A policy behind an address.

    Args:
        url: http:// or https://.
        key: sent as `Authorization: Bearer KEY`; empty: nothing is.
        stages: when it is asked.
        timeout_s: seconds that it has for an answer.

    Attributes:
        name: scheme and host, for the log.
        stages: when it is asked.

    Raises:
        EndpointError: the address cannot be read.
        PolicyError: there is no such stage.
    """

    def __init__(self, url: str, *, key: str = "", stages: tuple[str, ...] = STAGES, timeout_s: float = 10.0) -> None:
        self._endpoint = Endpoint(url, {"Authorization": f"Bearer {key}"} if key else {})
        self.name = self._endpoint.name
        self.stages, self._timeout_s = checked_stages(stages), timeout_s

    def __call__(self, request: PolicyRequest) -> Decision:
        """Return what the service says.

        Raises:
            EndpointError: it does not answer.
            PolicyError: its answer is no decision.
        """
        said = asdict(request)
        if request.lora is None:  # of which services of before know nothing
            del said["lora"]
        else:  # whose path says nothing to another machine
            said["lora"] = replace(request.lora, path="")
        body = msgspec.json.encode(said)
        answer = self._endpoint.post(body, timeout_s=self._timeout_s, max_bytes=MAX_ANSWER)
        try:
            return checked(msgspec.json.decode(answer, type=Decision))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            allowed = '{"decision": "allow"}, or "block" with "rule" and "message"'
            got = f"an answer of {len(answer)} bytes that is no decision"
            raise PolicyError(complaint(self._endpoint.name, got, allowed, "correct that service")) from error
