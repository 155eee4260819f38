// How attention lays keys and values out, and how they get there.
//
// Both products of attention are "rows times panel": a panel holds kWide output columns of all inner steps, one step
// after another, so that the dot product streams through it. A step is one dword: one float, or a pair of bf16.
//   keys   (scores = q K^T): panel of kWide keys,    [depth][kWide][per],     depth = head width in steps
//   values (out = P V):      panel of kWide columns, [padded / per][kWide][per], padded = keys rounded up to kWide
// Keys are cut into blocks of kKeys from the sample's first key on; a block holds its key panels, then its value panels.
#pragma once
#include "simd.h"
#include "table.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int kWide = 2 * kLanes;
constexpr int64_t kKeys = 256;         // keys of a block: its scores of one row group stay in L1, itself in L2
constexpr int64_t kRows = 96;          // query rows that share one pass over the blocks
template <class T> constexpr int kPer = int(4 / sizeof(T));
template <class T> constexpr int64_t kSlack = int64_t(64 / sizeof(T));  // elements of a 64-byte vector

// kTile rows by kWide columns are accumulated in registers.
#if defined(__AVX512F__)
constexpr int kTile = 8;
#elif defined(__AVX2__)
constexpr int kTile = 6;
#else
constexpr int kTile = 4;
#endif

// kGroup: query rows whose scores are held at once. kDepthStep: elements of depth are stored in multiples of this.
#if defined(SALON_AMX)
template <class T> constexpr int64_t kGroup = sizeof(T) == 2 ? 32 : 2 * kTile;
template <class T> constexpr int64_t kDepthStep = sizeof(T) == 2 ? 32 : 1;
#else
template <class T> constexpr int64_t kGroup = 2 * kTile;
template <class T> constexpr int64_t kDepthStep = kPer<T>;
#endif


template <class T> struct Layout {
  int64_t width;    // E, columns of a head
  int64_t padded;   // E as the queries and keys are stored, zeros behind
  int64_t cols;     // E as values and accumulators are stored
  explicit Layout(int64_t e) : width(e), padded(round_up(e, kDepthStep<T>)), cols(round_up(e, kWide)) {}

  // Elements of a packed block of n keys, and of all blocks of n keys.
  int64_t block(int64_t n) const { return round_up(n, kWide) * (padded + cols); }
  int64_t blocks(int64_t n) const { return block(n); }  // only the last block is not a whole number of panels
  int64_t values(int64_t n) const { return round_up(n, kWide) * padded; }  // where a block's values begin
};

// Rows picked out of a [rows, H*E] array: row i is data + index[i] * stride.
template <class T> struct Pick {
  const T* data;
  int64_t stride;
  const int32_t* index;
  const T* row(int64_t i) const { return data + int64_t(index[i]) * stride; }
};

#if defined(__AVX512F__)
// The 16 x 16 dwords of r, mirrored at the diagonal.
SALON_INLINE void transpose(__m512i* r) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}
SALON_INLINE __m512i load_step(const float* p, int64_t n) {
  return n >= 16 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi32(lanes(int(n)), p);
}
SALON_INLINE __m512i load_step(const uint16_t* p, int64_t n) {
  return n >= 32 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi16(__mmask32((uint64_t(1) << n) - 1), p);
}
#endif

template <class T> void pack_keys(T* panel, Pick<T> k, int64_t n, const Layout<T>& layout) {
  for (int64_t j = 0; j < n; j += kWide, panel += kWide * layout.padded) {
#if defined(__AVX512F__)
    constexpr int64_t span = 16 * kPer<T>;
    for (int64_t e = 0; e < layout.padded; e += span) {
      const int64_t steps = least(16, (layout.padded - e) / kPer<T>), left = most(0, layout.width - e);
      for (int64_t half = 0; half < 2; ++half) {
        __m512i r[16];
        const int64_t first = j + half * 16, rows = least(16, n - first);
        if (rows <= 0) break;  // such a half is never read
        if (rows == 16) {
#pragma GCC unroll 16
          for (int i = 0; i < 16; ++i) r[i] = load_step(k.row(first + i) + e, left);
        } else {
#pragma GCC unroll 16
          for (int i = 0; i < 16; ++i) r[i] = i < rows ? load_step(k.row(first + i) + e, left) : _mm512_setzero_si512();
        }
        transpose(r);
        T* to = panel + e * kWide + half * span;
        if (steps == 16) {
#pragma GCC unroll 16
          for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + i * (kWide * kPer<T>), r[i]);
        } else {
          __m512i kept[16];  // an array in memory: the number of steps is not known when compiled
          for (int i = 0; i < 16; ++i) kept[i] = r[i];
          for (int i = 0; i < steps; ++i) _mm512_storeu_si512(to + i * (kWide * kPer<T>), kept[i]);
        }
      }
    }
#else
    for (int64_t i = 0; i < kWide; ++i) {
      const T* from = j + i < n ? k.row(j + i) : nullptr;
      for (int64_t e = 0; e < layout.padded; ++e) panel[e * kWide + i] = from ? from[e] : T(0);
    }
#endif
  }
}

SALON_INLINE void pack_values(float* panels, Pick<float> v, int64_t n, const Layout<float>& layout) {
  const int64_t padded = round_up(n, kWide);
  for (int64_t j = 0; j < n; ++j) {
    const float* from = v.row(j);
    for (int64_t c = 0; c < layout.cols; c += kLanes) {
      const int64_t left = least(kLanes, layout.width - c);
      float* to = panels + c / kWide * (kWide * padded) + j * kWide + c % kWide;
      if (left == kLanes) store(to, load(from + c));
      else store(to, left > 0 ? load(from + c, int(left)) : set1(0));
    }
  }
}

#if defined(__AVX512BF16__)
SALON_INLINE void pack_values(uint16_t* panels, Pick<uint16_t> v, int64_t n, const Layout<uint16_t>& layout) {
  alignas(64) static const uint16_t low[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                               8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i first = _mm512_load_si512(low), second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
  const int64_t padded = round_up(n, kWide);
  for (int64_t j = 0, end = round_up(n, kDepthStep<uint16_t>); j < end; j += 2) {
    const uint16_t* even = j < n ? v.row(j) : nullptr;
    const uint16_t* odd = j + 1 < n ? v.row(j + 1) : nullptr;
    for (int64_t c = 0; c < layout.cols; c += kWide) {
      const int64_t left = layout.width - c;
      const __m512i a = even ? load_step(even + c, left) : _mm512_setzero_si512();
      const __m512i b = odd ? load_step(odd + c, left) : _mm512_setzero_si512();
      uint16_t* to = panels + c * padded + j * kWide;
      _mm512_storeu_si512(to, _mm512_permutex2var_epi16(a, first, b));
      _mm512_storeu_si512(to + 32, _mm512_permutex2var_epi16(a, second, b));
    }
  }
}
#endif

// One block of n <= kKeys keys and values.
template <class T> SALON_INLINE void pack_block(T* block, Pick<T> k, Pick<T> v, int64_t n, const Layout<T>& layout) {
  pack_keys(block, k, n, layout);
  pack_values(block + layout.values(n), v, n, layout);
}

}  // namespace
}  // namespace salon::SALON_ISA_NS
