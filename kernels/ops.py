"""Define the op table: everything that a model may ask of a device, as one typed Protocol.

A model is a plain function of this table. A backend implements the table over its own array type. All ops work on
RAGGED rows: the rows of all samples of a batch stand one after another in one [T, D] array, and `Segments` says which
sample owns which rows.

Dimension alphabet: T rows, D width, N output width, K input width, H heads, E head width (D = H*E), S samples,
C channels, P pixels (all images of the batch one after another, each row-major: P = sum of height*width).

Dtypes. Every backend has a COMPUTE dtype, which matrix products read ("bfloat16" with float32 accumulation, or
"float32"). Everything that accumulates over the depth of a model (the residual stream, conditioning vectors, latents)
is always float32. "compute" and "float32" below name these two.

The caller brings everything that an op reads to the backend first: arrays, packed weights, `Segments` by `segments`,
vectors by `vectors`. A model does this once for each batch with everything that stays the same from step to step. The
numbers of a step (times, the solver's factors) come in one call. Only these values of the host remain in the calls of a
step:
  - sizes, places of `rows` and `columns`, heads, dtypes, eps: they give arrays their shapes or choose a kernel, and are
    equal at every step of a batch, so that a graph which was captured or recorded for the batch may hold them;
  - the rows and weights of low-rank terms, which are not captured in graphs;
  - the keys and values of `AdapterTerms`, which are the arena's present arrays: such a graph ends when the arena grows.
A step waits for the device once, in `numpy` of the flags that `finite` made. `grids` shape the arrays of the
autoencoder, which no step calls.

Promises of every op, on every backend:
  - batch invariance: a row of the result depends only on its own sample's inputs, bit for bit: not on the other rows
    of the call, their number or order, nor on the number of threads;
  - NaN and infinity in an input row reach that row's (attention, group norm: that sample's) output, and no other;
  - nothing is written except the result and what the docstring calls "written";
  - a wrong shape, dtype or range raises `ValueError` naming the argument, its value and what is allowed, before the op
    writes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .segments import Int32, Segments
from .terms import AdapterTerms as AdapterTerms
from .terms import GuidanceTerms as GuidanceTerms
from .terms import LowRankPart as LowRankPart
from .terms import LowRankTerm as LowRankTerm
from .vectors import Vector as Vector

A = TypeVar("A")  # an array of the backend, always two-dimensional: rows x width
P = TypeVar("P", covariant=True)  # a weight packed for the backend
P_in = TypeVar("P_in", contravariant=True)

Float32 = NDArray[np.float32]
Dtype = Literal["bfloat16", "float32"]
DtypeName = Literal["compute", "float32"]
Activation = Literal[
    "none", "gelu_tanh", "gelu", "silu", "quick_gelu", "sigmoid", "tanh", "swiglu", "geglu", "geglu_tanh"
]
NormKind = Literal["layer", "rms"]


class Ops(Protocol[A, P]):
    """The op table. `A` is the backend's array type, `P` its packed weight."""

    @property
    def name(self) -> str:
        """Name of the backend, with its ISA where it has one: "reference", "cpu/amx_bf16", ..."""

    @property
    def compute(self) -> Dtype:
        """The compute dtype, which matrix products read."""

    # ---- edges -----------------------------------------------------------------------------------------------

    def array(self, values: NDArray[Any], dtype: DtypeName = "compute") -> A:
        """Copy a numpy array [T, D] (or [D], taken as [1, D]) into the backend, rounding to nearest even.

        It takes floats of any width, and bfloat16 bits as uint16 (kept exactly).
        """

    def numpy(self, x: A) -> Float32:
        """Copy an array out as float32 [T, D]."""

    def vectors(self, *values: NDArray[Any]) -> list[Vector]:
        """Copy small host vectors, int32 or float32 [n], to where ops read them, all in one copy.

        For backends on the host a vector is a numpy array, and any numpy vector of the dtype serves. Later changes of
        the host vectors do not reach the copies.
        """

    def segments(
        self, lengths: Sequence[int], owners: Sequence[int] | None = None, num_samples: int | None = None
    ) -> Segments:
        """Make checked segments as `Segments.of` does, with everything that this backend's ops compute of them.

        Ops take any `Segments`. Those of this method are prepared once, and cost nothing more while a batch stays the
        same.
        """

    def empty(self, rows: int, width: int, dtype: DtypeName = "compute") -> A:
        """Return an array [rows, width] of unspecified content."""

    def zeros(self, rows: int, width: int, dtype: DtypeName = "compute") -> A:
        """Return an array [rows, width] of zeros."""

    def cast(self, x: A, dtype: DtypeName = "compute", *, activation: Activation = "none") -> A:
        """Return activation(x) in another dtype, as a copy even if the dtype is the same.

        activation: none, silu, sigmoid or tanh.
        """

    def rows(self, x: A, start: int, stop: int) -> A:
        """Return a view of rows start..stop. Writing the view writes x."""

    def columns(self, x: A, start: int, stop: int) -> A:
        """Return a view of columns start..stop, whose rows are strided. Writing the view writes x."""

    def concat(self, parts: Sequence[A]) -> A:
        """Copy the parts into one array, one below another. All have one width and dtype."""

    def split(self, x: A, sizes: Sequence[int]) -> list[A]:
        """Return views of consecutive row ranges of the given sizes, which must sum to T."""

    def add(
        self,
        x: A,
        y: A,
        segments: Segments | None = None,
        only: Vector | None = None,
        gate: A | None = None,
    ) -> None:
        """Add y to x: x += y, or with `gate` x += gate[owner] * y.

        x [T, D] float32, WRITTEN; y [T, D] any dtype; `only` int32, indices of the segments to touch; gate float32
        [S, D], its rows chosen by `segments`.
        """

    def gated(self, gate: A, value: A, activation: Activation = "none", *, out: A | None = None) -> A:
        """Return activation(gate) * value, the product of two rows number by number.

        gate, value [T, D] any dtype; activation: none, silu, sigmoid or tanh; result [T, D] compute, a new array or
        `out` (WRITTEN, and it may be one of the two). The output gates of attention (2505.06708) are
        gated(gate, attended, "sigmoid").
        """

    def finite(self, x: A, segments: Segments) -> A:
        """Return whether all numbers of each segment are finite: float32 [N, 1], 1 where they are and 0 where not.

        x [T, D] any dtype. An empty segment has 1.
        """

    # ---- dense ---------------------------------------------------------------------------------------------------

    def pack_linear(
        self,
        weights: Sequence[NDArray[Any]],
        biases: Sequence[NDArray[Any] | None] | None = None,
        *,
        swiglu: bool = False,
        exact: bool = False,
    ) -> P:
        """Pack linear layers that read the same input as one: weights [N_i, K], their results side by side.

        Weights have any float dtype, or bfloat16 bits as uint16. Missing biases are zero. `swiglu`: the weight is meant
        for that activation, geglu or geglu_tanh, and the first half of all its N rows is the gate. `exact`: to
        round these weights to fewer bits would harm more than it saves; `cpu_int8` leaves them, and the float8 of
        triton goes by its own quality gate.
        """

    def pack_low_rank(self, parts: Sequence[LowRankPart], width: int, *, swiglu: bool = False) -> Any:
        """Pack the factors of low-rank terms of a linear [width, K], packed with the same `swiglu`.

        Each part acts on a range of its output columns; what ranges share is added up.
        """

    def linear(
        self,
        x: A,
        weight: Any,
        *,
        activation: Activation = "none",
        gate: A | None = None,
        residual: A | None = None,
        segments: Segments | None = None,
        out: A | None = None,
        dtype: DtypeName = "compute",
        low_rank: Sequence[LowRankTerm] = (),
    ) -> A:
        """Compute y = activation(x W^T + b), then optionally residual += gate[owner] * y.

        x [T, K] compute. gelu_tanh(v) = v/2 (1 + tanh(sqrt(2/pi) (v + .044715 v^3))); gelu(v) = v Phi(v) (erf);
        silu(v) = v sigmoid(v); quick_gelu(v) = v sigmoid(1.702 v); swiglu: y = silu(first half of columns) * second
        half, so the result is N/2 wide; geglu and geglu_tanh: the same with gelu and gelu_tanh (2002.05202).
        With `residual` (float32 [T, N], WRITTEN and returned): residual += y, or with `gate` (float32 [S, N], its rows
        chosen by `segments`) residual += gate * y; activation must then be none. Otherwise the result is a new array
        of `dtype`, or `out` (a view [T, N] of either dtype, WRITTEN and returned).
        low_rank: terms weight (x A^T) B^T of ranges of rows, added to x W^T in their order. Rows without a term, and
        those of terms of weight 0, have the bits that they have without any."""

    def modulate(
        self,
        x: A,
        shift: A | None,
        scale: A,
        segments: Segments,
        *,
        kind: NormKind = "layer",
        eps: float = 1e-6,
        weight: A | None = None,
    ) -> A:
        """Apply adaLN: norm(x) * (1 + scale[owner]) + shift[owner]. Source: DiT (2212.09748), section 3.2.

        x [T, D] float32; shift, scale [S, D] float32 (views allowed); result [T, D] compute. Without a shift it is 0.
        With `weight` [1, D] float32 the norm is norm(x) * weight. `segments` need not be those of attention: the rows
        of one sample may have owners of their own, such as a reference picture at another timestep.
        layer: (x - mean) / sqrt(var + eps), biased variance; rms: x / sqrt(mean(x^2) + eps)."""

    def norm(
        self,
        x: A,
        weight: A,
        bias: A | None = None,
        *,
        kind: NormKind = "layer",
        eps: float = 1e-5,
        dtype: DtypeName = "compute",
    ) -> A:
        """Return norm(x) * weight + bias over the width.

        x [T, D] any dtype; weight, bias [1, D] float32; result [T, D] `dtype`.
        """

    def qk_norm_rope(
        self,
        qkv: A,
        heads: int,
        q_weight: A | None,
        k_weight: A | None,
        cos: A | None,
        sin: A | None,
        *,
        eps: float = 1e-6,
        plain_q: A | None = None,
        kv_heads: int | None = None,
    ) -> None:
        """Apply per-head RMS norm to q and k, then rotary embedding, in place.

        qkv [T, (H + 2*G)*E] compute (q | k | v), WRITTEN; G is `kv_heads`, by default H. q_weight, k_weight [1, E]
        float32, None: no norm. cos, sin [T, E/2] float32, None: no rotation. Pairs are interleaved, as in FLUX:
        (x0, x1) -> (x0 cos - x1 sin, x1 cos + x0 sin) for every even column (RoFormer, 2104.09864, eq. 34). E even.
        `plain_q` [T, H*E] compute: WRITTEN with q normed, not rotated (the query of Flux adapters). v stays."""

    def attention(
        self,
        q: A,
        k: A,
        v: A,
        segments: Segments,
        heads: int,
        *,
        kv_segments: Segments | None = None,
        adapters: AdapterTerms | None = None,
        out: A | None = None,
        kv_heads: int | None = None,
        scale: float | None = None,
        causal: bool = False,
        bias: A | None = None,
    ) -> A:
        """Compute ragged softmax attention: a row attends to all rows of the same sample's kv segments.

        o = softmax(q K^T / sqrt(E)) V + the adapter terms (see `AdapterTerms`). q [Tq, H*E], k, v [Tkv, H*E] compute
        (column views of one qkv array are the common case), result [Tq, H*E] compute, a new array or `out` (WRITTEN).
        `kv_segments` defaults to `segments` (self-attention); its owners are the same samples. A sample's keys are
        taken in the order of its segments. A sample without keys gets zeros. Source: 1706.03762 eq. 1; adapter terms:
        IP-Adapter (2308.06721) eq. 5.

        kv_heads: G, a divisor of H: k, v are [Tkv, G*E], and head h reads their head h // (H/G) (2305.13245). Adapter
        terms want G = H. scale: in place of 1 / sqrt(E). causal: the i-th row of a sample sees its first i + 1 keys.
        bias: float32 [H, 2R+1], added to the scaled scores: bias[h, min(max(j - i, -R), R) + R] for the i-th row and
        the j-th key of a sample (relative positions, 1910.10683 section 2.1). Rows and keys are counted in the order of
        a sample's segments. Adapter terms see neither causal nor bias, but their scores have this scale too."""

    # ---- lookups and conditioning ----------------------------------------------------------------------------

    def embed(self, indices: Sequence[Vector], tables: Sequence[A]) -> A:
        """Sum tables[i][indices[i]] over i.

        Each indices[i] int32 [T]; tables [V_i, D] any dtype; result float32 [T, D].

        Raises:
            ValueError: an index lies outside its table.
        """

    def timestep_embedding(self, timesteps: Vector, width: int, *, max_period: float = 10000.0) -> A:
        """Compute the sinusoid of S timesteps, in float32: [cos(t f), sin(t f)], f_i = max_period^(-i / (width/2)).

        timesteps float32 [S] (already scaled: FLUX passes 1000 * sigma); width even; result [S, width] compute.
        Source: 1706.03762 section 3.5 in diffusers' order (flip_sin_to_cos, no frequency shift)."""

    # ---- solver ------------------------------------------------------------------------------------------------

    def solver_step(
        self,
        latents: A,
        velocity: A,
        segments: Segments,
        guidance: GuidanceTerms,
        a: Vector,
        b: Vector,
        base: A | None = None,
        previous: A | None = None,
        keep: A | None = None,
    ) -> None:
        """Apply guidance and one linear solver update, with each image's own numbers. `latents` is WRITTEN.

        For image j (segment j of `segments`, rows r): v = o + sum over k of weights[k] (v_k - o) with
        o = velocity[origins[j] + r] and v_k = velocity[rows[k] + r] (see `GuidanceTerms`), summed in the order of the
        terms; latents = base + a[j] v + b[j] previous, where base defaults to latents and previous counts only with
        b[j] != 0. latents, base, previous, keep [T, C] float32; velocity [Tv, C] float32; a, b vectors float32 [N].
        `keep`, if given, is WRITTEN with v."""

    def blend(self, x: A, y: A, z: A, weights: A, segments: Segments, a: Vector, b: Vector) -> None:
        """Compute x = w x + (1 - w) (a[j] y + b[j] z), with w of each row and j of its segment. `x` is WRITTEN.

        x, y, z [T, C] float32; weights [T, 1] float32; a, b vectors float32 [N]. Rows of weight 1 stay as they are,
        those of weight 0 are the mixture alone. With y clean latents, z noise, a = 1 - sigma and b = sigma the mixture
        is flow matching's latents at sigma (2210.02747)."""
        ...

    # ---- autoencoder (NHWC, ragged: images one after another, [P, C]; grids int32 [B, 2] = height, width each) ----

    def pack_conv(self, weight: NDArray[Any], bias: NDArray[Any] | None) -> P:
        """Pack a convolution, weight [O, I, kh, kw] (kh = kw = 1 or 3)."""

    def conv2d(
        self,
        x: A,
        weight: Any,
        grids: Int32,
        *,
        residual: A | None = None,
        dtype: DtypeName = "compute",
        wrap: bool = False,
    ) -> A:
        """Convolve with stride 1 and the padding that keeps the size.

        The padding is zeros, or with `wrap` what lies at the opposite side, as if every image went on for ever.
        x [P, I] compute; residual [P, O] compute is added; result [P, O] `dtype`.
        """

    def upsample(self, x: A, weight: Any, grids: Int32, *, wrap: bool = False) -> A:
        """Repeat every pixel 2 x 2, then convolve 3x3, in one pass: [P, I] -> [4P, O] compute.

        This is diffusers' Upsample2D. `wrap`: as for `conv2d`.
        """

    def downsample(self, x: A, weight: Any, grids: Int32, *, symmetric: bool = False) -> A:
        """Add a row and a column of zeros below and right, then convolve 3x3 with stride 2.

        This is diffusers' Downsample2D with padding 0: height -> (height - 2) // 2 + 1, and the same for the width.
        Sides must be at least 2. With `symmetric` there are zeros above and left too, as with padding 1 (UNets):
        height -> (height - 1) // 2 + 1.
        """

    def group_norm_silu(
        self, x: A, weight: A, bias: A, grids: Int32, groups: int, *, eps: float = 1e-6, silu: bool = True
    ) -> A:
        """Apply group norm of each image over its pixels and each group of C/groups channels, affine, then SiLU.

        x [P, C] compute; weight, bias [1, C] float32; result compute. Source: 1803.08494 eq. 1-3."""
