// The softmax of attention, a row at a time: scores (f32) become weights (T), in place.
#pragma once
#include "attention_layout.h"
#include "vecmath.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int64_t kScoreStride = kKeys + 16;  // floats; the 16 keep the rows of a group out of each other's cache sets
constexpr float kLowest = -1e38f;             // below every score, and no infinity even after scaling
constexpr float kLog2e = 1.44269504088896341f;

// x in the first n lanes, `other` in the rest.
SALON_INLINE vf first_lanes(vf x, int n, vf other) {
#if defined(__AVX512F__)
  return {_mm512_mask_mov_ps(other.v, lanes(n), x.v)};
#elif defined(__AVX2__)
  return {_mm256_blendv_ps(other.v, x.v, _mm256_castsi256_ps(lanes(n)))};
#else
  for (int i = n; i < kLanes; ++i) x.v[i] = other.v[i];
  return x;
#endif
}

// e^(scale (score - top)). f32: to an ulp or two.
struct ExactWeight {
  vf top, scale;
  ExactWeight(vf top_, float scale_) : top(top_), scale(set1(scale_)) {}
  vf operator()(vf score) const { return exp((score - top) * scale); }
};
#if defined(__AVX512BF16__)
// For bf16 weights: 2^(c score - c top).
struct CoarseWeight {
  vf shift, scale;
  CoarseWeight(vf top, float scale_) : shift(top * set1(-scale_ * kLog2e)), scale(set1(scale_ * kLog2e)) {}
  vf operator()(vf score) const { return coarse_exp2(fma(score, scale, shift)); }
};
#endif
template <class T> struct WeightOf { using type = ExactWeight; };
#if defined(__AVX512BF16__)
template <> struct WeightOf<uint16_t> { using type = CoarseWeight; };
#endif

// The largest of n > 0 scores, lane by lane. NaN may or may not win: it reaches the weights anyway.
SALON_INLINE vf row_top(const float* s, int64_t n) {
  vf a = set1(kLowest), b = a;
  int64_t j = 0;
  for (; j + 2 * kLanes <= n; j += 2 * kLanes) {
    a = max2(a, load(s + j));
    b = max2(b, load(s + j + kLanes));
  }
  if (j + kLanes <= n) {
    a = max2(a, load(s + j));
    j += kLanes;
  }
  if (j < n) b = max2(b, first_lanes(load(s + j), int(n - j), set1(kLowest)));
  return max2(a, b);
}

// kLanes vectors at once: each one's largest lane, and each one's sum. Along a vector either takes many operations.
SALON_INLINE vf each_largest(const vf* x) {
#if defined(__AVX512F__)
  __m512i t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) t[i] = _mm512_castps_si512(x[i].v);
  transpose(t);
  vf a = {_mm512_castsi512_ps(t[0])}, b = {_mm512_castsi512_ps(t[8])};
#pragma GCC unroll 8
  for (int i = 1; i < 8; ++i) {
    a = max2(a, {_mm512_castsi512_ps(t[i])});
    b = max2(b, {_mm512_castsi512_ps(t[i + 8])});
  }
  return max2(a, b);
#else
  float tops[kLanes];
  for (int i = 0; i < kLanes; ++i) tops[i] = largest(x[i]);
  return load(tops);
#endif
}
SALON_INLINE vf each_sum(const float* x) {
#if defined(__AVX512F__)
  __m512i t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) t[i] = _mm512_loadu_si512(x + i * kLanes);
  transpose(t);
#pragma GCC unroll 4
  for (int half = 8; half; half /= 2)  // in the order of sum()
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i)
      t[i] = _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(t[i]), _mm512_castsi512_ps(t[i + half])));
  return {_mm512_castsi512_ps(t[0])};
#else
  float sums[kLanes];
  for (int i = 0; i < kLanes; ++i) sums[i] = sum(load(x + i * kLanes));
  return load(sums);
#endif
}

// Scores become weights, zeros from n up to a multiple of kWide; returns `sums` + the weights, lane by lane.
template <class T> SALON_INLINE vf row_weights(float* s, int64_t n, float top, float scale, vf sums) {
  const typename WeightOf<T>::type weight(set1(top), scale);
  const vf none = set1(-__builtin_inff());
  T* to = reinterpret_cast<T*>(s);
  int64_t j = 0;
  for (; j + 2 * kLanes <= n; j += 2 * kLanes) {
    const vf p = weight(load(s + j)), q = weight(load(s + j + kLanes));
    sums = (sums + p) + q;
    store_pair(to + j, p, q);
  }
  for (const int64_t end = round_up(n, kWide); j < end; j += kLanes) {
    const int64_t left = n - j;
    vf p = set1(0);
    if (left >= kLanes) p = weight(load(s + j));
    else if (left > 0) p = weight(first_lanes(load(s + j), int(left), none));
    sums = sums + p;
    store(to + j, p);
  }
  return sums;
}

// kLanes x kLanes floats mirrored at the diagonal: to[c][r] = from[r][c]. Rows of `from` from n on are taken as zeros, rows
// of `to` from m on are not written.
template <class O>
SALON_INLINE void mirror(const float* from, int64_t from_stride, int64_t n, O* to, int64_t to_stride, int64_t m) {
#if defined(__AVX512F__)
  __m512i r[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = i < n ? _mm512_loadu_si512(from + i * from_stride) : _mm512_setzero_si512();
  transpose(r);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i)
    if (i < m) store(to + i * to_stride, vf{_mm512_castsi512_ps(r[i])});
#else
  for (int64_t c = 0; c < m; ++c) {
    float row[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) row[i] = i < n ? from[i * from_stride + c] : 0;
    store(to + c * to_stride, load(row));
  }
#endif
}

// The softmax of one adapter term for kLanes rows at once: x holds `count` tokens x kLanes rows. A term has few tokens:
// along a row, the sum and the maximum over its lanes would cost more than its exponentials.
template <class T> SALON_INLINE void term_weights(float* x, int64_t count, float share, float scale) {
  vf top = set1(kLowest);
  for (int64_t j = 0; j < count; ++j) top = max2(top, load(x + j * kLanes));
  const typename WeightOf<T>::type weight(top, scale);
  vf total = set1(0);
  for (int64_t j = 0; j < count; ++j) {
    const vf p = weight(load(x + j * kLanes));
    total = total + p;
    store(x + j * kLanes, p);
  }
  const vf factor = set1(share) / total;
  for (int64_t j = 0; j < count; ++j) store(x + j * kLanes, load(x + j * kLanes) * factor);
}

}  // namespace
}  // namespace salon::SALON_ISA_NS
