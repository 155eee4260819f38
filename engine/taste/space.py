"""Keep the plain numbers of a model's style space, by which any process can learn without the model.

A picture's style vector float32 [W] becomes coordinates float64 [K]: the probabilities that the space's classifiers
give to the classes of each factor (drawing set, palette, background, finish), and then to dark or light, cool or warm
and what else `colours.py` has. A choice between pictures speaks of these, and so can a report. A space without
classifiers takes the vector itself, scaled to unit length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...errors import complaint
from ..errors import SpecError
from ..styles.encoder import unit
from ..styles.numbers import Basis
from .colours import COLOURS

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

ALGORITHM: Final = 2  # of learning and of making vectors; a code names it, and a change of either raises it
POINTS: Final = 4_096  # numbered styles among which profiles look for what is liked


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in which styles differ.

    Attributes:
        name: like "palette".
        classes: names of its classes, in words.
        weight, bias: bytes of float32 [classes, W] and [classes], the classifier of a style vector.
    """

    name: str
    classes: tuple[str, ...]
    weight: bytes
    bias: bytes


class TasteSpace(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A model's style space in plain numbers.

    Attributes:
        width: W, the length of style vectors.
        named: bytes of float32 [n, W], the styles that the checkpoint names.
        words: the names of these n styles.
        factors: the classifiers; empty: coordinates are the vectors themselves.
        colours: classifiers of colours, for which there are no directions: which classes have such colours decides.
        prior: bytes of float32 [M, K, K], covariances of the utilities of M types of users; empty: those of `types_of`.
        classes: bytes of float32 [F + 2, W]: the middle of all styles, how frequent each of the F classes of `factors`
            is (the rest of that row is 0), and the direction of each; empty: see `directions`.
        algorithm: of learning; see `ALGORITHM`.
    """

    width: int
    named: bytes
    words: tuple[str, ...]
    factors: tuple[Factor, ...] = ()
    colours: tuple[Factor, ...] = ()
    prior: bytes = b""
    classes: bytes = b""
    algorithm: int = ALGORITHM

    @property
    def axes(self) -> int:
        """K, the number of coordinates."""
        return len(self.labels) if self.factors else self.width

    @cached_property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """Name factor and class of each coordinate; without classifiers there are none."""
        return tuple((factor.name, name) for factor in (*self.factors, *self.colours) for name in factor.classes)

    @cached_property
    def groups(self) -> tuple[slice, ...]:
        """The coordinates of each factor; of a space without classifiers one group of all."""
        if not self.factors:
            return (slice(0, self.width),)
        sizes = [len(factor.classes) for factor in (*self.factors, *self.colours)]
        return tuple(slice(end - size, end) for size, end in zip(sizes, np.cumsum(sizes).tolist(), strict=True))

    @property
    def directed(self) -> int:
        """F, the number of the first coordinates, which have directions: all but those of colours."""
        return self.axes - sum(len(factor.classes) for factor in self.colours)

    def coordinates(self, vectors: NDArray[Any]) -> Float64:
        """Return the coordinates float64 [n, K] of style vectors [n, W].

        Raises:
            SpecError: they are of another width, or not finite.
        """
        values = np.asarray(vectors, np.float64)
        if values.ndim != 2 or values.shape[1] != self.width or not np.isfinite(values).all():
            allowed = f"finite numbers [n, {self.width}]"
            raise SpecError(complaint("style vectors", f"{list(values.shape)}", allowed, "ask this model for them"))
        if not self.factors:
            plain: Float64 = values / np.sqrt(float(self.width))
            return plain
        parts = []
        for weight, bias in (*self._classifiers, *self._colour_classifiers):
            logits = values @ weight.T + bias
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            parts.append(shares / shares.sum(axis=1, keepdims=True))
        return np.concatenate(parts, axis=1)

    @cached_property
    def covariances(self) -> Float64:
        """Covariances float64 [M, K, K] of the utilities of each type of users."""
        if not self.prior:
            return types_of(self)
        return np.frombuffer(self.prior, "<f4").reshape(-1, self.axes, self.axes).astype(np.float64)

    @cached_property
    def directions(self) -> tuple[Float64, Float64, Float64]:
        """Middle [W] of all styles, how frequent each class is [F], and the direction [F, W] of each class.

        The vectors of styles are about the middle and the sum of their classes' directions, by coordinates: those of
        pictures, where the checkpoint ships that, else those of numbered styles, by ridge regression.
        """
        if self.classes:
            rows = np.frombuffer(self.classes, "<f4").reshape(self.directed + 2, -1).astype(np.float64)
            return rows[0], rows[1, : self.directed], rows[2:]
        vectors, coordinates = self.points
        return directions_of(vectors, coordinates[:, : self.directed])

    @cached_property
    def class_colours(self) -> Float64:
        """Coordinates [F, K - F] of the colours of each class: those of the middle with its direction."""
        middle, _, directions = self.directions
        return self.coordinates(np.stack([unit(middle + each) for each in directions]))[:, self.directed :]

    @cached_property
    def points(self) -> tuple[Float32, Float64]:
        """Vectors float32 [P, W] and coordinates [P, K] of the first numbered styles: where profiles look."""
        vectors = np.stack([self.number_vector(number) for number in range(POINTS)])
        return vectors, self.coordinates(vectors)

    def number_vector(self, number: int) -> Float32:
        """Return the style vector float32 [W] of a numbered style, as `--sref` has it."""
        return self.basis.vector(number)

    def mean_vector(self, vectors: NDArray[Any], weights: Sequence[float] | None = None) -> Float32:
        """Return the weighted mean of style vectors [n, W], of unit mean square: float32 [W].

        SpecError: none, or weights that are not positive in all.
        """
        values = np.asarray(vectors, np.float64)
        shares = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
        if not len(values) or len(shares) != len(values) or not shares.sum() > 0:
            got = f"{len(values)} vectors with {len(shares)} weights"
            raise SpecError(complaint("styles", got, "at least one with a weight above 0", "add some"))
        return unit(np.add.reduce(values * shares[:, None], axis=0) / shares.sum())

    @cached_property
    def basis(self) -> Basis:
        """The vectors that numbered styles are made of."""
        classifiers = zip(self.factors, self._classifiers, strict=True)
        heads = {factor.name: weight.astype(np.float32) for factor, (weight, _) in classifiers}
        return Basis.of(np.frombuffer(self.named, "<f4").reshape(-1, self.width), heads)

    @cached_property
    def _classifiers(self) -> tuple[tuple[Float64, Float64], ...]:
        return tuple(self._classifier(factor) for factor in self.factors)

    @cached_property
    def _colour_classifiers(self) -> tuple[tuple[Float64, Float64], ...]:
        return tuple(self._classifier(factor) for factor in self.colours)

    def _classifier(self, factor: Factor) -> tuple[Float64, Float64]:
        weight = np.frombuffer(factor.weight, "<f4").reshape(-1, self.width).astype(np.float64)
        return weight, np.frombuffer(factor.bias, "<f4").astype(np.float64)


def directions_of(vectors: NDArray[Any], coordinates: Float64, ridge: float = 1.0) -> tuple[Float64, Float64, Float64]:
    """Return (middle [W], frequency of each class [F], direction of each class [F, W]) of styles.

    Args:
        vectors: [n, W].
        coordinates: [n, F] of these vectors, those of colours left out.
        ridge: added to the square of the coordinates, since those of a factor add up to 1.
    """
    values = np.asarray(vectors, np.float64)
    middle, frequent = values.mean(axis=0), coordinates.mean(axis=0)
    off = coordinates - frequent
    directions = np.linalg.solve(off.T @ off + ridge * np.eye(off.shape[1]), off.T @ (values - middle))
    return middle, frequent, directions


def class_rows(vectors: NDArray[Any], coordinates: Float64) -> Float32:
    """Return float32 [F + 2, W], as `TasteSpace.classes` has it, of the styles of pictures; see `directions_of`."""
    middle, frequent, directions = directions_of(vectors, coordinates)
    padded = np.zeros(len(middle))
    padded[: len(frequent)] = frequent
    rows: Float32 = np.concatenate([middle[None], padded[None], directions]).astype(np.float32)
    return rows


def types_of(space: TasteSpace, spread: float = 3.0, little: float = 0.7) -> Float64:
    """Return the covariances [M, K, K] of plain types of users: those who go by all alike, those who hardly care, and
    those who go by one factor above all, one type for each, and one of colours.

    Args:
        spread: deviation of the utilities of classes that a user goes by.
        little: of the others.
    """
    groups, axes = space.groups, space.axes
    kinds = [[spread] * len(groups), [little] * len(groups)]
    single = len(groups) - len(space.colours)  # colours are a kind together
    if single > 1:
        kinds += [[spread if at == one else little for at in range(len(groups))] for one in range(single)]
    if space.colours:
        kinds.append([little if at < single else spread for at in range(len(groups))])
    found = np.zeros((len(kinds), axes, axes))
    for number, deviations in enumerate(kinds):
        for group, deviation in zip(groups, deviations, strict=True):
            at = np.arange(axes)[group]
            found[number, at, at] = deviation**2
    return found


def space_of(
    vectors: Float32,
    words: Sequence[str],
    heads: Mapping[str, tuple[Float32, Float32]],
    names: Mapping[str, Sequence[str]],
    prior: Float32 | None = None,
    classes: Float32 | None = None,
    colours: Float32 | None = None,
) -> TasteSpace:
    """Return the space of named styles and classifiers.

    Args:
        vectors, words: the named styles [n, W] and their names.
        heads: factor -> (weight [classes, W], bias [classes]).
        names: factor -> what prompts call its classes, where the model knows words for them; one fewer than the
            classes: the first class is the one without a word.
        prior: covariances [M, K, K] of types of users; None: plain ones.
        classes: [F + 2, W], see `TasteSpace`; None: those of numbered styles.
        colours: [C, W + 1], weights and bias of what `COLOURS` names; None: no colours.
    """
    factors = []
    for factor, (weight, bias) in sorted(heads.items()):
        known = tuple(names.get(factor, ()))
        if len(known) == len(bias) - 1:
            known = ("none", *known)
        if len(known) != len(bias):
            known = tuple(f"{factor} {number}" for number in range(1, len(bias) + 1))
        factors.append(
            Factor(name=factor, classes=known, weight=weight.astype("<f4").tobytes(), bias=bias.astype("<f4").tobytes())
        )
    return TasteSpace(
        width=vectors.shape[1],
        named=vectors.astype("<f4").tobytes(),
        words=tuple(words),
        factors=tuple(factors),
        colours=() if colours is None else tuple(_colour(*each) for each in zip(COLOURS.items(), colours, strict=True)),
        prior=b"" if prior is None else prior.astype("<f4").tobytes(),
        classes=b"" if classes is None else classes.astype("<f4").tobytes(),
    )


def _colour(named: tuple[str, tuple[str, str]], row: Float32) -> Factor:
    """Return the classifier with two classes that a name and weights with bias [W + 1] make."""
    both = np.stack([-row / 2, row / 2]).astype("<f4")
    return Factor(name=named[0], classes=named[1], weight=both[:, :-1].tobytes(), bias=both[:, -1].tobytes())
