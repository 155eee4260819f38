"""Negotiate version and features between two sides, each of which may be older or newer than the other."""

from __future__ import annotations

from typing import Final

from ...errors import complaint
from .errors import UnsupportedVersion
from .messages import FEATURES, VERSION, Hello

OLDEST: Final = 1  # the oldest version that this side still speaks


def negotiate(
    hello: Hello, *, version: int = VERSION, oldest: int = OLDEST, features: tuple[str, ...] = FEATURES
) -> tuple[int, tuple[str, ...]]:
    """Return (the newest version that both sides speak, the features that both know, in this side's order).

    Args:
        hello: the client's Hello.
        version, oldest: newest and oldest version of this side.
        features: features of this side.

    Raises:
        UnsupportedVersion: there is no version that both speak.
    """
    spoken = min(hello.version, version)
    if spoken < max(hello.oldest, oldest):
        got = f"{hello.oldest} to {hello.version}"
        older = "client" if hello.version < oldest else "server"
        raise UnsupportedVersion(complaint("version", got, f"{oldest} to {version}", f"use a newer {older}"))
    return spoken, tuple(name for name in features if name in hello.features)
