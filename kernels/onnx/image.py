"""Record the ops on ragged images, channels last: images of all sizes in one array, one graph for all.

A convolution gathers the taps of every pixel side by side, by indices that the graph computes of the images' sides, and
is then one product. Where there is one image in every batch (`RecordedGrids.alone`), it is the runtime's convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops import DtypeName
from .arrays import Array, cannot
from .base import Base
from .batches import RecordedGrids
from .graph import BOOL, FLOAT, INT64, Numbers, Value
from .weights import ConvWeight


class ImageOps(Base):
    """The ops conv2d, upsample, downsample and group_norm_silu of `Recorder`. `Ops` documents them.

    `scaled` and `unpacked` are no ops of the table: what latent codecs do with numpy around them.
    """

    def scaled(self, x: Any, factors: Numbers, shifts: Numbers) -> Array:
        """Return x times factors plus shifts, float32 [T, C], of vectors [C]."""
        graph = self.graph
        y = graph.node("Mul", [graph.cast(self.read(x), FLOAT), graph.constant(factors)])
        rows, width = x.shape
        return self.made(graph.node("Add", [y, graph.constant(shifts)]), rows, width, "float32")

    def unpacked(self, x: Any, grids: RecordedGrids, side: int) -> Array:
        """Return the pixels of one image, float32 [side^2 * T, C], of tokens [T, C * side^2].

        Args:
            grids: its height and width in tokens.
            side: pixels along a side of a token, whose columns are (C, side, side).
        """
        if not grids.alone:
            cannot("unpacking of several images")
        graph, (rows, columns) = self.graph, x.shape
        width = columns // side**2
        split = [self._sides(grids), graph.constant([width, side, side])]
        y = graph.node("Reshape", [self.read(x), graph.node("Concat", split, axis=0)])
        y = graph.node("Transpose", [y], perm=[0, 3, 1, 4, 2])
        return self.made(graph.node("Reshape", [y, graph.constant([-1, width])]), side**2 * rows, width, "float32")

    def conv2d(
        self,
        x: Any,
        weight: Any,
        grids: RecordedGrids,
        *,
        residual: Any = None,
        dtype: DtypeName = "compute",
        wrap: bool = False,
    ) -> Array:
        y = self._convolved(x, weight, grids, grids, wrap=wrap)
        if residual is not None:
            y = self.graph.node("Add", [y, self.graph.cast(self.read(residual), FLOAT)])
        return self.made(y, x.shape[0], weight.columns.shape[0], dtype)

    def upsample(self, x: Any, weight: Any, grids: RecordedGrids, *, wrap: bool = False) -> Array:
        finer = grids * np.int32(2)
        y = self._convolved(x, weight, grids, finer, halved=True, wrap=wrap)
        return self.made(y, 4 * x.shape[0], weight.columns.shape[0], "compute")

    def downsample(self, x: Any, weight: Any, grids: RecordedGrids, *, symmetric: bool = False) -> Array:
        graph, less = self.graph, 1 if symmetric else 2
        shorter = graph.node("Sub", [grids.value, graph.constant(less)])
        sides = graph.node("Add", [graph.node("Div", [shorter, graph.constant(2)]), graph.constant(1)])
        coarser = RecordedGrids(graph, sides, (grids.example - less) // 2 + 1, grids.known)
        y = self._convolved(x, weight, grids, coarser, step=2, shift=0 if symmetric else 1)
        return self.made(y, int(coarser.example.prod(axis=1).sum()), weight.columns.shape[0], "compute")

    def group_norm_silu(
        self, x: Any, weight: Any, bias: Any, grids: RecordedGrids, groups: int, *, eps: float = 1e-6, silu: bool = True
    ) -> Array:
        graph, (rows, width) = self.graph, x.shape
        if grids.alone:
            y = self._group_normed(graph.cast(self.read(x), FLOAT), groups, width, eps)
            return self.made(self._affine(y, weight, bias, silu), rows, width, "compute")
        image, _, _, _ = self._places(grids, rows)
        numbers = graph.range(graph.scalar(graph.size(grids.value)))
        mine = graph.cast(graph.node("Equal", [graph.unsqueeze(numbers, 1), image], BOOL), FLOAT)
        areas = graph.node("ReduceProd", [grids.value, graph.constant([1])], keepdims=1)
        count = graph.node("Mul", [graph.cast(areas, FLOAT), graph.constant(np.float32(width // groups))])  # [B, 1]

        def mean(numbers: Value) -> Value:
            """Return for each row [T, C] the mean of its image's group."""
            sums = graph.node("Reshape", [graph.node("MatMul", [mine, numbers]), graph.constant([0, groups, -1])])
            means = graph.node("Div", [graph.node("ReduceSum", [sums, graph.constant([2])], keepdims=0), count])
            wide = graph.unsqueeze(means, 2)
            wide = graph.node("Expand", [wide, graph.constant([1, 1, width // groups])])
            each = graph.node("Reshape", [wide, graph.constant([0, width])])
            return graph.node("Gather", [each, image], axis=0)

        value = graph.cast(self.read(x), FLOAT)
        off = graph.node("Sub", [value, mean(value)])
        spread = graph.node("Add", [mean(graph.node("Mul", [off, off])), graph.constant(np.float32(eps))])
        y = graph.node("Div", [off, graph.node("Sqrt", [spread])])
        return self.made(self._affine(y, weight, bias, silu), rows, width, "compute")

    def _affine(self, x: Value, weight: Any, bias: Any, silu: bool) -> Value:
        graph = self.graph
        y = graph.node("Add", [graph.node("Mul", [x, self.flat(weight)]), self.flat(bias)])
        return graph.node("Mul", [y, graph.node("Sigmoid", [y])]) if silu else y

    def _group_normed(self, x: Value, groups: int, width: int, eps: float) -> Value:
        """Return the pixels [P, C] of one image, normed by groups."""
        graph, axes = self.graph, self.graph.constant([0, 2])
        x = graph.node("Reshape", [x, graph.constant([0, groups, width // groups])])
        off = graph.node("Sub", [x, graph.node("ReduceMean", [x, axes], keepdims=1)])
        spread = graph.node("ReduceMean", [graph.node("Mul", [off, off]), axes], keepdims=1)
        root = graph.node("Sqrt", [graph.node("Add", [spread, graph.constant(np.float32(eps))])])
        return graph.node("Reshape", [graph.node("Div", [off, root]), graph.constant([0, width])])

    def _places(self, grids: RecordedGrids, rows: int) -> tuple[Value, Value, Value, Value]:
        """Return for each pixel its image, row and column, int64 [P], and the first pixel of each image, int64 [B]."""
        graph = self.graph
        if rows != int(grids.example.prod(axis=1).sum()):
            raise ValueError(f"grids: got {grids.example.tolist()}, want {rows} pixels")
        areas = graph.node("ReduceProd", [grids.value, graph.constant([1])], keepdims=0)
        ends = graph.node("CumSum", [areas, graph.constant(0)])
        last = graph.node(
            "Slice", [ends, graph.constant([-1]), graph.constant([np.iinfo(np.int64).max]), graph.constant([0])]
        )
        pixel = graph.range(graph.scalar(last))
        passed = graph.node("GreaterOrEqual", [graph.unsqueeze(pixel, 1), ends], BOOL)
        image = graph.node("ReduceSum", [graph.cast(passed, INT64), graph.constant([1])], keepdims=0)
        firsts = graph.node("Sub", [ends, areas])
        inside = graph.node("Sub", [pixel, graph.node("Gather", [firsts, image], axis=0)])
        width = graph.node("Gather", [self._side(grids, 1), image], axis=0)
        row = graph.node("Div", [inside, width])
        return image, row, graph.node("Sub", [inside, graph.node("Mul", [row, width])]), firsts

    def _side(self, grids: RecordedGrids, axis: int) -> Value:
        """Return heights (0) or widths (1), int64 [B]."""
        return self.graph.node("Gather", [grids.value, self.graph.constant(axis)], axis=1)

    def _sides(self, grids: RecordedGrids) -> Value:
        """Return height and width of one image, int64 [2]."""
        return self.graph.node("Reshape", [grids.value, self.graph.constant([2])])

    def _convolved(
        self,
        x: Any,
        weight: Any,
        before: RecordedGrids,
        after: RecordedGrids,
        *,
        step: int = 1,
        shift: int = 0,
        halved: bool = False,
        wrap: bool = False,
    ) -> Value:
        """Return images of sides `before` convolved to sides `after`, float32 [P', O].

        Args:
            step: the stride.
            shift: by how many pixels the middle tap stands further below and right than step times the place.
            halved: whether taps are counted in pixels after, two for each before.
        """
        if not isinstance(weight, ConvWeight):
            cannot(f"a convolution with a weight of {type(weight).__name__}")
        graph, inputs = self.graph, x.shape[1]
        value = self.read(x)
        taps = weight.columns.shape[1] // inputs
        if taps == 1:
            return self.product(value, weight.columns, weight.bias)
        if before.alone and not wrap:
            return self._convolved_alone(value, weight, before, step, shift, halved)
        image, row, column, _ = self._places(after, int(after.example.prod(axis=1).sum()))
        _, _, _, firsts = self._places(before, x.shape[0])
        scale = after if halved else before
        places, inside = [], None
        for axis, place in ((0, row), (1, column)):
            side = graph.node("Gather", [self._side(scale, axis), image], axis=0)
            side = graph.unsqueeze(side, 1)
            middle = graph.node("Mul", [place, graph.constant(step)]) if step != 1 else place
            offsets = np.array([dy if axis == 0 else dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)]) + shift
            tap = graph.node("Add", [graph.unsqueeze(middle, 1), graph.constant(offsets)])
            if wrap:
                tap = graph.node("Mod", [graph.node("Add", [tap, side]), side])
            else:
                fits = graph.node("And", [
                    graph.node("GreaterOrEqual", [tap, graph.constant(0)], BOOL), graph.node("Less", [tap, side], BOOL)
                ])  # fmt: skip
                inside = fits if inside is None else graph.node("And", [inside, fits])
            places.append(graph.node("Div", [tap, graph.constant(2)]) if halved else tap)
        first = graph.unsqueeze(graph.node("Gather", [firsts, image], axis=0), 1)
        wide = graph.node("Gather", [self._side(before, 1), image], axis=0)
        line = graph.node("Mul", [places[0], graph.unsqueeze(wide, 1)])
        index = graph.node("Add", [first, graph.node("Add", [line, places[1]])])  # [P', taps]
        if inside is not None:
            zero = graph.cast(graph.constant(np.zeros((1, inputs), np.float32)), value.type)
            value = graph.node("Concat", [value, zero], axis=0)
            index = graph.node("Where", [inside, index, graph.size(self.read(x))], INT64)
        gathered = graph.node("Gather", [value, index], axis=0)
        flat = graph.node("Reshape", [gathered, graph.constant([0, taps * inputs])])
        return self.product(flat, weight.columns, weight.bias)

    def _convolved_alone(
        self, x: Value, weight: ConvWeight, grids: RecordedGrids, step: int, shift: int, halved: bool
    ) -> Value:
        """Return one image of sides `grids` convolved by the runtime, float32 [P', O]. See `_convolved`."""
        graph, (outputs, inputs, *kernel) = self.graph, weight.kernel.shape
        shape = [graph.constant([1]), self._sides(grids), graph.constant([inputs])]
        image = graph.node("Reshape", [graph.cast(x, FLOAT), graph.node("Concat", shape, axis=0)])
        image = graph.node("Transpose", [image], perm=[0, 3, 1, 2])
        if halved:
            twice = graph.constant(np.array([1, 1, 2, 2], np.float32))
            how: dict[str, Any] = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            image = graph.node("Resize", [image, None, twice], mode="nearest", **how)
        operands = [image, self.weight(weight.kernel, "float32"), self.weight(weight.bias, "float32")]
        before = 1 - shift  # zeros above and left
        made = graph.node("Conv", operands, kernel_shape=kernel, strides=[step] * 2, pads=[before, before, 1, 1])
        rows = graph.node("Transpose", [made], perm=[0, 2, 3, 1])
        return graph.node("Reshape", [rows, graph.constant([-1, outputs])])
