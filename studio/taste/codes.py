"""Make the codes that snapshots of profiles go by."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

import msgspec

from ...errors import complaint
from ..errors import TasteRefused
from ..store.domains.taste import TasteCodeRow

BYTES: Final = 10  # of the hash that a code shows: 16 characters in base 32


def code_of(profile: str, algorithm: int, model: str, events: int, last_event: int, vector: bytes) -> str:
    """Return the code of a snapshot. It holds no date: the same log gives the same code, also after a crash.

    Args:
        profile: id of the profile.
        algorithm: version of the learner.
        model: digest of the model.
        events: number of events that taught it.
        last_event: number of the last entry of the log that is in it.
        vector: bytes of float32 [W], the style vector.
    """
    packed = msgspec.msgpack.encode((profile, algorithm, model, events, last_event, vector))
    return base64.b32encode(hashlib.sha256(packed).digest()[:BYTES]).decode().lower()


def want_usable(code: str, row: TasteCodeRow | None, model: str) -> TasteCodeRow:
    """Return the row of a code that a request names.

    Args:
        code: as it was named.
        row: None: there is none.
        model: digest of the model that is to draw.

    Raises:
        TasteRefused: there is no such code, it was revoked, or it is of another model.
    """
    if row is None:
        got, allowed = f"{code}, which is not here", "one of this server"
        raise TasteRefused(complaint("taste code", got, allowed, "see `salon profile codes`"))
    if row.revoked:
        got = f"{code}, which its owner has revoked"
        raise TasteRefused(complaint("taste code", got, "one that is not", "use another one"))
    if row.model != model:
        got, allowed = f"{code}, which is of model {row.model_name} {row.model[:12]}", f"one of model {model[:12]}"
        remedy = "name the profile in its place: it is learned anew for this model"
        raise TasteRefused(complaint("taste code", got, allowed, remedy))
    return row
