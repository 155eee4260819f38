// Vector functions of the epilogues. All keep NaN, and all give a lane the same bits whatever the other lanes hold.
#pragma once
#include "simd.h"

namespace salon {

// e^x: x = n ln2 + r, |r| <= ln2 / 2, degree-6 polynomial for e^r (Cephes' split of ln2). About 1 ulp.
// Below -87.3 it is 0 (denormal numbers are flushed, see float_mode.h), above 88.7 infinity.
SALON_INLINE vf exp(vf x) {
  x = min2(set1(89.0f), max2(set1(-104.0f), x));
  vf n = round_nearest(x * set1(1.44269504088896341f));
  vf r = fma(n, set1(-0.693359375f), x);
  r = fma(n, set1(2.12194440e-4f), r);
  vf p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = fma(p * r, r, r + set1(1.0f));
  return scale_by_power_of_two(p, n);
}

#if defined(__AVX512F__)
// 2^x for results that are rounded to bf16: a minimax cubic for the fraction (relative error 7.5e-5 < 2^-13, where the
// rounding has 2^-9). SCALEF takes the whole part of its exponent itself. -infinity gives 0, NaN stays.
SALON_INLINE vf coarse_exp2(vf x) {
  const vf f = {_mm512_reduce_ps(x.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
  vf p = fma(f, set1(0.07802455f), set1(0.22606719f));
  p = fma(p, f, set1(0.6958335f));
  p = fma(p, f, set1(0.99992526f));
  return scale_by_power_of_two(p, x);
}
#endif

SALON_INLINE vf sigmoid(vf x) { return set1(1.0f) / (set1(1.0f) + exp(set1(0.0f) - x)); }
SALON_INLINE vf tanh(vf x) { return set1(1.0f) - set1(2.0f) / (set1(1.0f) + exp(x + x)); }
SALON_INLINE vf silu(vf x) { return x / (set1(1.0f) + exp(set1(0.0f) - x)); }

// x/2 (1 + tanh(z)) = x / (1 + e^(-2z)), z = sqrt(2/pi) (x + .044715 x^3)
SALON_INLINE vf gelu_tanh(vf x) {
  vf inner = fma(x * x, set1(-2.0f * 0.7978845608028654f * 0.044715f), set1(-2.0f * 0.7978845608028654f));
  return x / (set1(1.0f) + exp(x * inner));
}

// x Phi(x), with erf by Abramowitz and Stegun 7.1.26 (|error| < 1.5e-7).
SALON_INLINE vf gelu_erf(vf x) {
  vf z = abs(x) * set1(0.70710678118654752f);
  vf t = set1(1.0f) / fma(z, set1(0.3275911f), set1(1.0f));
  vf p = set1(1.061405429f);
  p = fma(p, t, set1(-1.453152027f));
  p = fma(p, t, set1(1.421413741f));
  p = fma(p, t, set1(-0.284496736f));
  p = fma(p, t, set1(0.254829592f));
  vf e = set1(1.0f) - p * t * exp(set1(0.0f) - z * z);
  return x * set1(0.5f) * (set1(1.0f) + copy_sign(e, x));
}

}  // namespace salon
