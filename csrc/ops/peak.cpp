// Measures the dot-product rate of one core with everything in registers: the peak of which shares are stated.
#include <time.h>

#include "amx.h"
#include "table.h"
#include "vecmath.h"

namespace salon::SALON_ISA_NS {
namespace {

SALON_INLINE double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

// Runs `chunk` (which does `flops` operations) for `seconds` and returns the best rate of any chunk.
template <class F> double best_rate(double seconds, double flops, F chunk) {
  double best = 0;
  for (const double start = now(); now() - start < seconds;) {
    const double before = now();
    chunk();
    const double rate = flops / (now() - before);
    best = rate > best ? rate : best;
  }
  return best;
}

double peak_f32(double seconds) {
  constexpr int kChains = 12;
  constexpr int64_t kRounds = 200000;
  return best_rate(seconds, double(kRounds) * kChains * kLanes * 2, [] {
    vf acc[kChains];
#pragma GCC unroll 12  // an index that is not a constant would put the accumulators into memory
    for (int i = 0; i < kChains; ++i) acc[i] = set1(0);
    const vf a = set1(1.0f), b = set1(1e-9f);
    for (int64_t k = 0; k < kRounds; ++k) {
#pragma GCC unroll 12
      for (int i = 0; i < kChains; ++i) {
        acc[i] = fma(a, b, acc[i]);
#if defined(__x86_64__)
        asm volatile("" : "+v"(acc[i].v));  // one real instruction each round
#endif
      }
    }
    volatile float sink = 0;
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sink = sink + sum(acc[i]);
  });
}

double peak_bf16(double seconds) {
#if defined(SALON_AMX) && !defined(SALON_AMX_MODEL)
  constexpr int64_t kRounds = 20000;
  alignas(64) static const uint8_t zeros[1024] = {};
  tiles_configure();
  tile_zero<0>(); tile_zero<1>(); tile_zero<2>(); tile_zero<3>();
  tile_load<4>(zeros, 64); tile_load<5>(zeros, 64); tile_load<6>(zeros, 64); tile_load<7>(zeros, 64);
  const double rate = best_rate(seconds, double(kRounds) * 4 * 16 * 16 * 32 * 2, [] {
    for (int64_t k = 0; k < kRounds; ++k) {
      tile_dot<0, 4, 6>(); tile_dot<1, 4, 7>(); tile_dot<2, 5, 6>(); tile_dot<3, 5, 7>();
    }
  });
  tiles_release();
  return rate;
#elif defined(__AVX512BF16__)
  constexpr int kChains = 12;
  constexpr int64_t kRounds = 200000;
  const double fused = peak_f32(seconds / 2);  // what bf16 products are made of where the dot product is slower (linear.cpp)
  const double dot = best_rate(seconds / 2, double(kRounds) * kChains * 64, [] {
    __m512 acc[kChains];
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) acc[i] = _mm512_setzero_ps();
    const __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f803f80);
    for (int64_t k = 0; k < kRounds; ++k) {
#pragma GCC unroll 12
      for (int i = 0; i < kChains; ++i) {
        acc[i] = _mm512_dpbf16_ps(acc[i], a, a);
        asm volatile("" : "+v"(acc[i]));
      }
    }
    volatile float sink = 0;
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sink = sink + _mm512_reduce_add_ps(acc[i]);
  });
  return dot > fused ? dot : fused;
#else
  return seconds * 0;
#endif
}

}  // namespace

double peak(double seconds, bool bf16) { return bf16 ? peak_bf16(seconds) : peak_f32(seconds); }

}  // namespace salon::SALON_ISA_NS
