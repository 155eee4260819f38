// Finishes a block's sums: low-rank terms, bias, activation, and the way into the output. For linear.cpp and linear_tiles.h.
#pragma once
#include "logistic.h"
#include "table.h"
#include "vecmath.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int kVectors = int(kPanel) / kLanes;  // vectors across a panel

// buffer = activation(buffer + bias), four vectors at a time; may go on over the unused rows of a whole block.
template <Act A, bool Coarse> SALON_INLINE void activate(float* buffer, int rows, const float* bias) {
  constexpr int V = 4;
  for (int i = 0; i < rows * kVectors; i += V) {
    vf x[V];
    for (int v = 0; v < V; ++v) x[v] = load(buffer + (i + v) * kLanes) + load(bias + (i + v) % kVectors * kLanes);
    if constexpr (A == Act::gelu_tanh) quick_gelu_tanh<Coarse>(x);
    if constexpr (A == Act::silu) quick_silu<Coarse>(x);
    if constexpr (A == Act::quick_gelu) {
      vf z[V];
      for (int v = 0; v < V; ++v) z[v] = x[v] * set1(1.702f);
      quick_logistic<Coarse>(x, z);
    }
    if constexpr (A == Act::gelu) for (int v = 0; v < V; ++v) x[v] = gelu_erf(x[v]);
    for (int v = 0; v < V; ++v) store(buffer + (i + v) * kLanes, x[v]);
  }
}

template <class O> SALON_INLINE void put(O* o, vf v, int64_t left) {
  if (left >= kLanes) store(o, v);
  else if (left > 0) store(o, v, int(left));
}

// out[row][col0 ..] = activation(buffer + bias) for `rows` rows of a panel.
template <Act A, class O>
void finish_store(const LinearArgs& a, float* buffer, int64_t row, int rows, int64_t panel) {
  activate<A, sizeof(O) == 2>(buffer, rows, a.w->bias + panel * kPanel);
  const int64_t col = panel * kPanel, left = a.w->n - col;
  for (int r = 0; r < rows; ++r) {
    O* o = row_of<O>(a.out, row + r) + col;
    for (int j = 0; j < kVectors; ++j) put(o + j * kLanes, load(buffer + r * kPanel + j * kLanes), left - j * kLanes);
  }
}

template <Act A> SALON_INLINE vf gate_of(vf x) {
  if constexpr (A == Act::geglu) return gelu_erf(x);
  else if constexpr (A == Act::geglu_tanh) return gelu_tanh(x);
  else return silu(x);
}

template <Act A, class O> void finish_glu(const LinearArgs& a, float* buffer, int64_t row, int rows, int64_t panel) {
  constexpr int kHalf = int(kPanel) / 2;
  const float* bias = a.w->bias + panel * kPanel;
  const int64_t col = panel * kHalf, left = a.w->n / 2 - col;
  for (int r = 0; r < rows; ++r) {
    O* o = row_of<O>(a.out, row + r) + col;
    for (int j = 0; j < kHalf / kLanes; ++j) {
      const vf gate = load(buffer + r * kPanel + j * kLanes) + load(bias + j * kLanes);
      const vf value = load(buffer + r * kPanel + kHalf + j * kLanes) + load(bias + kHalf + j * kLanes);
      put(o + j * kLanes, gate_of<A>(gate) * value, left - j * kLanes);
    }
  }
}

template <bool Gated> void finish_residual(const LinearArgs& a, float* buffer, int64_t row, int rows, int64_t panel) {
  const float* bias = a.w->bias + panel * kPanel;
  const int64_t col = panel * kPanel, left = a.w->n - col;
  for (int r = 0; r < rows; ++r) {
    float* o = row_of<float>(a.out, row + r) + col;
    const float* gate = Gated ? row_of<const float>(a.gate, a.row_owner[row + r]) + col : nullptr;
    for (int j = 0; j < kVectors; ++j) {
      const int64_t n = left - j * kLanes;
      if (n <= 0) break;
      const int lanes_here = n < kLanes ? int(n) : kLanes;
      const vf y = load(buffer + r * kPanel + j * kLanes) + load(bias + j * kLanes);
      const vf old = n < kLanes ? load(o + j * kLanes, lanes_here) : load(o + j * kLanes);
      vf g = set1(1);
      if constexpr (Gated) g = n < kLanes ? load(gate + j * kLanes, lanes_here) : load(gate + j * kLanes);
      put(o + j * kLanes, fma(g, y, old), n);
    }
  }
}

using Finish = void (*)(const LinearArgs&, float* buffer, int64_t row, int rows, int64_t panel);

template <class O> Finish choose_store(Act act) {
  switch (act) {
    case Act::gelu_tanh: return finish_store<Act::gelu_tanh, O>;
    case Act::gelu: return finish_store<Act::gelu, O>;
    case Act::silu: return finish_store<Act::silu, O>;
    case Act::quick_gelu: return finish_store<Act::quick_gelu, O>;
    case Act::swiglu: return finish_glu<Act::swiglu, O>;
    case Act::geglu: return finish_glu<Act::geglu, O>;
    case Act::geglu_tanh: return finish_glu<Act::geglu_tanh, O>;
    default: return finish_store<Act::none, O>;
  }
}
Finish choose_last(const LinearArgs& a) {
  if (a.residual) return a.gate.data ? finish_residual<true> : finish_residual<false>;
  return a.out.dtype == Dtype::bf16 ? choose_store<uint16_t>(a.act) : choose_store<float>(a.act);
}

// sums[R][32] += hidden[R][depth] up[depth][32], each row by itself and in the order of the depth.
template <int R> void add_product(float* sums, const float* hidden, int64_t stride, const float* up, int64_t depth) {
  vf acc[R][kVectors];
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < kVectors; ++j) acc[r][j] = load(sums + r * kPanel + j * kLanes);
  for (int64_t i = 0; i < depth; ++i, up += kPanel)
    for (int r = 0; r < R; ++r) {
      const vf h = set1(hidden[r * stride + i]);
      for (int j = 0; j < kVectors; ++j) acc[r][j] = fma(h, load(up + j * kLanes), acc[r][j]);
    }
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < kVectors; ++j) store(sums + r * kPanel + j * kLanes, acc[r][j]);
}

// Adds the low-rank terms of a block's rows to its sums, before what finishes it. A row that has none stays as it is.
void finish_low_rank(const LinearArgs& a, float* buffer, int64_t row, int rows, int64_t panel) {
  for (int64_t m = 0; m < a.num_terms; ++m) {
    const LowRankTerm& t = a.terms[m];
    const int64_t begin = t.begin > row ? t.begin : row, end = t.end < row + rows ? t.end : row + rows;
    const int64_t first = t.first[panel], depth = t.last[panel] - first;
    if (depth <= 0) continue;
    const float* up = t.up + t.place[panel];
    int64_t r = begin;
    for (; r + 2 <= end; r += 2)
      add_product<2>(buffer + (r - row) * kPanel, row_of<const float>(t.hidden, r - t.begin) + first, t.hidden.stride, up, depth);
    if (r < end)
      add_product<1>(buffer + (r - row) * kPanel, row_of<const float>(t.hidden, r - t.begin) + first, t.hidden.stride, up, depth);
  }
  choose_last(a)(a, buffer, row, rows, panel);
}

Finish choose(const LinearArgs& a) { return a.num_terms ? finish_low_rank : choose_last(a); }

}  // namespace
}  // namespace salon::SALON_ISA_NS
