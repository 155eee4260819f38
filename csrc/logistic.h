// SiLU for loops that compute little else: about half the operations of vecmath.h's. Keeps NaN (x is a factor).
#pragma once
#include "simd.h"

namespace salon {

SALON_INLINE vf add_to_exponent(vf x, vf whole) {  // x 2^n, where the low bits of `whole` hold n
#if defined(__AVX512F__)
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.v), _mm512_slli_epi32(_mm512_castps_si512(whole.v), 23)))};
#elif defined(__AVX2__)
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x.v), _mm256_slli_epi32(_mm256_castps_si256(whole.v), 23)))};
#else
  uint32_t a[kLanes], b[kLanes];
  memcpy(a, &x, sizeof a);
  memcpy(b, &whole, sizeof b);
  for (int i = 0; i < kLanes; ++i) a[i] += b[i] << 23;
  memcpy(&x, a, sizeof a);
  return x;
#endif
}

// x = x / (1 + 2^t), t = -z log2(e). |z| is held to 87, and x to -87 from below, where silu and gelu are under 1e-35 anyway.
// t = n + r with |r| <= 1/2; adding 1.5 * 2^23 leaves n in the low bits. Minimax polynomials for 2^r.
// Relative error: 3e-7 (where fma rounds twice also |x| * 5e-8), or with `Coarse`, meant for bf16 results, 7e-5 (a 30th of bf16's half unit).
// V vectors go step by step together: one's chain of operations is long, and a core's window holds only a few chains.
template <bool Coarse, int V> SALON_INLINE void quick_logistic(vf (&x)[V], const vf (&z)[V]) {
  const vf log2e = set1(-1.44269504088896341f), shifter = set1(12582912.0f);
  constexpr float kCoarse[] = {0.00957010221f, 0.0559178591f, 0.240247443f, 0.693121791f, 0.999999285f};
  constexpr float kFine[] = {0.00132764725f, 0.00967554096f, 0.0555071309f, 0.240221202f, 0.693146944f, 1.00000012f};
  vf u[V], whole[V], r[V], p[V];
#define SALON_EACH for (int v = 0; v < V; ++v)
  SALON_EACH x[v] = max2(set1(-87.0f), x[v]);
  SALON_EACH u[v] = min2(set1(87.0f), max2(set1(-87.0f), z[v]));
  SALON_EACH whole[v] = fma(u[v], log2e, shifter);
  SALON_EACH r[v] = shifter - whole[v];
  SALON_EACH r[v] = fma(u[v], log2e, r[v]);
  if constexpr (Coarse) {
    SALON_EACH p[v] = set1(kCoarse[0]);
#pragma GCC unroll 8
    for (int i = 1; i < 5; ++i) SALON_EACH p[v] = fma(p[v], r[v], set1(kCoarse[i]));
  } else {
    SALON_EACH p[v] = set1(kFine[0]);
#pragma GCC unroll 8
    for (int i = 1; i < 6; ++i) SALON_EACH p[v] = fma(p[v], r[v], set1(kFine[i]));
  }
  SALON_EACH p[v] = add_to_exponent(p[v], whole[v]);
  SALON_EACH p[v] = p[v] + set1(1.0f);
#if defined(__AVX512F__)
  SALON_EACH u[v] = {_mm512_rcp14_ps(p[v].v)};  // relative error 2^-14
  if constexpr (!Coarse) {
    SALON_EACH p[v] = {_mm512_fnmadd_ps(p[v].v, u[v].v, _mm512_set1_ps(1.0f))};
    SALON_EACH u[v] = fma(u[v], p[v], u[v]);
  }
  SALON_EACH x[v] = x[v] * u[v];
#else
  SALON_EACH x[v] = x[v] / p[v];
#endif
}

template <bool Coarse, int V> SALON_INLINE void quick_silu(vf (&x)[V]) {
  vf z[V];
  SALON_EACH z[v] = x[v];
  quick_logistic<Coarse>(x, z);
}

// x/2 (1 + tanh(y)) = x / (1 + e^(-2y)), y = sqrt(2/pi) (x + .044715 x^3), for bf16 results: relative error 1.7e-4, a tenth of
// bf16's half unit. In four steps, which linear_tiles.h takes apart. From x = -9.98 down the result stays at -1e-36.
template <int V> struct CoarseGelu { vf x[V], t[V], whole[V], p[V]; };

template <int V> SALON_INLINE void gelu_power(CoarseGelu<V>& g) {  // t = -2y log2(e)
  constexpr float kScale = -2 * 0.7978845608028654f * 1.44269504088896341f;
  SALON_EACH g.x[v] = max2(set1(-9.98f), g.x[v]);
  SALON_EACH g.t[v] = g.x[v] * g.x[v];
  SALON_EACH g.t[v] = fma(g.t[v], set1(kScale * 0.044715f), set1(kScale));
  SALON_EACH g.t[v] = g.t[v] * g.x[v];
}
template <int V> SALON_INLINE void gelu_split(CoarseGelu<V>& g) {  // t = whole + rest; begins with 2^rest
  const vf shifter = set1(12582912.0f);
  SALON_EACH g.t[v] = max2(set1(-125.0f), g.t[v]);
  SALON_EACH g.whole[v] = g.t[v] + shifter;
  SALON_EACH g.p[v] = g.whole[v] - shifter;
  SALON_EACH g.t[v] = g.t[v] - g.p[v];
  SALON_EACH g.p[v] = fma(g.t[v], set1(0.05517167f), set1(0.24261113f));
}
template <int V> SALON_INLINE void gelu_raise(CoarseGelu<V>& g) {  // p = 1 + 2^t
  SALON_EACH g.p[v] = fma(g.p[v], g.t[v], set1(0.69326099f));
  SALON_EACH g.p[v] = fma(g.p[v], g.t[v], set1(0.99992807f));
  SALON_EACH g.p[v] = add_to_exponent(g.p[v], g.whole[v]) + set1(1.0f);
}
template <int V> SALON_INLINE void gelu_divide(CoarseGelu<V>& g) {
#if defined(__AVX512F__)
  SALON_EACH g.x[v] = g.x[v] * vf{_mm512_rcp14_ps(g.p[v].v)};
#else
  SALON_EACH g.x[v] = g.x[v] / g.p[v];
#endif
}

template <bool Coarse, int V> SALON_INLINE void quick_gelu_tanh(vf (&x)[V]) {
  if constexpr (Coarse) {
    CoarseGelu<V> gelu;
    SALON_EACH gelu.x[v] = x[v];
    gelu_power(gelu);
    gelu_split(gelu);
    gelu_raise(gelu);
    gelu_divide(gelu);
    SALON_EACH x[v] = gelu.x[v];
  } else {
    vf z[V];
    SALON_EACH z[v] = x[v] * x[v];
    SALON_EACH z[v] = x[v] * fma(z[v], set1(2 * 0.7978845608028654f * 0.044715f), set1(2 * 0.7978845608028654f));
    quick_logistic<Coarse>(x, z);
  }
}
#undef SALON_EACH

}  // namespace salon
