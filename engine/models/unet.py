"""Compute the UNet of Stable Diffusion 1.5 and SDXL over ragged pictures, channels last.

Source: 2112.10752 and 2307.01952; diffusers' `UNet2DConditionModel`, with which tests compare it. Resnets that read
the time, transformers that attend to the picture and then to the text, and from the way down to the way up a skip at
every layer.

Latents are those of flow matching (`trained.py`): the model's input and output are scaled here. Keys and values of the
text depend on the prompt alone, so a layout computes them, once for every text of the batch. Samples of one text share
them: in attention to the text the owner of rows is their text.

Sides that are no multiples of 2 are halved upwards and doubled to the side that there was, as diffusers does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, TypeVar

import numpy as np

from ...kernels.ops import Ops, Vector
from ...kernels.segments import Int32, Segments
from ..denoiser import Sample
from ..trained import TrainedSigmas, input_factors
from ..weights.reader import Norm
from ..weights.unet import Block, Layer, Resnet, Transformer, UNetConfig, UNetWeights, load_unet

__all__ = ["UNetConfig", "UNetLayout", "UNetWeights", "layout", "load_unet", "times", "velocity"]

A = TypeVar("A")
NUMBERS = 4  # of each sample at a step: its timestep, and the factors of `input_factors`
TRANSFORMER_EPS = 1e-6  # of the group norm in front of a transformer


@dataclass(frozen=True, eq=False)
class Part(Generic[A]):
    """Pictures of a level that follow one another and change their resolution in the same way.

    Attributes:
        start, stop: their rows before the change.
        grids: int32 [B, 2], their sides before it.
        rows: int32, for each row after the change the row of the part from which it comes; None: the op does that.
        after: int32 [B, 2], their sides after it.
    """

    start: int
    stop: int
    grids: Int32
    rows: Vector | None
    after: Int32


@dataclass(frozen=True, eq=False)
class Level(Generic[A]):
    """The pictures of a batch at one resolution, P rows in all.

    Attributes:
        grids: int32 [S, 2], height and width of each.
        segments: the rows of each, owned by its sample.
        texts: the same rows, owned by their texts.
        owners: int32 [P], the sample of each row.
        ones: compute [P, widest], of ones.
        down, up: how they come to the next coarser level, and back from it to this one.
    """

    grids: Int32
    segments: Segments
    texts: Segments
    owners: Vector
    ones: A
    down: tuple[Part[A], ...]
    up: tuple[Part[A], ...]


@dataclass(frozen=True, eq=False)
class UNetLayout(Generic[A]):
    """What stays the same while S samples step together.

    Attributes:
        levels: finest first.
        added: float32 [S, time width], what pooled text and sizes add to the time; None: the model reads neither.
        keys: of each layer of each transformer, in the order in which they are computed, (keys, values) of all texts.
        texts: the rows of each text in them, owned by itself.
        zeros: float32 [P, 1] of zeros, and `nothing` a vector [S] of them.
    """

    levels: tuple[Level[A], ...]
    added: A | None
    keys: tuple[tuple[A, A], ...]
    texts: Segments
    zeros: A
    nothing: Vector


def layout(ops: Ops[Any, Any], weights: UNetWeights, samples: Sequence[Sample], factor: int) -> UNetLayout[Any]:
    """Lay out a batch of at least one sample.

    Args:
        factor: pixels along the side of a latent, by which the model is told sizes.

    Raises:
        ValueError: parts of a sample do not fit each other or the model.
    """
    for sample in samples:
        if len(sample.grid) != 2 or min(sample.grid) < 1:
            raise ValueError(f"layout: grid: got {sample.grid}, want height and width from 1 up")
        if sample.guidance is not None:
            raise ValueError(f"layout: guidance: got {sample.guidance}, want None: there is no guidance embedding")
    texts = {id(sample.text): sample.text for sample in samples}
    numbers = dict(zip(texts, range(len(texts)), strict=True))
    rows = ops.array(np.concatenate([text.tokens for text in texts.values()]))
    keys = []
    for transformer in weights.transformers:
        for layer in transformer.layers:
            both, d = ops.linear(rows, layer.text_kv), transformer.width
            keys.append((ops.columns(both, 0, d), ops.columns(both, d, 2 * d)))
    levels = _levels(ops, weights.config, samples, [numbers[id(sample.text)] for sample in samples], len(texts))
    (nothing,) = ops.vectors(np.zeros(len(samples), np.float32))
    return UNetLayout(
        levels=levels,
        added=_added(ops, weights, samples, factor),
        keys=tuple(keys),
        texts=ops.segments([len(text.tokens) for text in texts.values()]),
        zeros=ops.zeros(levels[0].segments.num_rows, 1, "float32"),
        nothing=nothing,
    )


def times(schedule: TrainedSigmas, sigmas: Any) -> Any:
    """Return the numbers of a step, float32 [4 S], of sigmas float32 [S]: timesteps, then `input_factors`."""
    return np.concatenate([schedule.times(sigmas), *input_factors(sigmas, schedule.prediction)])


def velocity(ops: Ops[Any, Any], weights: UNetWeights, layout: UNetLayout[Any], latents: Any, numbers: Vector) -> Any:
    """Return dx/dsigma of every picture, float32 [P, C].

    Args:
        latents: float32 [P, C], the latents of all pictures one after another, each row-major.
        numbers: vector float32 [4 S], what `times` returns.
    """
    config, top = weights.config, layout.levels[0]
    count = len(top.segments)
    timesteps, scale, p, q = (numbers[i * count : (i + 1) * count] for i in range(NUMBERS))
    told = _time(ops, weights, layout, timesteps)
    seen = ops.cast(latents, "float32")
    ops.blend(seen, latents, latents, layout.zeros, top.segments, scale, layout.nothing)
    run = _Run(ops, config, layout, told)
    x = ops.conv2d(ops.cast(seen), weights.conv_in, top.grids)
    skips = [x]
    for number, block in enumerate(weights.down):
        level = layout.levels[number]
        for j, resnet in enumerate(block.resnets):
            x = run.resnet(resnet, x, level)
            if block.transformers:
                x = run.transformer(block.transformers[j], x, level)
            skips.append(x)
        if block.resample is not None:
            x = run.halved(block.resample, x, level)
            skips.append(x)
    x = run.middle(weights.middle, x, layout.levels[-1])
    for number, block in enumerate(weights.up):
        place = len(layout.levels) - 1 - number
        for j, resnet in enumerate(block.resnets):
            x = run.resnet(resnet, run.beside(x, skips.pop(), layout.levels[place]), layout.levels[place])
            if block.transformers:
                x = run.transformer(block.transformers[j], x, layout.levels[place])
        if block.resample is not None:
            x = run.doubled(block.resample, x, layout.levels[place - 1])
    x = run.normed(weights.norm_out, x, top.grids)
    out = ops.conv2d(x, weights.conv_out, top.grids, dtype="float32")
    ops.blend(seen, out, latents, layout.zeros, top.segments, p, q)
    return seen


def _time(ops: Ops[Any, Any], weights: UNetWeights, layout: UNetLayout[Any], timesteps: Vector) -> Any:
    """Return what each resnet is told, float32 [S, columns of all resnets]."""
    sinusoid = ops.timestep_embedding(timesteps, weights.config.block_out_channels[0])
    hidden = ops.linear(sinusoid, weights.time.first, activation="silu")
    total = ops.linear(hidden, weights.time.second, dtype="float32")
    if layout.added is not None:
        ops.add(total, layout.added)
    return ops.linear(ops.cast(total, activation="silu"), weights.time_projection, dtype="float32")


class _Run:
    """One evaluation: computes blocks, and hands out the keys and values of the text in order."""

    def __init__(self, ops: Ops[Any, Any], config: UNetConfig, layout: UNetLayout[Any], told: Any) -> None:
        self.ops, self.config, self.layout, self.told = ops, config, layout, told
        self._keys: Iterator[tuple[Any, Any]] = iter(layout.keys)

    def normed(self, norm: Norm, x: Any, grids: Int32) -> Any:
        """Return silu(group norm(x))."""
        config = self.config
        return self.ops.group_norm_silu(x, norm.weight, norm.bias, grids, config.norm_num_groups, eps=config.norm_eps)

    def resnet(self, block: Resnet, x: Any, level: Level[Any]) -> Any:
        """Return shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))) + time)))."""
        ops, grids = self.ops, level.grids
        time = ops.cast(ops.embed([level.owners], [ops.columns(self.told, *block.time)]))
        hidden = ops.conv2d(self.normed(block.norm1, x, grids), block.conv1, grids, residual=time)
        residual = x if block.shortcut is None else ops.conv2d(x, block.shortcut, grids)
        return ops.conv2d(self.normed(block.norm2, hidden, grids), block.conv2, grids, residual=residual)

    def transformer(self, block: Transformer, x: Any, level: Level[Any]) -> Any:
        """Return x + last(layers(first(norm(x))))."""
        ops = self.ops
        norm, groups = block.norm, self.config.norm_num_groups
        normed = ops.group_norm_silu(x, norm.weight, norm.bias, level.grids, groups, eps=TRANSFORMER_EPS, silu=False)
        stream = ops.linear(normed, block.first, dtype="float32")
        for layer in block.layers:
            self._layer(layer, stream, block, level)
        return ops.conv2d(ops.cast(stream), block.last, level.grids, residual=x)

    def _layer(self, layer: Layer, stream: Any, block: Transformer, level: Level[Any]) -> None:
        """Add attention to the picture, attention to the text and the feed-forward to `stream`."""
        ops, d = self.ops, block.width
        qkv = ops.linear(self._layer_normed(layer.norm1, stream), layer.qkv)
        q, k, v = (ops.columns(qkv, i * d, (i + 1) * d) for i in range(3))
        ops.linear(ops.attention(q, k, v, level.segments, block.heads), layer.out, residual=stream)
        q = ops.linear(self._layer_normed(layer.norm2, stream), layer.text_q)
        k, v = next(self._keys)
        attended = ops.attention(q, k, v, level.texts, block.heads, kv_segments=self.layout.texts)
        ops.linear(attended, layer.text_out, residual=stream)
        hidden = ops.linear(self._layer_normed(layer.norm3, stream), layer.up, activation="geglu")
        ops.linear(hidden, layer.down, residual=stream)

    def _layer_normed(self, norm: Norm, x: Any) -> Any:
        return self.ops.norm(x, norm.weight, norm.bias)

    def middle(self, block: Block, x: Any, level: Level[Any]) -> Any:
        """Compute the block between the way down and the way up."""
        first, second = block.resnets
        (transformer,) = block.transformers
        return self.resnet(second, self.transformer(transformer, self.resnet(first, x, level), level), level)

    def beside(self, x: Any, skip: Any, level: Level[Any]) -> Any:
        """Return the columns of x and then those of skip, in one array. Times one, because no op copies columns."""
        ops, rows = self.ops, level.segments.num_rows
        widths = x.shape[1], skip.shape[1]
        both, start = ops.empty(rows, sum(widths)), 0
        for part, width in zip((x, skip), widths, strict=True):
            ops.gated(ops.columns(level.ones, 0, width), part, out=ops.columns(both, start, start + width))
            start += width
        return both

    def halved(self, weight: Any, x: Any, level: Level[Any]) -> Any:
        """Return a level's pictures at the next coarser one: a convolution with stride 2."""
        ops, made = self.ops, []
        for part in level.down:
            rows = ops.rows(x, part.start, part.stop)
            if part.rows is None:
                made.append(ops.downsample(rows, weight, part.grids, symmetric=True))
            else:
                made.append(ops.cast(ops.embed([part.rows], [ops.conv2d(rows, weight, part.grids)])))
        return made[0] if len(made) == 1 else ops.concat(made)

    def doubled(self, weight: Any, x: Any, level: Level[Any]) -> Any:
        """Return pictures of the next coarser level at a level: each pixel twice along a side, and a convolution."""
        ops, made = self.ops, []
        for part in level.up:
            rows = ops.rows(x, part.start, part.stop)
            if part.rows is None:
                made.append(ops.upsample(rows, weight, part.grids))
            else:
                made.append(ops.conv2d(ops.cast(ops.embed([part.rows], [rows])), weight, part.after))
        return made[0] if len(made) == 1 else ops.concat(made)


def _added(ops: Ops[Any, Any], weights: UNetWeights, samples: Sequence[Sample], factor: int) -> Any:
    """Return what pooled text and sizes add to the time, float32 [S, time width]; None: the model reads neither."""
    width = weights.config.addition_time_embed_dim
    if weights.added is None or width is None:
        return None
    sides = [(factor * height, factor * wide) for height, wide in (sample.grid for sample in samples)]
    # The size that a picture of the training had, where it was cut out, and the size that is asked for.
    (numbers,) = ops.vectors(np.array([(*side, 0, 0, *side) for side in sides], np.float32).reshape(-1))
    sizes = ops.numpy(ops.timestep_embedding(numbers, width)).reshape(len(samples), -1)
    pooled = np.stack([sample.text.pooled for sample in samples])
    both = ops.array(np.concatenate([pooled, sizes], axis=1))
    return ops.linear(ops.linear(both, weights.added.first, activation="silu"), weights.added.second, dtype="float32")


def _levels(
    ops: Ops[Any, Any], config: UNetConfig, samples: Sequence[Sample], owners: Sequence[int], texts: int
) -> tuple[Level[Any], ...]:
    """Return all levels of a batch. `owners`: the text of each sample."""
    widths = config.block_out_channels
    grids = [np.array([sample.grid for sample in samples], np.int32)]
    for _ in widths[1:]:
        grids.append((grids[-1] - 1) // 2 + 1)
    found = []
    for number, here in enumerate(grids):
        rows = here.prod(axis=1).tolist()
        coarser = grids[number + 1] if number + 1 < len(grids) else None
        widest = max(widths[max(0, number - 1) : number + 2])
        (each,) = ops.vectors(np.repeat(np.arange(len(rows), dtype=np.int32), rows))
        found.append(
            Level(
                grids=here,
                segments=ops.segments(rows),
                texts=ops.segments(rows, owners, texts),
                owners=each,
                ones=ops.array(np.ones((sum(rows), widest), np.float32)),
                down=() if coarser is None else tuple(_parts(ops, here, coarser, down=True)),
                up=() if coarser is None else tuple(_parts(ops, coarser, here, down=False)),
            )
        )
    return tuple(found)


def _parts(ops: Ops[Any, Any], grids: Int32, after: Int32, *, down: bool) -> Iterator[Part[Any]]:
    """Yield the parts in which pictures go from sides to others. An op that does all of it wants sides of 2 and more on
    the way down, and on the way up sides twice as long behind it."""
    plain = [bool((grid >= 2).all() if down else (2 * grid == to).all()) for grid, to in zip(grids, after, strict=True)]
    ends = np.cumsum(grids.prod(axis=1))
    for by_op, places in groupby(range(len(grids)), key=plain.__getitem__):
        mine = list(places)
        first, last = mine[0], mine[-1]
        start, stop = int(ends[first] - grids[first].prod()), int(ends[last])
        rows = None
        if not by_op:
            picked = [_picked(grids[i], after[i], down) + np.int32(ends[i] - grids[i].prod() - start) for i in mine]
            (rows,) = ops.vectors(np.concatenate(picked))
        yield Part(start, stop, grids[first : last + 1], rows, after[first : last + 1])


def _picked(grid: Int32, after: Int32, down: bool) -> Int32:
    """Return for each pixel of a picture after a change of its sides the pixel before that it comes from."""
    height, width = (np.arange(side) * 2 if down else np.arange(side) // 2 for side in after.tolist())
    found: Int32 = (height[:, None] * int(grid[1]) + width).astype(np.int32).reshape(-1)
    return found
