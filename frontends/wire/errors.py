"""Every error of the wire, as one tree.

SalonError
└── WireError
    ├── MessageError             a message that cannot be taken; has the id of its message, and the code of its Failure
    │   ├── BadMessage           not well formed, or a field out of its range
    │   ├── UnknownMessage       well formed, of a type that this side does not know
    │   ├── TooLarge             more bytes than allowed
    │   └── UnsupportedVersion   no version that both sides speak
    ├── AddressError             an address that cannot be read
    └── KeyFileError             a key file that is missing, readable by others, damaged, or cannot be written
"""

from __future__ import annotations

from typing import ClassVar

from ...errors import SalonError


class WireError(SalonError):
    """Base of the wire's errors."""


class MessageError(WireError):
    """A message that cannot be taken.

    Attributes:
        code: of the `Failure` that says so.
        id: the id of the message, as far as it could be read; the answer goes there.
    """

    code: ClassVar[str] = "invalid"

    def __init__(self, text: str, id: bytes = b"") -> None:
        super().__init__(text)
        self.id = id


class BadMessage(MessageError):
    """Not well formed, or a field out of its range."""


class UnknownMessage(MessageError):
    """Well formed, of a type that this side does not know.

    Attributes:
        type: the name of that type.
    """

    code = "unsupported"

    def __init__(self, text: str, type: str, id: bytes = b"") -> None:
        super().__init__(text, id)
        self.type = type


class TooLarge(MessageError):
    """More bytes than allowed."""

    code = "too_large"


class UnsupportedVersion(MessageError):
    """No version of the protocol that both sides speak."""

    code = "unsupported"


class AddressError(WireError):
    """An address that cannot be read."""


class KeyFileError(WireError):
    """A key file that is missing, readable by others, damaged, or cannot be written."""
