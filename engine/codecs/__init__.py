"""Find the latent codecs: every module of this folder is one, and its name is the codec's.

A codec stands between the tokens that a model denoises and pixels: an autoencoder, and the way in which its latents are
packed into tokens. A family names its codec. To add a codec is to add a module with

    HELP: str                                                # describes the codec in a few words
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
        """Length of a token's side, in pixels."""

    @property
    def channels(self) -> int:
        """Columns of the unpacked latents."""

    @property
    def sizes(self) -> Mapping[str, Any]:
        """The numbers of the codec's config that decide how much work it is."""

    def pixel_bytes(self, itemsize: int) -> int:
        """Return the activation bytes of decoding one pixel. A number of compute dtype has `itemsize` bytes."""

    def decode(self, ops: Ops[Any, Any], latents: Any, grids: Int32, *, wrap: bool = False) -> Any:
        """Turn tokens into pictures.

        Args:
            latents: backend array float32 [T, C], the tokens of all images one after another, each row-major.
            grids: int32 [B, 2], height and width of each image in tokens.
            wrap: every side of a picture goes on at the opposite one.

        Returns:
            Backend array float32 [P, 3] of about -1..1, the P pixels of all images in the same order.
        """

    def encode(self, ops: Ops[Any, Any], pixels: Any, grids: Int32) -> Any:
        """Turn pictures into tokens, as a model sees clean ones: the means of the autoencoder's latents.

        Args:
            pixels: backend array of compute dtype [P, 3], -1..1, the pixels of all images one after another.
            grids: int32 [B, 2], height and width of each image in tokens.

        Returns:
            Backend array float32 [T, C], the tokens of all images in the same order.

        Raises:
            ValueError: there are more or fewer pixels than the grids say.
        """

    def recorded(self, ops: Any, latents: Any, grids: Any) -> Any:
        """Decode one picture as `decode` does, on the table that records graphs (`kernels/onnx/recorder.py`)."""

    def latents(self, tokens: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
        """Unpack one image's tokens float32 [T, C] into its latents float32 [height, width, channels]."""

    def enlarged(self, tokens: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
        """Return one image's tokens float32 [T, C] at twice its sides, [4 T, C], its latents between those beside."""


class Codec(Protocol):
    """The names that a module of this folder defines."""

    HELP: str
    CLASSES: Classes

    def token_channels(self, component: Component) -> int:
        """Return C, the columns of a token, before any weight is read.

        Raises:
            CheckpointError: the config cannot be read, or the codec makes no colours.
        """

    def load(self, ops: Ops[Any, Any], component: Component) -> LatentCodec:
        """Load the codec. Raise CheckpointError if anything is wrong with its folder."""


PLUGINS: Plugins[Codec] = Plugins("latent codec", __name__, __path__)
names, codec = PLUGINS.names, PLUGINS.get
