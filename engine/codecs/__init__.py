"""The latent codecs: every module of this folder is one, and its name is the codec's.

A codec is what stands between the tokens that a model denoises and pixels: an autoencoder, and the way in which its
latents are packed into tokens. A family names the one that it has. To add a codec is to add a module with

    HELP: str                                                # what it is, in a few words
    CLASSES: Classes                                         # the component's library and classes
    def token_channels(component) -> int                     # from the config alone
    def load(ops, component) -> LatentCodec
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...plugins import Plugins

if TYPE_CHECKING:
    from ...kernels.ops import Ops
    from ...kernels.segments import Int32
    from ..checkpoint import Component
    from ..pipeline import Classes


class LatentCodec(Protocol):
    """A loaded codec."""

    @property
    def granularity(self) -> int:
        """Pixels along a side of a token."""

    @property
    def channels(self) -> int:
        """Columns of the latents, unpacked."""

    @property
    def sizes(self) -> Mapping[str, Any]:
        """The numbers of its config that decide how much work it is."""

    def pixel_bytes(self, itemsize: int) -> int:
        """Return the activation bytes of decoding one pixel, where a number of compute dtype has `itemsize` bytes."""

    def decode(self, ops: Ops[Any, Any], latents: Any, grids: Int32, *, wrap: bool = False) -> Any:
        """Turn tokens into pictures.

        Args:
            latents: backend array float32 [T, C], the tokens of all images one after another, each row-major.
            grids: int32 [B, 2], height and width of each image in tokens.
            wrap: every side of a picture goes on at the opposite one.

        Returns:
            Backend array float32 [P, 3] of about -1..1, P pixels of all images likewise.
        """

    def encode(self, ops: Ops[Any, Any], pixels: Any, grids: Int32) -> Any:
        """Turn pictures into tokens, as a model sees clean ones: the means of what the autoencoder makes of them.

        Args:
            pixels: backend array of compute dtype [P, 3], -1..1, the pixels of all images one after another.
            grids: int32 [B, 2], height and width of each image in tokens.

        Returns:
            Backend array float32 [T, C], the tokens of all images likewise.

        Raises:
            ValueError: other numbers of pixels than the grids say.
        """

    def latents(self, tokens: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
        """Return the latents float32 [height, width, channels] of one image's tokens float32 [T, C], unpacked."""


class Codec(Protocol):
    """What a module of this folder has."""

    HELP: str
    CLASSES: Classes

    def token_channels(self, component: Component) -> int:
        """Return C, the columns of a token, before any weight is read. CheckpointError for one that makes no colours,
        and for a config that cannot be read."""

    def load(self, ops: Ops[Any, Any], component: Component) -> LatentCodec:
        """Load the codec. CheckpointError for anything wrong with its folder."""


PLUGINS: Plugins[Codec] = Plugins("latent codec", __name__, __path__)
names, codec = PLUGINS.names, PLUGINS.get
