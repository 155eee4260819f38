// One vector of floats, as wide as the instruction set that this file is compiled for.
// Everything here is `static inline`: each ISA's object files keep their own copies (see CMakeLists.txt).
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bf16.h"
#include "tensor.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define SALON_INLINE static inline __attribute__((always_inline))

namespace salon {

SALON_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
SALON_INLINE int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
SALON_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
SALON_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
// Rows of a task of a row-wise op, so that it has about `elements` to do and small calls stay on one thread.
SALON_INLINE int64_t rows_per_task(int64_t cols, int64_t elements) { return most(1, elements / most(1, cols)); }

#if defined(__AVX512F__)

constexpr int kLanes = 16;
struct vf { __m512 v; };
SALON_INLINE __mmask16 lanes(int n) { return __mmask16((1u << n) - 1); }
SALON_INLINE vf set1(float x) { return {_mm512_set1_ps(x)}; }
SALON_INLINE vf load(const float* p) { return {_mm512_loadu_ps(p)}; }
SALON_INLINE vf load(const float* p, int n) { return {_mm512_maskz_loadu_ps(lanes(n), p)}; }
SALON_INLINE void store(float* p, vf x) { _mm512_storeu_ps(p, x.v); }
SALON_INLINE void store(float* p, vf x, int n) { _mm512_mask_storeu_ps(p, lanes(n), x.v); }
SALON_INLINE vf widen(__m256i h) { return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16))}; }
SALON_INLINE vf load(const uint16_t* p) { return widen(_mm256_loadu_si256((const __m256i*)p)); }
SALON_INLINE vf load(const uint16_t* p, int n) { return widen(_mm256_maskz_loadu_epi16(lanes(n), p)); }
SALON_INLINE __m256i narrow(vf x) {
#if defined(__AVX512BF16__)
  return (__m256i)_mm512_cvtneps_pbh(x.v);
#else
  __m512i b = _mm512_castps_si512(x.v);
  __m512i up = _mm512_add_epi32(_mm512_set1_epi32(0x7fff), _mm512_and_si512(_mm512_srli_epi32(b, 16), _mm512_set1_epi32(1)));
  __m512i r = _mm512_srli_epi32(_mm512_add_epi32(b, up), 16);
  __mmask16 nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
  r = _mm512_mask_or_epi32(r, nan, _mm512_srli_epi32(b, 16), _mm512_set1_epi32(0x40));
  return _mm512_cvtepi32_epi16(r);
#endif
}
SALON_INLINE void store(uint16_t* p, vf x) { _mm256_storeu_si256((__m256i*)p, narrow(x)); }
SALON_INLINE void store(uint16_t* p, vf x, int n) { _mm256_mask_storeu_epi16(p, lanes(n), narrow(x)); }
SALON_INLINE vf operator+(vf a, vf b) { return {_mm512_add_ps(a.v, b.v)}; }
SALON_INLINE vf operator-(vf a, vf b) { return {_mm512_sub_ps(a.v, b.v)}; }
SALON_INLINE vf operator*(vf a, vf b) { return {_mm512_mul_ps(a.v, b.v)}; }
SALON_INLINE vf operator/(vf a, vf b) { return {_mm512_div_ps(a.v, b.v)}; }
SALON_INLINE vf fma(vf a, vf b, vf c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// The second operand wins where either is NaN: put the value that must keep its NaN there.
SALON_INLINE vf max2(vf bound, vf x) { return {_mm512_max_ps(bound.v, x.v)}; }
SALON_INLINE vf min2(vf bound, vf x) { return {_mm512_min_ps(bound.v, x.v)}; }
SALON_INLINE vf sqrt(vf x) { return {_mm512_sqrt_ps(x.v)}; }
SALON_INLINE vf round_nearest(vf x) { return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
SALON_INLINE vf scale_by_power_of_two(vf x, vf n) { return {_mm512_scalef_ps(x.v, n.v)}; }
SALON_INLINE vf keep_lanes(vf x, int n) { return {_mm512_maskz_mov_ps(lanes(n), x.v)}; }
SALON_INLINE vf abs(vf x) { return {_mm512_abs_ps(x.v)}; }
SALON_INLINE vf copy_sign(vf magnitude, vf sign) {
  return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_set1_epi32(0x7fffffff), _mm512_castps_si512(magnitude.v),
                                                        _mm512_castps_si512(sign.v), 0xca))};
}
SALON_INLINE float sum(vf x) { return _mm512_reduce_add_ps(x.v); }
SALON_INLINE float largest(vf x) { return _mm512_reduce_max_ps(x.v); }

#elif defined(__AVX2__)

constexpr int kLanes = 8;
struct vf { __m256 v; };
SALON_INLINE __m256i lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
SALON_INLINE vf set1(float x) { return {_mm256_set1_ps(x)}; }
SALON_INLINE vf load(const float* p) { return {_mm256_loadu_ps(p)}; }
SALON_INLINE vf load(const float* p, int n) { return {_mm256_maskload_ps(p, lanes(n))}; }
SALON_INLINE void store(float* p, vf x) { _mm256_storeu_ps(p, x.v); }
SALON_INLINE void store(float* p, vf x, int n) { _mm256_maskstore_ps(p, lanes(n), x.v); }
SALON_INLINE vf load(const uint16_t* p) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16))};
}
SALON_INLINE vf load(const uint16_t* p, int n) {
  uint16_t t[8] = {};
  memcpy(t, p, size_t(n) * 2);
  return load(t);
}
SALON_INLINE void store(uint16_t* p, vf x, int n) {
  float t[8];
  _mm256_storeu_ps(t, x.v);
  for (int i = 0; i < n; ++i) p[i] = f32_to_bf16(t[i]);
}
SALON_INLINE void store(uint16_t* p, vf x) { store(p, x, 8); }
SALON_INLINE vf operator+(vf a, vf b) { return {_mm256_add_ps(a.v, b.v)}; }
SALON_INLINE vf operator-(vf a, vf b) { return {_mm256_sub_ps(a.v, b.v)}; }
SALON_INLINE vf operator*(vf a, vf b) { return {_mm256_mul_ps(a.v, b.v)}; }
SALON_INLINE vf operator/(vf a, vf b) { return {_mm256_div_ps(a.v, b.v)}; }
SALON_INLINE vf fma(vf a, vf b, vf c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
SALON_INLINE vf max2(vf bound, vf x) { return {_mm256_max_ps(bound.v, x.v)}; }
SALON_INLINE vf min2(vf bound, vf x) { return {_mm256_min_ps(bound.v, x.v)}; }
SALON_INLINE vf sqrt(vf x) { return {_mm256_sqrt_ps(x.v)}; }
SALON_INLINE vf round_nearest(vf x) { return {_mm256_round_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// n is whole and within -150 .. 128: two factors, so that no exponent leaves its range on the way.
SALON_INLINE vf scale_by_power_of_two(vf x, vf n) {
  __m256i whole = _mm256_cvtps_epi32(n.v), half = _mm256_srai_epi32(whole, 1);
  __m256i rest = _mm256_sub_epi32(whole, half), bias = _mm256_set1_epi32(127);
  __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  __m256 second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
  return {_mm256_mul_ps(_mm256_mul_ps(x.v, first), second)};
}
SALON_INLINE vf keep_lanes(vf x, int n) { return {_mm256_and_ps(x.v, _mm256_castsi256_ps(lanes(n)))}; }
SALON_INLINE vf abs(vf x) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), x.v)}; }
SALON_INLINE vf copy_sign(vf magnitude, vf sign) {
  __m256 bit = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(bit, magnitude.v), _mm256_and_ps(bit, sign.v))};
}
SALON_INLINE float sum(vf x) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
SALON_INLINE float largest(vf x) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}

#else

constexpr int kLanes = 4;
typedef float vf_storage __attribute__((vector_size(16)));
struct vf { vf_storage v; };
#define SALON_EACH for (int i = 0; i < 4; ++i)
SALON_INLINE vf set1(float x) { return {vf_storage{x, x, x, x}}; }
SALON_INLINE vf load(const float* p) { vf r; memcpy(&r.v, p, 16); return r; }
SALON_INLINE vf load(const float* p, int n) { vf r = set1(0); for (int i = 0; i < n; ++i) r.v[i] = p[i]; return r; }
SALON_INLINE void store(float* p, vf x) { memcpy(p, &x.v, 16); }
SALON_INLINE void store(float* p, vf x, int n) { for (int i = 0; i < n; ++i) p[i] = x.v[i]; }
SALON_INLINE vf load(const uint16_t* p, int n) { vf r = set1(0); for (int i = 0; i < n; ++i) r.v[i] = bf16_to_f32(p[i]); return r; }
SALON_INLINE vf load(const uint16_t* p) { return load(p, 4); }
SALON_INLINE void store(uint16_t* p, vf x, int n) { for (int i = 0; i < n; ++i) p[i] = f32_to_bf16(x.v[i]); }
SALON_INLINE void store(uint16_t* p, vf x) { store(p, x, 4); }
SALON_INLINE vf operator+(vf a, vf b) { return {a.v + b.v}; }
SALON_INLINE vf operator-(vf a, vf b) { return {a.v - b.v}; }
SALON_INLINE vf operator*(vf a, vf b) { return {a.v * b.v}; }
SALON_INLINE vf operator/(vf a, vf b) { return {a.v / b.v}; }
SALON_INLINE vf fma(vf a, vf b, vf c) { return {a.v * b.v + c.v}; }
SALON_INLINE vf max2(vf bound, vf x) { return {bound.v > x.v ? bound.v : x.v}; }
SALON_INLINE vf min2(vf bound, vf x) { return {bound.v < x.v ? bound.v : x.v}; }
SALON_INLINE vf sqrt(vf x) { vf r; SALON_EACH r.v[i] = __builtin_sqrtf(x.v[i]); return r; }
// |x| < 2^22: adding and taking away 1.5 * 2^23 leaves the nearest whole number. NaN stays.
SALON_INLINE vf round_nearest(vf x) { vf r; SALON_EACH { volatile float t = x.v[i] + 12582912.0f; r.v[i] = t - 12582912.0f; } return r; }
SALON_INLINE float power_of_two(int n) { uint32_t b = uint32_t(n + 127) << 23; float f; memcpy(&f, &b, 4); return f; }
SALON_INLINE vf scale_by_power_of_two(vf x, vf n) {
  vf r;
  SALON_EACH {
    if (n.v[i] != n.v[i]) { r.v[i] = x.v[i] * n.v[i]; continue; }
    int whole = int(n.v[i]), half = whole >> 1;
    r.v[i] = x.v[i] * power_of_two(half) * power_of_two(whole - half);
  }
  return r;
}
SALON_INLINE vf keep_lanes(vf x, int n) { for (int i = n; i < 4; ++i) x.v[i] = 0; return x; }
SALON_INLINE vf abs(vf x) { vf r; SALON_EACH r.v[i] = __builtin_fabsf(x.v[i]); return r; }
SALON_INLINE vf copy_sign(vf m, vf s) { vf r; SALON_EACH r.v[i] = __builtin_copysignf(m.v[i], s.v[i]); return r; }
SALON_INLINE float sum(vf x) { return (x.v[0] + x.v[2]) + (x.v[1] + x.v[3]); }
SALON_INLINE float largest(vf x) { float m = x.v[0]; for (int i = 1; i < 4; ++i) m = x.v[i] > m ? x.v[i] : m; return m; }
#undef SALON_EACH

#endif

// Two vectors one after the other. AVX512-BF16 narrows two in the time of one.
SALON_INLINE void store_pair(float* p, vf a, vf b) {
  store(p, a);
  store(p + kLanes, b);
}
SALON_INLINE void store_pair(uint16_t* p, vf a, vf b) {
#if defined(__AVX512BF16__)
  _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh(b.v, a.v));
#else
  store(p, a);
  store(p + kLanes, b);
#endif
}

// Element access through a View whose dtype is only known at run time: D is float or uint16_t (bf16).
template <class D> SALON_INLINE D* row_of(const View& x, int64_t row) { return static_cast<D*>(x.data) + row * x.stride; }

}  // namespace salon
