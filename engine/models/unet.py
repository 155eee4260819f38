"""Compute the UNet of Stable Diffusion 1.5 and SDXL over ragged pictures, channels last.

Source: 2112.10752 and 2307.01952; diffusers' `UNet2DConditionModel`, with which tests compare it. Resnets that read
the time, transformers that attend to the picture and then to the text, and from the way down to the way up a skip at
every layer.

Latents are those of flow matching (`trained.py`): the model's input and output are scaled here. Keys and values of the
text depend on the prompt alone: they are computed once for a prompt, and a layout puts those of its samples together
(`unet_texts.py`). Samples of one text share them, unless LoRAs tell them apart: in attention to the text the owner of
rows is their text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np

from ...kernels.ops import AdapterTerms, DtypeName, LowRankTerm, Ops, Vector
from ...kernels.segments import Int32, Segments
from ..denoiser import AdapterTable, Pages, Sample
from ..trained import TrainedSigmas, input_factors
from ..weights import unet_lora as names
from ..weights.reader import Norm
from ..weights.unet import Block, Layer, Resnet, Transformer, UNetConfig, UNetWeights, load_unet
from .joint_rows import reading_of, text_readers
from .low_rank import BatchLoras, loras_of, ranges_of
from .low_rank_conv import ConvTerms, conv2d
from .unet_levels import Level, Part, levels_of
from .unet_texts import batch_keys

__all__ = ["UNetConfig", "UNetLayout", "UNetWeights", "layout", "load_unet", "times", "velocity"]

A = TypeVar("A")
NUMBERS = 4  # of each sample at a step: its timestep, and the factors of `input_factors`
TRANSFORMER_EPS = 1e-6  # of the group norm in front of a transformer


@dataclass(frozen=True, eq=False)
class UNetLayout(Generic[A]):
    """What stays the same while S samples step together.

    Attributes:
        levels: finest first.
        added: float32 [S, time width], what pooled text and sizes add to the time; None: the model reads neither.
        keys: of each layer of each transformer, in the order in which they are computed, (keys, values) of all texts.
        texts: the rows of each text in them, owned by itself.
        zeros: float32 [P, 1] of zeros, and `nothing` a vector [S] of them.
        loras: the LoRAs of the samples, of linears and of convolutions; None: none has any.
        terms: the adapters of samples, (samples, offsets, rows, weights) as `AdapterTerms` describes them; None: no
            sample has any. A sample's rows are one segment at every level.
    """

    levels: tuple[Level[A], ...]
    added: A | None
    keys: tuple[tuple[A, A], ...]
    texts: Segments
    zeros: A
    nothing: Vector
    loras: BatchLoras | None = None
    convs: ConvTerms | None = None
    terms: tuple[Vector, Vector, Vector, Vector] | None = None

    def low_rank(self, target: str, place: str) -> Sequence[LowRankTerm]:
        """Return the low-rank terms of a linear (`unet_lora`), which reads the rows of a level, or of samples."""
        return () if self.loras is None else self.loras.terms(target, place)


def layout(
    ops: Ops[Any, Any],
    weights: UNetWeights,
    samples: Sequence[Sample],
    factor: int,
    adapters: AdapterTable | None = None,
) -> UNetLayout[Any]:
    """Lay out a batch of at least one sample.

    Args:
        factor: pixels along the side of a latent, by which the model is told sizes.
        adapters: the adapters of samples, which the attention to the text meets beside it.

    Raises:
        ValueError: parts of a sample do not fit each other or the model.
    """
    for sample in samples:
        if len(sample.grid) != 2 or min(sample.grid) < 1:
            raise ValueError(f"layout: grid: got {sample.grid}, want height and width from 1 up")
        if sample.guidance is not None:
            raise ValueError(f"layout: guidance: got {sample.guidance}, want None: there is no guidance embedding")
    terms = None
    if adapters is not None and len(adapters.samples):
        if ((adapters.samples < 0) | (adapters.samples >= len(samples))).any():
            raise ValueError(f"layout: adapters: got samples {adapters.samples.tolist()}, want 0..{len(samples) - 1}")
        first, second, third, fourth = ops.vectors(adapters.samples, adapters.offsets, adapters.rows, adapters.weights)
        terms = (first, second, third, fourth)
    readers = text_readers(samples)
    numbers = {reading_of(reader): place for place, reader in enumerate(readers)}
    lengths = [len(reader.text.tokens) for reader in readers]
    levels = levels_of(ops, weights.config, samples, [numbers[reading_of(sample)] for sample in samples], len(readers))
    acting = [sample.loras for sample in samples]
    places = {level.name: ranges_of(level.grids.prod(axis=1).tolist()) for level in levels}
    loras = loras_of(acting, {"sample": ranges_of([1] * len(samples)), **places})
    (nothing,) = ops.vectors(np.zeros(len(samples), np.float32))
    return UNetLayout(
        levels=levels,
        added=_added(ops, weights, samples, factor, loras),
        keys=batch_keys(ops, weights, readers),
        texts=ops.segments(lengths),
        zeros=ops.zeros(levels[0].segments.num_rows, 1, "float32"),
        nothing=nothing,
        loras=loras,
        convs=None if loras is None else ConvTerms(ops, acting),
        terms=terms,
    )


def times(schedule: TrainedSigmas, sigmas: Any) -> Any:
    """Return the numbers of a step, float32 [4 S], of sigmas float32 [S]: timesteps, then `input_factors`."""
    return np.concatenate([schedule.times(sigmas), *input_factors(sigmas, schedule.prediction)])


def velocity(
    ops: Ops[Any, Any],
    weights: UNetWeights,
    layout: UNetLayout[Any],
    latents: Any,
    numbers: Vector,
    pages: Pages | None = None,
) -> Any:
    """Return dx/dsigma of every picture, float32 [P, C].

    Args:
        latents: float32 [P, C], the latents of all pictures one after another, each row-major.
        numbers: vector float32 [4 S], what `times` returns.
        pages: keys and values of adapters, if the layout has any, for each layer in the order of computation.
    """
    config, top = weights.config, layout.levels[0]
    count = len(top.segments)
    timesteps, scale, p, q = (numbers[i * count : (i + 1) * count] for i in range(NUMBERS))
    told = _time(ops, weights, layout, timesteps)
    seen = ops.cast(latents, "float32")
    ops.blend(seen, latents, latents, layout.zeros, top.segments, scale, layout.nothing)
    run = _Run(ops, config, layout, told, pages)
    x = run.conv(names.CONV_IN, ops.cast(seen), weights.conv_in, top)
    skips = [x]
    for number, block in enumerate(weights.down):
        level = layout.levels[number]
        for j, resnet in enumerate(block.resnets):
            x = run.resnet(resnet, x, level)
            if block.transformers:
                x = run.transformer(block.transformers[j], x, level)
            skips.append(x)
        if block.resample is not None:
            x = run.resampled(block, x, level.down, down=True)
            skips.append(x)
    x = run.middle(weights.middle, x, layout.levels[-1])
    for number, block in enumerate(weights.up):
        place = len(layout.levels) - 1 - number
        for j, resnet in enumerate(block.resnets):
            x = run.resnet(resnet, run.beside(x, skips.pop(), layout.levels[place]), layout.levels[place])
            if block.transformers:
                x = run.transformer(block.transformers[j], x, layout.levels[place])
        if block.resample is not None:
            x = run.resampled(block, x, layout.levels[place - 1].up, down=False)
    x = run.normed(weights.norm_out, x, top.grids)
    out = run.conv(names.CONV_OUT, x, weights.conv_out, top, dtype="float32")
    ops.blend(seen, out, latents, layout.zeros, top.segments, p, q)
    return seen


def _time(ops: Ops[Any, Any], weights: UNetWeights, layout: UNetLayout[Any], timesteps: Vector) -> Any:
    """Return what each resnet is told, float32 [S, columns of all resnets]."""
    sinusoid = ops.timestep_embedding(timesteps, weights.config.block_out_channels[0])
    first, second, projections = (
        layout.low_rank(name, "sample") for name in (names.TIME_FIRST, names.TIME_SECOND, names.PROJECTIONS)
    )
    hidden = ops.linear(sinusoid, weights.time.first, activation="silu", low_rank=first)
    total = ops.linear(hidden, weights.time.second, dtype="float32", low_rank=second)
    if layout.added is not None:
        ops.add(total, layout.added)
    hidden = ops.cast(total, activation="silu")
    return ops.linear(hidden, weights.time_projection, dtype="float32", low_rank=projections)


class _Run:
    """One evaluation: computes blocks, and hands out the keys and values of the text in order."""

    def __init__(
        self, ops: Ops[Any, Any], config: UNetConfig, layout: UNetLayout[Any], told: Any, pages: Pages | None
    ) -> None:
        self.ops, self.config, self.layout, self.told = ops, config, layout, told
        self._keys: Iterator[tuple[Any, Any]] = iter(layout.keys)
        self._terms = iter(_terms(layout, pages))

    def normed(self, norm: Norm, x: Any, grids: Int32) -> Any:
        """Return silu(group norm(x))."""
        config = self.config
        return self.ops.group_norm_silu(x, norm.weight, norm.bias, grids, config.norm_num_groups, eps=config.norm_eps)

    def resnet(self, block: Resnet, x: Any, level: Level[Any]) -> Any:
        """Return shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))) + time)))."""
        ops, grids = self.ops, level.grids
        time = ops.cast(ops.embed([level.owners], [ops.columns(self.told, *block.time)]))
        hidden = self.normed(block.norm1, x, grids)
        hidden = self.conv(f"{block.name}.conv1", hidden, block.conv1, level, residual=time)
        residual = x if block.shortcut is None else self.conv(f"{block.name}.conv_shortcut", x, block.shortcut, level)
        hidden = self.normed(block.norm2, hidden, grids)
        return self.conv(f"{block.name}.conv2", hidden, block.conv2, level, residual=residual)

    def conv(
        self, name: str, x: Any, weight: Any, level: Level[Any], *, residual: Any = None, dtype: DtypeName = "compute"
    ) -> Any:
        """Convolve all pictures of a level, with the terms of their LoRAs."""
        convs = self.layout.convs
        return conv2d(self.ops, convs, name, x, weight, level.grids, level.runs, residual=residual, dtype=dtype)

    def transformer(self, block: Transformer, x: Any, level: Level[Any]) -> Any:
        """Return x + last(layers(first(norm(x))))."""
        ops = self.ops
        norm, groups = block.norm, self.config.norm_num_groups
        normed = ops.group_norm_silu(x, norm.weight, norm.bias, level.grids, groups, eps=TRANSFORMER_EPS, silu=False)
        into = self.layout.low_rank(f"{block.name}.proj_in", level.name)
        stream = ops.linear(normed, block.first, dtype="float32", low_rank=into)
        for layer in block.layers:
            self._layer(layer, stream, block, level)
        return self.conv(f"{block.name}.proj_out", ops.cast(stream), block.last, level, residual=x)

    def _layer(self, layer: Layer, stream: Any, block: Transformer, level: Level[Any]) -> None:
        """Add attention to the picture, attention to the text and the feed-forward to `stream`."""
        ops, d = self.ops, block.width

        def low_rank(name: str) -> Sequence[LowRankTerm]:
            return self.layout.low_rank(f"{layer.name}.{name}", level.name)

        qkv = ops.linear(self._layer_normed(layer.norm1, stream), layer.qkv, low_rank=low_rank("qkv"))
        q, k, v = (ops.columns(qkv, i * d, (i + 1) * d) for i in range(3))
        attended = ops.attention(q, k, v, level.segments, block.heads)
        ops.linear(attended, layer.out, residual=stream, low_rank=low_rank("out"))
        q = ops.linear(self._layer_normed(layer.norm2, stream), layer.text_q, low_rank=low_rank("text_q"))
        k, v = next(self._keys)
        terms, texts = next(self._terms), self.layout.texts
        attended = ops.attention(q, k, v, level.texts, block.heads, kv_segments=texts, adapters=terms)
        ops.linear(attended, layer.text_out, residual=stream, low_rank=low_rank("text_out"))
        normed = self._layer_normed(layer.norm3, stream)
        hidden = ops.linear(normed, layer.up, activation="geglu", low_rank=low_rank("up"))
        ops.linear(hidden, layer.down, residual=stream, low_rank=low_rank("down"))

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

    def resampled(self, block: Block, x: Any, parts: Sequence[Part[Any]], *, down: bool) -> Any:
        """Return pictures at the resolution after a block: the next coarser one (`down`), or the next finer one."""
        ops, convs, change, made = self.ops, self.layout.convs, self._halved if down else self._doubled, []
        for part in parts:
            rows = ops.rows(x, part.start, part.stop)
            y = change(block.resample, rows, part)
            if convs is not None and part.acting and convs.touch(block.name):
                y = ops.cast(y, "float32")
                convs.add(block.name, y, part.acting, partial(change, x=rows, part=part))
                y = ops.cast(y)
            made.append(y)
        return made[0] if len(made) == 1 else ops.concat(made)

    def _halved(self, weight: Any, x: Any, part: Part[Any]) -> Any:
        """Convolve with stride 2."""
        ops = self.ops
        if part.rows is None:
            return ops.downsample(x, weight, part.grids, symmetric=True)
        return ops.cast(ops.embed([part.rows], [ops.conv2d(x, weight, part.grids)]))

    def _doubled(self, weight: Any, x: Any, part: Part[Any]) -> Any:
        """Repeat each pixel along both sides, and convolve."""
        ops = self.ops
        if part.rows is None:
            return ops.upsample(x, weight, part.grids)
        return ops.conv2d(ops.cast(ops.embed([part.rows], [x])), weight, part.after)


def _terms(layout: UNetLayout[Any], pages: Pages | None) -> Iterator[AdapterTerms | None]:
    """Yield what adapters add to each layer's attention to the text; None: there are none."""
    if layout.terms is None:
        yield from (None for _ in layout.keys)
        return
    assert pages is not None, "an adapter without its keys and values"
    for keys, values in zip(pages.keys, pages.values, strict=True):
        yield AdapterTerms(keys, values, *layout.terms)


def _added(
    ops: Ops[Any, Any], weights: UNetWeights, samples: Sequence[Sample], factor: int, loras: BatchLoras | None
) -> Any:
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
    first, second = (
        () if loras is None else loras.terms(name, "sample") for name in (names.ADDED_FIRST, names.ADDED_SECOND)
    )
    hidden = ops.linear(both, weights.added.first, activation="silu", low_rank=first)
    return ops.linear(hidden, weights.added.second, dtype="float32", low_rank=second)
