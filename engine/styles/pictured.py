"""Make styles of pictures by an IP-Adapter: its image encoder and its projection in place of a model's style space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import complaint
from ...kernels.ops import Ops
from ..errors import SpecError
from ..models import image_encoders
from ..weights.ip_adapter import IpAdapter
from . import names
from .choice import StyleInfo

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PictureStyles:
    """The styles of a model with an IP-Adapter: those of pictures, and that of none.

    Attributes:
        adapter: the adapter.
        encoder: its image encoder.
    """

    adapter: IpAdapter
    encoder: image_encoders.EncoderWeights

    @property
    def info(self) -> StyleInfo:
        """Plain facts of the styles."""
        return StyleInfo(
            tokens=self.adapter.projection.num_tokens,
            token_width=self.adapter.branch.token_width,
            words=(),
            side=self.encoder.config.image_size,
            whole=isinstance(self.encoder, image_encoders.SiglipVisionWeights),
        )

    def kept_numbers(self, widths: Sequence[int]) -> int:
        """Return how many numbers the keys and values of a picture are. `widths`: of the model's layers, if the adapter
        has none of its own."""
        return 2 * self.adapter.projection.num_tokens * sum(self.adapter.branch.widths or widths)

    def of_picture(self, ops: Ops[Any, Any], pixels: NDArray[np.uint8]) -> Float32:
        """Return the adapter tokens float32 [n, token width] of a picture uint8 [side, side, 3]."""
        return self._seen(ops, image_encoders.normalised(self.encoder, pixels))

    def derived(self, ops: Ops[Any, Any], name: str) -> Float32:
        """Return the adapter tokens float32 [n, token width] that a style's name alone stands for: that of none, which
        the unconditional branch reads.

        Raises:
            SpecError: the name is of another style, or of a picture that the engine has not been given.
        """
        if name != names.NONE:
            digest = names.picture_of(name)
            got = repr(name) if digest is None else f"picture {digest[:12]}, which is not here"
            remedy = "give the picture (--sref, or Engine.add_style_picture)"
            raise SpecError(complaint("style reference", got, "a picture that is here", remedy))
        side = self.encoder.config.image_size
        nothing = np.zeros((side, side, 3), np.float32)
        if not self.adapter.zeros:
            return self._seen(ops, image_encoders.normalised(self.encoder, nothing.astype(np.uint8)))
        if self.adapter.reads_states:
            return self._seen(ops, nothing)
        return self.adapter.projection.tokens(ops, np.zeros((1, self.encoder.config.projection_dim), np.float32))

    def _seen(self, ops: Ops[Any, Any], picture: Float32) -> Float32:
        states = self.adapter.reads_states
        return self.adapter.projection.tokens(ops, image_encoders.encode(ops, self.encoder, picture, states=states))
