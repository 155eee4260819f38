"""Features: the style vector of a picture, by the model's own style encoder. What a user likes is learned from these.

It takes no probe: encoding the picture is all there is to do. The answer is one text, the vector's bytes in base64.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...errors import complaint
from ...values import shown
from ..errors import SpecError
from . import Asking, Question, Text

HELP = "the style vector of a picture"
PICTURE = True
PROBES = False
ROLE: Final = "vector"

Float32 = NDArray[np.float32]


def num_probes(prompt: str, names: Mapping[str, int]) -> int:
    """See `Inquiry`."""
    return 0


def ask(question: Question) -> Asking:
    """See `Inquiry`."""
    assert question.vector is not None, "an inquiry about a picture, of a model with a style encoder"
    yield ()
    return answer(question.vector)


def answer(vector: Float32) -> tuple[Text, ...]:
    """Return the answer that has a vector float32 [W]."""
    return (Text(base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii"), 1.0, ROLE),)


def read(text: Text) -> Float32:
    """Return the vector float32 [W] of an answer. SpecError: the text is none."""
    try:
        data = base64.b64decode(text.text, validate=True)
        vector = np.frombuffer(data, "<f4").astype(np.float32)
    except (binascii.Error, ValueError) as error:
        got = shown(text.text)[:60]
        raise SpecError(complaint("features", got, "a vector in base64", "ask for them again")) from error
    if text.role != ROLE or not vector.size or not np.isfinite(vector).all():
        got = f"{vector.size} numbers with the role {text.role!r}"
        raise SpecError(complaint("features", got, f"finite numbers with the role {ROLE!r}", "ask for them again"))
    return vector
