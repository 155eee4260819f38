// Rows times panel, the one product of attention: out[r][c] (+)= sum over steps of a[r][step] . panel[step][c].
// Each output is one chain over the steps in their order, whatever the number of rows: blocking never shows in a result.
#pragma once
#include "attention_softmax.h"

namespace salon::SALON_ISA_NS {
namespace {

enum class Into { fresh, add };  // out = product, or out += product

SALON_INLINE vf dot_step(vf acc, const float* a, vf b) { return fma(set1(*a), b, acc); }
#if defined(__AVX512BF16__)
SALON_INLINE vf dot_step(vf acc, const uint16_t* a, vf b) {
  int32_t pair;
  memcpy(&pair, a, 4);
  return {_mm512_dpbf16_ps(acc.v, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)_mm512_castps_si512(b.v))};
}
#endif

template <class T, int R, int C>
SALON_INLINE void dot_tile(const T* a, int64_t a_stride, const T* panel, int64_t steps, float* out, int64_t stride, Into into) {
  vf acc[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int c = 0; c < C; ++c) acc[r][c] = into == Into::add ? load(out + r * stride + c * kLanes) : set1(0);
  for (int64_t d = 0; d < steps; ++d) {
    vf b[C];
#pragma GCC unroll 2
    for (int c = 0; c < C; ++c) b[c] = load(reinterpret_cast<const float*>(panel) + d * kWide + c * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < C; ++c) acc[r][c] = dot_step(acc[r][c], a + r * a_stride + d * kPer<T>, b[c]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int c = 0; c < C; ++c) store(out + r * stride + c * kLanes, acc[r][c]);
}

#if defined(__AVX512BF16__) && !defined(SALON_AMX)
// The bits of dot_tile() at 1.5 times its speed on Intel's CPUs, whose VDPBF16PS takes as long as four multiply-adds and is
// the same as two: a pair's second product, then its first (block_fma in linear.cpp).
template <int R, int C>
SALON_INLINE void fused_tile(const uint16_t* a, int64_t a_stride, const uint16_t* panel, int64_t steps, float* out, int64_t stride,
                             Into into) {
  constexpr int64_t kChunk = 2 * kLanes;  // elements of each row that are widened at a time
  alignas(64) float wide[R][kChunk];
  vf acc[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int c = 0; c < C; ++c) acc[r][c] = into == Into::add ? load(out + r * stride + c * kLanes) : set1(0);
  for (int64_t e = 0; e < 2 * steps; e += kChunk) {
    const int64_t n = least(kChunk, 2 * steps - e);
    for (int r = 0; r < R; ++r)
      for (int64_t i = 0; i < n; i += kLanes) {
        const uint16_t* from = a + r * a_stride + e + i;
        store(wide[r] + i, n - i < kLanes ? load(from, int(n - i)) : load(from));
      }
    for (int64_t i = 0; i < n; i += 2) {
#pragma GCC unroll 2
      for (int second = 1; second >= 0; --second) {
        vf b[C];
#pragma GCC unroll 2
        for (int c = 0; c < C; ++c) {
          const __m512i pairs = _mm512_loadu_si512(panel + (e + i) * kWide + c * 2 * kLanes);
          b[c] = {_mm512_castsi512_ps(second ? _mm512_and_si512(pairs, _mm512_set1_epi32(-65536)) : _mm512_slli_epi32(pairs, 16))};
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
          for (int c = 0; c < C; ++c) acc[r][c] = fma(set1(wide[r][i + second]), b[c], acc[r][c]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int c = 0; c < C; ++c) store(out + r * stride + c * kLanes, acc[r][c]);
}
template <int R, int C>
SALON_INLINE void best_tile(const uint16_t* a, int64_t a_stride, const uint16_t* panel, int64_t steps, float* out, int64_t stride,
                            Into into) {
  if (__builtin_cpu_is("intel")) fused_tile<R, C>(a, a_stride, panel, steps, out, stride, into);
  else dot_tile<uint16_t, R, C>(a, a_stride, panel, steps, out, stride, into);
}
#endif
template <int R, int C>
SALON_INLINE void best_tile(const float* a, int64_t a_stride, const float* panel, int64_t steps, float* out, int64_t stride, Into into) {
  dot_tile<float, R, C>(a, a_stride, panel, steps, out, stride, into);
}

// n rows; `cols` <= kWide columns of the panel are wanted (up to kLanes more may be written, zeros of the padding).
template <class T, int C>
void dot_rows(const T* a, int64_t a_stride, int64_t n, const T* panel, int64_t steps, float* out, int64_t stride, Into into) {
  int64_t r = 0;
  for (; r + kTile <= n; r += kTile) best_tile<kTile, C>(a + r * a_stride, a_stride, panel, steps, out + r * stride, stride, into);
  if constexpr (kTile > 4) {
    if (r + 4 <= n) {
      best_tile<4, C>(a + r * a_stride, a_stride, panel, steps, out + r * stride, stride, into);
      r += 4;
    }
  }
  if (r + 2 <= n) {
    best_tile<2, C>(a + r * a_stride, a_stride, panel, steps, out + r * stride, stride, into);
    r += 2;
  }
  if (r < n) best_tile<1, C>(a + r * a_stride, a_stride, panel, steps, out + r * stride, stride, into);
}

// The scores of n query rows with a block of keys.
template <class T>
SALON_INLINE void score_panels(const T* q, int64_t n, const T* panels, int64_t keys, const Layout<T>& layout, float* scores) {
  const int64_t steps = layout.padded / kPer<T>;
  for (int64_t j = 0; j < keys; j += kWide, panels += kWide * layout.padded) {
    if (keys - j > kLanes) dot_rows<T, 2>(q, layout.padded, n, panels, steps, scores + j, kScoreStride, Into::fresh);
    else dot_rows<T, 1>(q, layout.padded, n, panels, steps, scores + j, kScoreStride, Into::fresh);
  }
}

// Weights of n rows (in place of their scores) times a block's values.
template <class T>
SALON_INLINE void value_panels(const float* weights, int64_t n, const T* panels, int64_t keys, const Layout<T>& layout,
                               float* out, Into into) {
  const T* a = reinterpret_cast<const T*>(weights);
  const int64_t steps = ceil_div(keys, kPer<T>), a_stride = kScoreStride * kPer<T>;
  for (int64_t c = 0; c < layout.cols; c += kWide, panels += kWide * round_up(keys, kWide)) {
    if (layout.width - c > kLanes) dot_rows<T, 2>(a, a_stride, n, panels, steps, out + c, layout.cols, into);
    else dot_rows<T, 1>(a, a_stride, n, panels, steps, out + c, layout.cols, into);
  }
}

}  // namespace
}  // namespace salon::SALON_ISA_NS
