"""Define every error of the wire, as one tree.

SalonError
└── WireError
    ├── MessageError             a message is refused; carries the id of the message, and the code of its Failure
    │   ├── BadMessage           it is malformed, or a field is out of its range
    │   ├── UnknownMessage       it is well formed, but of a type that this side does not know
    │   ├── TooLarge             it has more bytes than allowed
    │   └── UnsupportedVersion   there is no version that both sides speak
    ├── AddressError             an address cannot be read
    └── KeyFileError             a key file is missing, readable by others, damaged, or cannot be written
"""

from __future__ import annotations

from typing import ClassVar

from ...errors import SalonError


class WireError(SalonError):
    """Base of the wire's errors."""


class MessageError(WireError):
    """A message is refused.

    Attributes:
        code: the code of the `Failure` that says so.
        id: the id of the message, as far as it could be read; the answer goes there.
    """

    code: ClassVar[str] = "invalid"

    def __init__(self, text: str, id: bytes = b"") -> None:
        super().__init__(text)
        self.id = id


class BadMessage(MessageError):
    """A message is malformed, or a field is out of its range."""


class UnknownMessage(MessageError):
    """A message is well formed, but of a type that this side does not know.

    Attributes:
        type: the name of that type.
    """

    code = "unsupported"

    def __init__(self, text: str, type: str, id: bytes = b"") -> None:
        super().__init__(text, id)
        self.type = type


class TooLarge(MessageError):
    """A message has more bytes than allowed."""

    code = "too_large"


class UnsupportedVersion(MessageError):
    """There is no version of the protocol that both sides speak."""

    code = "unsupported"


class AddressError(WireError):
    """An address cannot be read."""


class KeyFileError(WireError):
    """A key file is missing, readable by others, damaged, or cannot be written."""
