// AMX tile operations, or the same computed with AVX512 (SALON_AMX_MODEL), so that the kernels over tiles can be
// tested on a machine without AMX. A tile is 16 rows of 64 bytes; a kernel configures all eight that way once.
//
// TDPBF16PS (Intel SDM): for each row m, column n and pair k: c[m][n] += a[m][2k] b[k][2n] + a[m][2k+1] b[k][2n+1], denormals as
// zero, rounding to nearest even. The model uses VDPBF16PS, which is defined by the same formula.
#pragma once
#include "simd.h"

namespace salon {

#if defined(SALON_AMX_MODEL)

struct TileModel { alignas(64) uint8_t t[8][16][64]; };
static thread_local TileModel tile_model;

SALON_INLINE void tiles_configure() {}
SALON_INLINE void tiles_release() {}
template <int T> SALON_INLINE void tile_zero() { memset(tile_model.t[T], 0, 1024); }
template <int T> SALON_INLINE void tile_load(const void* p, int64_t stride_bytes) {
  for (int r = 0; r < 16; ++r) memcpy(tile_model.t[T][r], static_cast<const char*>(p) + r * stride_bytes, 64);
}
template <int T> SALON_INLINE void tile_store(void* p, int64_t stride_bytes) {
  for (int r = 0; r < 16; ++r) memcpy(static_cast<char*>(p) + r * stride_bytes, tile_model.t[T][r], 64);
}
template <int C, int A, int B> SALON_INLINE void tile_dot() {
  for (int m = 0; m < 16; ++m) {
    __m512 acc = _mm512_load_ps(tile_model.t[C][m]);
    for (int k = 0; k < 16; ++k) {
      int32_t pair;
      memcpy(&pair, tile_model.t[A][m] + 4 * k, 4);
      acc = _mm512_dpbf16_ps(acc, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)_mm512_load_si512(tile_model.t[B][k]));
    }
    _mm512_store_ps(tile_model.t[C][m], acc);
  }
}

#elif defined(SALON_AMX)

struct TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
alignas(64) static const TileConfig kEightTiles = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
// All of it is named as read: gcc 12's _tile_loadconfig names the first 8 bytes only, and stores to the rest may be left out.
SALON_INLINE void tiles_configure() { asm volatile("ldtilecfg %0" ::"m"(kEightTiles)); }
// Leaves the tiles in their initial state, so that a context switch need not save them.
SALON_INLINE void tiles_release() { _tile_release(); }
// Inline assembly: gcc's own intrinsics are macros that want a literal tile number, not a template parameter.
template <int T> SALON_INLINE void tile_zero() { asm volatile("tilezero %%tmm%c0" ::"i"(T)); }
template <int T> SALON_INLINE void tile_load(const void* p, int64_t stride_bytes) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(T), "r"(p), "r"(stride_bytes) : "memory");
}
template <int T> SALON_INLINE void tile_store(void* p, int64_t stride_bytes) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(T), "r"(p), "r"(stride_bytes) : "memory");
}
template <int C, int A, int B> SALON_INLINE void tile_dot() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

#endif

}  // namespace salon
